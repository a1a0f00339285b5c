"""The Lua scripts, as Redis takes them, and calling many of them in one pipeline."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from event_router.router.redis_pipe import Argument, RedisPipe, Reply, is_error, request

_SHEBANG = "#!lua"
_FOLDER = resources.files("event_router.router.schedule") / "lua"
_SERVER_TIME = "redis.call('TIME')"


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str


def script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a script: its keys, all of one slot, and its arguments."""

    keys: Sequence[Argument]
    arguments: Sequence[Argument]


class Scripts:
    """All scripts of the schedule. `time` is the command that tells the time, as TIME does."""

    def __init__(self, time: Sequence[str] = ("TIME",)) -> None:
        self._time = f"redis.call({', '.join(repr(word) for word in time)})"
        self.park = self._of_shard("park")
        self.park_full = script(f"{_SHEBANG} flags=allow-oom{self.park.text[len(_SHEBANG) :]}")
        self.hold = self._of_shard("hold")
        self.claim = self._of_shard("claim")
        self.finish = self._of_shard("finish")
        self.remove = self._of_shard("remove")
        self.door = self._of_shard("door")
        self.leased = self._of_shard("leased")
        self.backoff = script(_read("backoff"))

    def _of_shard(self, name: str) -> Script:
        shebang, _, rest = _read(name).partition("\n")
        beginning = _read("shard").replace(_SERVER_TIME, self._time)
        return script(f"{shebang}\n{beginning}\n{rest}")


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


async def run(pipe: RedisPipe, what: Script, calls: Sequence[Call]) -> list[Reply]:
    """One reply a call, in order, error replies included. Raises Unavailable.

    Redis forgets scripts when it restarts; those calls are sent again with the text.
    """
    replies = await pipe.send(request(*(_command("EVALSHA", what.sha, call) for call in calls)))
    unknown = [i for i, reply in enumerate(replies) if is_error(reply, "NOSCRIPT")]
    if unknown:
        again = request(*(_command("EVAL", what.text, calls[i]) for i in unknown))
        for i, reply in zip(unknown, await pipe.send(again), strict=True):
            replies[i] = reply
    return replies


def _command(verb: str, what: str, call: Call) -> tuple[Argument, ...]:
    return (verb, what, len(call.keys), *call.keys, *call.arguments)
