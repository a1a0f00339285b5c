"""Whatever goes wrong is answered in JSON, in one form."""

import re
from typing import Any

import httpx
import pytest

from event_router.router.api.app import create_app
from event_router.schemas.errors import Unavailable
from tests.api.world import KEY, NoDirectory, World, a_settings, publish_body


def _is_an_error(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["status"] == status
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer \xff"]
)
@pytest.mark.parametrize("path", ["publish", "tenants/acme", "nothing"])
async def test_without_the_key_nobody_gets_in(
    world: World, authorization: str | None, path: str
) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app), base_url="http://router/api/v1/"
    ) as stranger:
        headers = (
            [] if authorization is None else [(b"authorization", authorization.encode("latin1"))]
        )
        answer = await stranger.post(path, json=publish_body(), headers=headers)
    _is_an_error(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert world.published() == []


async def test_the_scheme_may_be_written_in_any_case(world: World) -> None:
    answer = await world.client.get("tenants/x", headers={"authorization": f"bearer {KEY}"})
    assert answer.status_code == 404


async def test_without_a_key_that_is_set_nobody_gets_in() -> None:
    world = World(a_settings(api_key=""))
    async with world.client as client:
        answer = await client.get("tenants/acme", headers={"authorization": "Bearer "})
    _is_an_error(answer, 401)


@pytest.mark.parametrize("path", ["nothing", "tenants/a/b", "http://router/nothing"])
async def test_an_unknown_path_is_404(world: World, path: str) -> None:
    _is_an_error(await world.client.get(path), 404)


@pytest.mark.parametrize("path", ["publish", "tenants/acme/destinations/d/enable"])
async def test_another_method_is_405(world: World, path: str) -> None:
    answer = await world.client.get(path)
    _is_an_error(answer, 405)
    assert answer.headers["allow"]


async def test_a_body_may_say_that_it_is_a_form(world: World) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b'{"metadata": {"a": "b"}}'
    answer = await world.client.put("tenants/acme", content=body, headers=form)
    assert answer.json()["metadata"] == {"a": "b"}


@pytest.mark.parametrize("body", [b"{", b'{"metadata": {"a": "\xff"}}', b"[" * 200_000])
async def test_a_body_that_is_not_json_is_422(world: World, body: bytes) -> None:
    answer = await world.client.put("tenants/acme", content=body)
    _is_an_error(answer, 422)
    assert answer.json()["message"] == "invalid JSON"


async def test_a_database_in_trouble_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: Any) -> None:
        raise Unavailable("database", "password=hunter2")

    monkeypatch.setattr(world.registry, "tenant", fail)
    answer = await world.client.get("tenants/acme")
    _is_an_error(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert "hunter2" not in answer.text


async def test_a_mistake_of_ours_is_500(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(world.registry, "tenant", fail)
    world.publish.directory = NoDirectory(fail)
    for answer in (
        await world.client.get("tenants/acme"),
        await world.client.post("publish", json=publish_body()),
    ):
        _is_an_error(answer, 500)
        assert "secret" not in answer.text


async def test_a_body_that_is_too_large_is_413(world: World) -> None:
    limit = world.settings.max_event_bytes
    body = publish_body(data={"a": "x" * limit})
    _is_an_error(await world.client.post("publish", json=body), 413)
    _is_an_error(await world.client.put("tenants/a", content=b" " * 300_000), 413)


async def test_a_body_of_unknown_length_is_not_read_beyond_the_limit(world: World) -> None:
    given = 0

    async def endless() -> Any:
        nonlocal given
        while True:
            given += 1 << 16
            yield b" " * (1 << 16)

    _is_an_error(await world.client.post("publish", content=endless()), 413)
    assert given <= world.settings.max_event_bytes + (1 << 17)


async def test_the_document_names_every_route_and_every_error(world: World) -> None:
    document = (await world.client.get("http://router/openapi.json")).json()
    assert {
        (method, path) for path, methods in document["paths"].items() for method in methods
    } >= {
        ("post", "/api/v1/publish"),
        ("put", "/api/v1/tenants/{tenant_id}"),
        ("post", "/api/v1/tenants/{tenant_id}/destinations"),
        ("delete", "/api/v1/tenants/{tenant_id}/destinations/{destination_id}"),
    }
    publish = document["paths"]["/api/v1/publish"]["post"]
    assert set(publish["responses"]) == {
        "202",
        "401",
        "403",
        "408",
        "409",
        "413",
        "414",
        "422",
        "429",
        "431",
        "500",
        "503",
    }
    assert _references(document) <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def _references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"].rpartition("/")[2]} if "$ref" in part else set()
        return own.union(*map(_references, part.values()))
    return set().union(*map(_references, part)) if isinstance(part, list) else set()


async def test_the_document_has_a_page_that_needs_no_other_machine(world: World) -> None:
    page = (await world.client.get("http://router/docs")).text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) == 3
    for part in parts:
        assert part.startswith("./docs/files/"), part
        answer = await world.client.get(f"http://router/{part[2:]}")
        assert answer.status_code == 200, part
    assert create_app(world.services).openapi()["info"]["title"] == "Event Router"


async def test_health_needs_no_key(world: World) -> None:
    for path in ("http://router/healthz", "healthz"):
        answer = await world.client.get(path, headers={"authorization": ""})
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "healthy",
            "timestamp": "2027-01-15T08:00:00.000Z",
            "workers": {"api": {"status": "healthy"}},
        }


async def test_health_says_what_does_not_work(world: World) -> None:
    world.health.down("kafka", "no broker answers")
    answer = await world.client.get("healthz")
    assert answer.status_code == 503
    assert answer.json()["workers"]["kafka"] == {
        "status": "degraded",
        "reason": "no broker answers",
    }
    ready = await world.client.get("http://router/readyz")
    assert ready.status_code == 503
    assert ready.json() == {
        "ready": False,
        "lag": None,
        "troubles": {"kafka": "no broker answers"},
        "warnings": {},
    }
    assert (await world.client.get("http://router/livez")).status_code == 200
