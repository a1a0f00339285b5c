"""What memory and Redis have in common: bounds, bodies, and the fractions that make leases unique.

A score is the ms at which an entry may be claimed. A waiting one is whole; that of a lease has a
fraction, nonce/4096, so that no two leases of an entry look alike: twelve bits are what a double
leaves below a ms of our time.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from event_router.consumers.ports import MAX_LEASE
from event_router.schemas.delivery import Delivery
from event_router.schemas.wire import pack, unpack

NONCES = 4096

_ATTEMPT = 4


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes of bodies that new waiting entries may fill: in all, and of one destination."""

    total: int
    destination: int

    @classmethod
    def of(cls, total: int) -> "Bounds":
        """No destination gets more than an eighth, so that one that is down for long leaves room
        to the others."""
        return cls(total, total // 8)


def encode_body(delivery: Delivery) -> bytes:
    """The attempt stands first, where a script finds it without reading JSON."""
    return delivery.head.attempt.to_bytes(_ATTEMPT, "big") + pack(delivery)


def attempt_of(body: bytes) -> int:
    return int.from_bytes(body[:_ATTEMPT], "big")


def decode_body(body: bytes) -> Delivery:
    """Raises Undecodable."""
    return unpack(body[_ATTEMPT:])


def nonces() -> Iterator[int]:
    """1, …, 4095 again and again, begun anywhere, so that two processes seldom use the same."""
    begin = random.randrange(1, NONCES)
    return itertools.chain(range(begin, NONCES), itertools.cycle(range(1, NONCES)))


def lease_ms(seconds: float) -> int:
    return round(min(seconds, MAX_LEASE) * 1000)
