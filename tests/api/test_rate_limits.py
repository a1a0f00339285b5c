"""Requests a second of each tenant."""

import httpx
import pytest

from tests.api.world import World, a_settings, publish_body

SECRET = "s" * 32


def limited_world(rate: float) -> World:
    return World(a_settings(api_rate_limit=rate, jwt_secret=SECRET))


async def statuses(world: World, times: int, **more: str) -> list[int]:
    answers = [await world.client.post("publish", json=publish_body(**more)) for _ in range(times)]
    return [answer.status_code for answer in answers]


async def test_a_tenant_that_is_published_for_too_often_is_429_and_when_to_come_back() -> None:
    world = limited_world(0.5)
    async with world.client as client:
        assert await statuses(world, 1) == [202]
        answer = await client.post("publish", json=publish_body())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert answer.json() == {
            "status": 429,
            "message": "too many requests for this tenant",
            "data": {"tenant_id": "acme", "requests_per_second": 0.5},
        }
        assert len(world.published()) == 1
        world.clock.now += 2000
        assert await statuses(world, 2) == [202, 429]


async def test_another_tenant_is_not_held_up() -> None:
    world = limited_world(2)
    async with world.client:
        assert await statuses(world, 3) == [202, 202, 429]
        assert await statuses(world, 3, tenant_id="other") == [202, 202, 429]


async def test_the_administrator_s_other_calls_are_not_counted() -> None:
    world = limited_world(1)
    async with world.client as client:
        for _ in range(3):
            assert (await client.put("tenants/acme")).is_success
        assert await statuses(world, 2) == [202, 429]


@pytest.mark.parametrize("path", ["tenants/acme", "http://router/portal?token={token}"])
async def test_a_tenant_s_own_calls_are_counted(path: str) -> None:
    world = limited_world(1)
    async with world.client as client:
        await world.tenant()
        token = (await client.get("tenants/acme/token")).json()["token"]
        answers = [await call_as(world, token, path.format(token=token)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"] == "1"


async def call_as(world: World, token: str, path: str) -> httpx.Response:
    return await world.client.get(path, headers={"authorization": f"Bearer {token}"})


async def test_without_a_limit_nobody_is_counted(world: World) -> None:
    assert set(await statuses(world, 50)) == {202}


async def test_what_cannot_be_a_tenant_is_named_and_not_counted() -> None:
    world = limited_world(1)
    async with world.client as client:
        for _ in range(2):
            answer = await client.post("publish", json=publish_body(tenant_id="a/b"))
            assert answer.status_code == 422
            assert answer.json()["data"][0].startswith("tenant_id: 'a/b' is not an id")


async def test_the_document_names_the_answer(world: World) -> None:
    paths = (await world.client.get("http://router/openapi.json")).json()["paths"]
    for path in ("/api/v1/publish", "/api/v1/events"):
        for operation in paths[path].values():
            assert "429" in operation["responses"]
