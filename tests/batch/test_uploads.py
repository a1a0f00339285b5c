"""Uploads whose requests come together: clients send parts side by side, and send again."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from event_router.router.batch.uploads import Binding, NoSuchUpload, Uploads

BINDING = Binding("org", "acme", "orders")


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", 1 << 20)


async def body(content: bytes) -> AsyncIterator[bytes]:
    await asyncio.sleep(0)
    yield content


async def test_of_two_parts_of_one_number_that_come_together_one_stays(uploads: Uploads) -> None:
    upload, stored = uploads.begin(BINDING, "orders.csv")
    puts = (uploads.put_part(BINDING, upload, 1, body(b"a\n%d\n" % n)) for n in range(8))
    answered = await asyncio.gather(*puts)
    (part,) = uploads.parts(BINDING, upload)
    assert part in answered
    uploads.complete(BINDING, upload, stored, [(part.number, part.etag)])
    assert uploads.find(BINDING, stored).stat().st_size == part.size


async def test_calls_that_complete_an_upload_together_all_answer_its_file(uploads: Uploads) -> None:
    for _ in range(5):
        upload, stored = uploads.begin(BINDING, "orders.csv")
        numbers = range(1, 30)
        puts = [await uploads.put_part(BINDING, upload, n, body(b"%d\n" % n)) for n in numbers]
        parts = [(part.number, part.etag) for part in puts]
        complete = partial(uploads.complete, BINDING, upload, stored, parts)
        answers = await asyncio.gather(*(asyncio.to_thread(complete) for _ in range(4)))
        assert answers == [stored] * 4
        assert uploads.find(BINDING, stored).read_bytes() == b"".join(b"%d\n" % n for n in numbers)


async def test_a_part_that_arrives_when_its_upload_is_complete_is_of_no_upload(
    uploads: Uploads,
) -> None:
    upload, stored = uploads.begin(BINDING, "orders.csv")
    first = await uploads.put_part(BINDING, upload, 1, body(b"a\n"))

    async def late() -> AsyncIterator[bytes]:
        yield b"b"
        uploads.complete(BINDING, upload, stored, [(1, first.etag)])
        yield b"\n"

    with pytest.raises(NoSuchUpload):
        await uploads.put_part(BINDING, upload, 2, late())
    assert uploads.size() == first.size


async def test_the_size_is_told_while_uploads_come_and_go(uploads: Uploads) -> None:
    async def come_and_go() -> None:
        for _ in range(40):
            upload, stored = uploads.begin(BINDING, "orders.csv")
            part = await uploads.put_part(BINDING, upload, 1, body(b"a\n"))
            complete = partial(uploads.complete, BINDING, upload, stored)
            await asyncio.to_thread(complete, [(1, part.etag)])
            uploads.remove(BINDING, stored)

    async def look() -> None:
        for _ in range(200):
            await asyncio.to_thread(uploads.size)
            await asyncio.to_thread(uploads.forget, [], 3600.0)

    await asyncio.gather(come_and_go(), come_and_go(), look())
    assert uploads.size() == 0
