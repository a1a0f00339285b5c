"""What is issued, and to whom it is owed: all of it follows from the seed and a serial number, so
receivers know what to expect of a serial without having been told."""

import random
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

Via = Literal["kafka", "http"]
Kind = Literal["well", "broken", "absent"]
"""`well`: a receiver of ours. `broken`: one that always answers 500. `absent`: of a type that has
no sink."""

TENANTS = ("ada", "bob", "cyd", "dan")
TOPICS = ("order.made", "order.paid", "user.joined")
_SERIAL = re.compile(rb'"serial" : "s(\d+)"')


class Key(NamedTuple):
    """A destination."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True)
class Issued:
    """An event as it was published; without an `event_id` the router chooses one."""

    number: int
    tenant: str
    topic: str
    via: Via
    event_id: str | None
    retry: bool
    body: bytes

    @property
    def weight(self) -> int:
        """What filters look at; it stands in the payload as `n`."""
        return self.number % 100


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events go. `at_least` is a filter on their weight."""

    key: Key
    kind: Kind = "well"
    topics: tuple[str, ...] = ("*",)
    at_least: int = 0

    def wants(self, event: Issued) -> bool:
        mine = event.tenant == self.key.tenant and event.weight >= self.at_least
        return mine and ("*" in self.topics or event.topic in self.topics)

    def reasons(self, event: Issued) -> frozenset[str]:
        """Why a delivery of `event` may be dead, rightly."""
        if self.kind == "absent":
            return frozenset({"sink_not_installed"})
        if not event.retry:
            return frozenset({"not_eligible_for_retry"})
        return frozenset({"retries_exhausted"}) if self.kind == "broken" else frozenset()


def destinations() -> list[Destination]:
    """Three of each tenant, and the odd ones."""
    found = []
    for tenant in TENANTS:
        found += [
            Destination(Key(tenant, "all")),
            Destination(Key(tenant, "orders"), topics=TOPICS[:2]),
            Destination(Key(tenant, "heavy"), at_least=60),
        ]
    odd = [
        Destination(Key("ada", "broken"), "broken", topics=("user.joined",)),
        Destination(Key("bob", "absent"), "absent", at_least=90),
    ]
    return [*found, *odd]


def issue(seed: int, number: int) -> Issued:
    """The event of that number."""
    dice = random.Random(f"{seed}/{number}")
    tenant, topic = dice.choice(TENANTS), dice.choice(TOPICS)
    via: Via = dice.choice(("kafka", "http"))
    named = dice.random() < 0.5
    event_id = f"e{number}-{dice.randrange(10**9)}" if named else None
    retry = dice.random() < 0.95
    padding = dice.randbytes(dice.choice((5, 100, 1000))).hex()
    # Spaces and a number that no float holds: whoever parses and encodes again is found out.
    body = (
        f'{{"n":{number % 100},  "serial" : "s{number}", "big":12345678901234567890.10,'
        f' "pad":"{padding}" }}'
    )
    return Issued(number, tenant, topic, via, event_id, retry, body.encode())


def number_in(body: bytes) -> int | None:
    """The number of the event that has this payload; None when no event of ours has."""
    found = _SERIAL.search(body)
    return int(found[1]) if found else None
