"""Who asks in the same round shares a look, and nobody is given one that began before."""

import asyncio
from collections import Counter

import pytest

from event_router.router.hops.shared_look import SharedLook, answer


class Shelf:
    """Holds a number, which is read when it is looked at, and given out later."""

    def __init__(self) -> None:
        self.holds = 1
        self.looks: Counter[str] = Counter()
        self.open = asyncio.Event()

    async def look(self, name: str) -> int:
        self.looks[name] += 1
        seen = self.holds
        await self.open.wait()
        return seen


async def test_a_round_shares_one_look() -> None:
    shelf = Shelf()
    shelf.open.set()
    shared = SharedLook(shelf.look)
    asked = [shared.ask("a") for _ in range(5)] + [shared.ask("b")]
    assert [await answer(one) for one in asked] == [1] * 6
    assert shelf.looks == {"a": 1, "b": 1}


async def test_who_comes_later_is_shown_what_is_there_then() -> None:
    shelf = Shelf()
    shared = SharedLook(shelf.look)
    early = shared.ask("a")
    await asyncio.sleep(0)
    shelf.holds = 2
    late = shared.ask("a")
    await asyncio.sleep(0)
    shelf.open.set()
    assert (await answer(early), await answer(late)) == (1, 2)


async def test_who_goes_away_takes_nobodys_answer() -> None:
    shelf = Shelf()
    shared = SharedLook(shelf.look)
    gone = asyncio.create_task(answer(shared.ask("a")))
    stays = asyncio.create_task(answer(shared.ask("a")))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    shelf.open.set()
    assert await stays == 1
    assert shelf.looks == {"a": 1}


async def test_a_look_that_fails_fails_for_all_who_share_it() -> None:
    async def fail(_: str) -> int:
        raise KeyError("lost")

    shared = SharedLook(fail)
    asked = [shared.ask("a"), shared.ask("a")]
    for one in asked:
        with pytest.raises(KeyError):
            await answer(one)
