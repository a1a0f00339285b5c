"""What a role stands on is left alone by the garbage collector, and garbage is not."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from event_router.router.garbage import YOUNG, spare_what_stays


class Knot:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_what_is_there_is_not_looked_at_again() -> None:
    stays = Knot()
    spare_what_stays()
    assert not any(one is stays for one in gc.get_objects())
    assert gc.get_threshold()[0] == YOUNG


def test_garbage_of_before_is_collected_first() -> None:
    gone = weakref.ref(Knot())
    spare_what_stays()
    assert gone() is None


def test_garbage_of_later_is_collected() -> None:
    spare_what_stays()
    gone = weakref.ref(Knot())
    gc.collect()
    assert gone() is None
