"""Files of JSON Lines, on this machine's disk."""

import asyncio
import base64
import dataclasses
import json
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from event_router.consumers.ports import Sink
from event_router.consumers.sinks.kinds import SinkResources, load_sinks
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    local_resources,
)
from event_router.schemas.errors import InvalidValue, Unavailable

LIMIT = 1 << 30


def arrived_as(line: str) -> Arrived:
    said = json.loads(line)
    data = base64.b64decode(said["data_base64"]) if "data_base64" in said else data_in(line)
    metadata = {**said["metadata"], "timestamp": said["time"]}
    return Arrived(data, said["id"], said["topic"], said["content_type"], metadata)


def data_in(line: str) -> bytes:
    """The payload as it stands in the line: the last of its fields."""
    return line.partition('"data":')[2][:-1].encode()


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


class TestFile(BatchContract):
    type = "file"
    forbidden_code = "forbidden_path"
    fewest_connections = 0
    without: ClassVar = {
        "wrong_credentials": "a file has none",
        "refused_connection": "a file has none",
        "time_out": "a disk that never answers can't be had here",
        "too_large": "a line may be as long as the disk has room",
    }

    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path) -> Path:
        self.root = tmp_path
        return tmp_path

    def adapted(self, resources: SinkResources) -> SinkResources:
        return dataclasses.replace(resources, files=self.root)

    @pytest.fixture
    async def case(self, files: Path) -> AsyncIterator[SinkCase]:
        own = files / "acme"
        (own / "folder").mkdir(parents=True)
        with (own / "full.jsonl").open("wb") as file:
            file.truncate(LIMIT)

        async def arrived() -> list[Arrived]:
            return [arrived_as(line) for line in lines_of(own / "events.jsonl")]

        @contextmanager
        def no_room() -> Iterator[None]:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        with no_room():
            yield SinkCase(
                {"path": "events.jsonl"},
                arrived,
                {
                    "missing_target": Trouble({"path": "folder"}),
                    "throttling": Trouble({"path": "full.jsonl", "max_bytes": 2 * LIMIT}),
                },
            )


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
async def resources(tmp_path: Path) -> AsyncIterator[SinkResources]:
    async with local_resources() as shared:
        yield dataclasses.replace(shared, files=tmp_path)


def opened(resources: SinkResources, tenant: str = "acme", **config: Any) -> Sink:
    destination = a_destination("file", {"path": "a/b.jsonl", **config}, {})
    return load_sinks().open(msgspec.structs.replace(destination, tenant=tenant), resources)


async def test_a_full_file_is_renamed_and_so_many_are_kept(
    resources: SinkResources, tmp_path: Path
) -> None:
    sink = opened(resources, max_bytes=1024, keep=2)
    for number in range(8):
        await sink.deliver(a_delivery(f"evt_{number}", b'"%s"' % (b"x" * 800)))
    files = {path.name: lines_of(path) for path in (tmp_path / "acme" / "a").iterdir()}
    names = {name: [json.loads(line)["id"] for line in lines] for name, lines in files.items()}
    assert names == {"b.jsonl": ["evt_7"], "b.jsonl.1": ["evt_6"], "b.jsonl.2": ["evt_5"]}


async def test_a_line_that_was_cut_short_spoils_no_other(
    resources: SinkResources, tmp_path: Path
) -> None:
    path = tmp_path / "acme" / "a" / "b.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "whole"}\n{"id": "cut sho')
    await opened(resources).deliver(a_delivery())
    assert [json.loads(line)["id"] for line in lines_of(path)[::2]] == ["whole", "evt_1"]


async def test_what_fails_half_way_leaves_no_trace(
    resources: SinkResources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = opened(resources)
    await sink.deliver(a_delivery("evt_1"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "acme" / "a" / "b.jsonl"
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(Unavailable, match="throttled"):
            await sink.deliver(a_delivery("evt_2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await sink.deliver(a_delivery("evt_3"))
    assert [json.loads(line)["id"] for line in lines_of(path)] == ["evt_1", "evt_3"]


async def test_two_writers_lose_nothing_over_rotations(
    resources: SinkResources, tmp_path: Path
) -> None:
    writers = [opened(resources, max_bytes=2048, keep=1000) for _ in range(2)]
    await asyncio.gather(
        *(writers[n % 2].deliver(a_delivery(f"evt_{n}", b"1" * 200)) for n in range(200))
    )
    lines = [line for path in (tmp_path / "acme" / "a").iterdir() for line in lines_of(path)]
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(
        f"evt_{n}" for n in range(200)
    )


async def test_a_link_leads_nowhere(resources: SinkResources, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    path = tmp_path / "acme" / "a" / "b.jsonl"
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    with pytest.raises(Unavailable, match="forbidden_path"):
        await opened(resources).deliver(a_delivery())
    assert outside.read_text() == ""


@pytest.mark.parametrize("tenant", [".", "..", "..."])
async def test_a_tenant_stays_in_its_own_directory(
    resources: SinkResources, tmp_path: Path, tenant: str
) -> None:
    root = tmp_path / "files"
    root.mkdir()
    await opened(dataclasses.replace(resources, files=root), tenant).deliver(a_delivery())
    (written,) = files_in(tmp_path)
    assert written.relative_to(root).parts == (tenant.replace(".", "%2E"), "a", "b.jsonl")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "", "a/", "ü"]
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidValue, match=r"config\.path"):
        load_sinks().check("file", {"path": path}, {})


@pytest.mark.parametrize("path", ["events.1", "a.10/events.jsonl", "a/b.jsonl.007"])
def test_the_name_of_a_full_file_is_no_destinations(path: str) -> None:
    with pytest.raises(InvalidValue, match=r"config\.path.*NAME\.1"):
        load_sinks().check("file", {"path": path}, {})


@pytest.mark.parametrize("path", ["v1.2-events", "2026.jsonl", "1", "a1/b.x1"])
def test_a_number_elsewhere_is_a_name_like_others(path: str) -> None:
    assert load_sinks().check("file", {"path": path}, {}).config["path"] == path


async def test_a_directory_that_is_not_there_is_said(
    resources: SinkResources, tmp_path: Path
) -> None:
    elsewhere = dataclasses.replace(resources, files=tmp_path / "gone")
    with pytest.raises(Unavailable, match="ROUTER_FILES_DIR") as caught:
        await opened(elsewhere).deliver(a_delivery())
    assert caught.value.code == "target_not_found"


async def test_a_file_where_a_directory_would_have_to_be_is_said(resources: SinkResources) -> None:
    await opened(resources, path="a").deliver(a_delivery())
    for path in ("a/b", "a/b/c"):
        with pytest.raises(Unavailable, match=f"{path}: .* is a file") as caught:
            await opened(resources, path=path).deliver(a_delivery())
        assert caught.value.code == "target_not_found"


async def test_a_directory_where_a_file_would_have_to_be_is_said(resources: SinkResources) -> None:
    await opened(resources, path="a/b").deliver(a_delivery())
    with pytest.raises(Unavailable, match="a: it is a directory") as caught:
        await opened(resources, path="a").deliver(a_delivery())
    assert caught.value.code == "target_not_found"
