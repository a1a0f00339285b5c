"""Bodies that are nested deep, spoilt or cut: every answer is one that people can read."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from event_router.router.api.errors import Refusal
from event_router.router.api.fiddler_batches import read_as
from event_router.router.batch.formats import _is_object
from tests.api.world import World, a_settings, destination_body, publish_body
from tests.fuzz.hostile import spoilt

DESTINATION = destination_body(
    id="one",
    credentials={"secret": "whsec_" + "a" * 44},
    filter={"data": {"$or": [{"a": {"$gt": 1}}, {"b": [1, "x"]}]}},
    metadata={"a": "b"},
    delivery_metadata={"x": "y"},
    topics=["a", "b"],
)
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "publish": ("POST", "publish", publish_body(id="e", metadata={"a": "b"}, time="2026-01-01")),
    "create": ("POST", "tenants/acme/destinations", DESTINATION),
    "change": ("PATCH", "tenants/acme/destinations/kept", DESTINATION),
    "tenant": ("PUT", "tenants/acme", {"metadata": {"a": "b"}}),
    "retry": ("POST", "retry", {"event_id": "e", "destination_id": "kept"}),
    "replay": ("POST", "dead/replay", {"place": ["a"], "reason": ["b"], "limit": 3}),
}
DEPTHS = (50, 500, 990, 1_100, 20_000)


Ask = Callable[[str, str, bytes], int]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """What a request is answered, as it would be by an API that has a destination."""
    with asyncio.Runner() as runner:
        world = World(a_settings())

        async def prepare() -> None:
            await world.tenant()
            await world.destination(id="kept")

        async def status(method: str, path: str, body: bytes) -> int:
            answer = await world.client.request(method, path, content=body)
            assert answer.is_success or answer.json()["status"] == answer.status_code
            return answer.status_code

        runner.run(prepare())
        yield lambda *request: runner.run(status(*request))
        runner.run(world.client.aclose())


@pytest.mark.parametrize("name", REQUESTS)
def test_no_body_is_a_mistake_of_ours(name: str, ask: Ask) -> None:
    method, path, good = REQUESTS[name]

    @settings(max_examples=60)
    @given(body=spoilt(json.dumps(good).encode()))
    def check(body: bytes) -> None:
        assert ask(method, path, body) < 500

    check()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", REQUESTS)
def test_no_depth_is_a_mistake_of_ours(name: str, depth: int, ask: Ask) -> None:
    method, path, good = REQUESTS[name]
    for field in (*good, None):
        for start, end in ((b"[", b"]"), (b'{"$not":', b"}")):
            deep = start * depth + b"1" + end * depth
            body = deep
            if field is not None:
                body = json.dumps(good | {field: "DEEP"}).encode().replace(b'"DEEP"', deep)
            assert ask(method, path, body) < 500, (field, start)


def test_a_file_whose_first_line_is_nested_deep_is_no_json() -> None:
    assert not _is_object(b'{"a":' * 20_000 + b"1" + b"}" * 20_000)


def test_what_is_asked_of_batches_may_be_nested_deep() -> None:
    with pytest.raises(Refusal, match="can't be read"):
        read_as(msgspec.json.Decoder(dict[str, msgspec.Raw]), b'{"a":' * 20_000 + b"}" * 20_000)
