"""A tenant's token opens what is the tenant's own, on every route, and nothing else."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio

from tests.api.world import KEY, START, World, a_settings, destination_body, publish_body
from tests.store.history import History, write

SECRET = "a-secret-of-thirty-two-bytes-or-more"
NOW = START // 1000
CLAIMS = {"iss": "outpost", "sub": "acme", "iat": NOW, "exp": NOW + 60}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Two tenants, each with a destination, an event and an attempt; ids differ but for `e0`."""
    made = World(a_settings(jwt_secret=SECRET))
    async with made.client:
        history = History()
        for tenant, n in (("acme", 1), ("other", 2)):
            await made.tenant(tenant)
            await made.destination(tenant, id=f"d{n}")
            history.event("e0", tenant)
            delivery = history.delivery(history.event(f"e{n}", tenant), f"d{n}")
            history.attempt(delivery, "failed", f"a{n}")
        await write(made.log, history.records)
        yield made


async def issued(world: World, tenant: str = "acme") -> str:
    answer = await world.client.get(f"tenants/{tenant}/token")
    assert answer.status_code == 200
    assert answer.json()["tenant_id"] == tenant
    token: str = answer.json()["token"]
    return token


async def asked(
    world: World, method: str, path: str, token: str | None = None, **more: Any
) -> httpx.Response:
    """What the tenant acme is answered."""
    bearer = await issued(world) if token is None else token
    return await world.client.request(
        method, path, headers={"authorization": f"Bearer {bearer}"}, **more
    )


async def test_a_token_says_whose_it_is_and_until_when(world: World) -> None:
    claims = jwt.decode(
        await issued(world), SECRET, ["HS256"], options={"verify_iat": False, "verify_exp": False}
    )
    assert claims == {"iss": "outpost", "sub": "acme", "iat": NOW, "exp": NOW + 86_400}


async def test_a_tenant_does_its_own_things(world: World) -> None:
    for method, path, body, status in (
        ("GET", "tenants/acme", None, 200),
        ("PUT", "tenants/acme", {"metadata": {"a": "b"}}, 200),
        ("GET", "tenants/acme/destinations", None, 200),
        ("POST", "tenants/acme/destinations", destination_body(), 201),
        ("PATCH", "tenants/acme/destinations/d1", {"topics": "*"}, 200),
        ("GET", "tenants/acme/destinations/d1/attempts/a1", None, 200),
        ("POST", "retry", {"event_id": "e1", "destination_id": "d1"}, 202),
        ("GET", "topics", None, 200),
    ):
        answer = await asked(world, method, path, json=body)
        assert answer.status_code == status, answer.text


async def test_lists_show_what_is_its_own(world: World) -> None:
    ids = {}
    for path in ("tenants", "events", "attempts", "tenants?id=other", "events?id=e2"):
        answer = await asked(world, "GET", path)
        ids[path] = sorted(one["id"] for one in answer.json()["models"])
    assert ids == {
        "tenants": ["acme"],
        "events": ["e0", "e1"],
        "attempts": ["a1"],
        "tenants?id=other": [],
        "events?id=e2": [],
    }
    assert (await asked(world, "GET", "tenants")).json()["count"] == 1
    assert (await asked(world, "GET", "events/e0")).json()["tenant_id"] == "acme"


ADMINISTRATORS = ("/api/v1/publish", "/api/v1/dead", "/api/v1/jobs", "/v2", "/get_supported")
IDS = {"tenant_id": "other", "destination_id": "d2", "event_id": "e2", "attempt_id": "a2"}
BODIES: dict[str, Any] = {
    "/api/v1/publish": publish_body(tenant_id="other"),
    "/api/v1/retry": {"event_id": "e2", "destination_id": "d2"},
    "/api/v1/tenants/{tenant_id}/destinations": destination_body(),
}


def _filled(path: str, ids: dict[str, str]) -> str:
    return "http://router" + re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], "webhook"), path)


async def test_no_route_of_the_document_leads_to_another_tenant(world: World) -> None:
    before = await _state(world)
    document = world.app.openapi()
    seen = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "tenant_id" in path or path.startswith(ADMINISTRATORS):
                expected = {403}
            elif "_id}" in path or path == "/api/v1/retry":
                expected = {404}
            else:
                continue
            answer = await asked(world, method.upper(), _filled(path, IDS), json=BODIES.get(path))
            assert answer.status_code in expected, (method, path, answer.text)
            assert str(answer.status_code) in operation["responses"], (method, path)
            seen += 1
    assert seen >= 17
    assert await _state(world) == before


async def test_a_tenant_issues_neither_tokens_nor_links(world: World) -> None:
    for what in ("token", "portal"):
        assert (await asked(world, "GET", f"tenants/acme/{what}")).status_code == 403


async def test_anothers_ids_on_ones_own_path_are_not_found(world: World) -> None:
    for path, methods in world.app.openapi()["paths"].items():
        if "{destination_id}" in path:
            for method in methods:
                for ids in (
                    {**IDS, "tenant_id": "acme"},
                    {**IDS, "tenant_id": "acme", "destination_id": "d1"},
                ):
                    if ids["destination_id"] == "d1" and "{attempt_id}" not in path:
                        continue
                    answer = await asked(world, method.upper(), _filled(path, ids), json={})
                    assert answer.status_code == 404, (method, path, answer.text)


async def test_no_list_of_the_document_shows_another_tenant(world: World) -> None:
    """Whatever it is filtered by."""
    for path, methods in world.app.openapi()["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter["in"] != "query" or "{" in path:
                continue
            for value in ("other", "d2", "e2", "a2", "webhook"):
                answer = await asked(
                    world, "GET", _filled(path, {}), params={parameter["name"]: value}
                )
                assert answer.status_code in {200, 400, 403, 422}
                shown = answer.text if answer.status_code == 200 else ""
                assert not any(f'"{id_}"' in shown for id_ in ("other", "d2", "e2", "a2"))


@pytest.mark.parametrize("path", ["events", "attempts", "events/e2", "attempts/a2"])
async def test_anothers_tenant_id_is_refused(world: World, path: str) -> None:
    answer = await asked(world, "GET", path, params={"tenant_id": "other"})
    assert answer.status_code == 403
    assert answer.json() == {
        "status": 403,
        "message": "a tenant's token is for that tenant's own things",
    }
    body = {"event_id": "e2", "destination_id": "d2", "tenant_id": "other"}
    assert (await asked(world, "POST", "retry", json=body)).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "tenants/other/",
        "tenants//destinations",
        "tenants/acme/token/",
        "tenants/acme%2Ftoken",
        "tenants/acme%2F..%2Fother",
        "tenants/acmee",
        "tenants/Acme",
        "openapi.json",
        "nothing",
    ],
)
async def test_what_is_not_known_to_be_ones_own_is_closed(world: World, path: str) -> None:
    assert (await asked(world, "GET", path)).status_code == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": None},
        {"exp": "soon"},
        {"iss": "somebody"},
        {"iss": None},
        {"sub": "nobody"},
        {"sub": ""},
        {"sub": None},
        {"sub": 1},
    ],
)
async def test_a_token_that_is_not_good_is_401(world: World, claims: dict[str, Any]) -> None:
    good = jwt.encode(CLAIMS, SECRET, "HS256")
    assert (await asked(world, "GET", "tenants/acme", good)).status_code == 200
    whole = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    try:
        token = jwt.encode(whole, SECRET, "HS256")
    except TypeError:
        token = jwt.api_jws.encode(json.dumps(whole).encode(), SECRET, "HS256")
    answer = await asked(world, "GET", "tenants/acme", token)
    assert (answer.status_code, answer.json()["status"]) == (401, 401)


async def test_another_secret_or_algorithm_is_401(world: World) -> None:
    unsigned = jwt.encode(CLAIMS, "", "none")
    for token in (
        jwt.encode(CLAIMS, SECRET + "x", "HS256"),
        jwt.encode(CLAIMS, SECRET * 2, "HS512"),
        unsigned,
        unsigned.rstrip(".") + ".e30",
        "a.b.c",
        "ö",
    ):
        headers = [(b"authorization", b"Bearer " + token.encode())]
        answer = await world.client.get("tenants/acme", headers=headers)
        assert answer.status_code == 401


async def test_the_token_of_a_deleted_tenant_is_401(world: World) -> None:
    token = await issued(world)
    assert (await asked(world, "DELETE", "tenants/acme", token)).status_code == 200
    assert (await asked(world, "GET", "tenants/acme", token)).status_code == 401


async def test_a_token_expires_after_a_day(world: World) -> None:
    token = await issued(world)
    world.clock.now += 86_399_000
    assert (await asked(world, "GET", "topics", token)).status_code == 200
    world.clock.now += 1_000
    assert (await asked(world, "GET", "topics", token)).status_code == 401


async def test_a_short_secret_works_too() -> None:
    world = World(a_settings(jwt_secret="short"))
    async with world.client:
        await world.tenant()
        assert (await asked(world, "GET", "tenants/acme")).status_code == 200


async def test_without_a_secret_there_are_no_tokens() -> None:
    world = World()
    async with world.client:
        await world.tenant()
        forged = jwt.encode(CLAIMS, SECRET, "HS256")
        assert (await asked(world, "GET", "tenants/acme", forged)).status_code == 401
        answer = await world.client.get("tenants/acme/token")
    assert (answer.status_code, answer.json()["message"]) == (
        501,
        "tenants' tokens need ROUTER_JWT_SECRET to be set",
    )


async def test_there_is_no_token_for_a_tenant_that_is_not_there(world: World) -> None:
    for what in ("token", "portal"):
        assert (await world.client.get(f"tenants/nobody/{what}")).status_code == 404


async def test_a_tenant_neither_chooses_times_nor_secrets(world: World) -> None:
    times = destination_body(created_at="2025-01-01T00:00:00Z")
    answer = await asked(world, "POST", "tenants/acme/destinations", json=times)
    assert answer.status_code == 403
    secret = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    for method, path, body in (
        ("POST", "tenants/acme/destinations", destination_body(credentials=secret)),
        ("PATCH", "tenants/acme/destinations/d1", {"credentials": secret}),
    ):
        answer = await asked(world, method, path, json=body)
        assert answer.status_code == 422
        assert answer.json()["data"][0].startswith("credentials.secret is forbidden")


async def test_a_tenant_rotates_its_secret(world: World) -> None:
    path = "tenants/acme/destinations/d1"
    before = (await world.client.get(path)).json()["credentials"]["secret"]
    body = {"credentials": {"rotate_secret": True}}
    after = (await asked(world, "PATCH", path, json=body)).json()["credentials"]
    assert after["previous_secret"] == before
    assert after["secret"] != before


async def test_an_id_of_several_tenants_is_a_conflict_for_the_administrator(world: World) -> None:
    event = await world.client.get("events/e0")
    retry = await world.client.post("retry", json={"event_id": "e0", "destination_id": "d1"})
    for answer in (event, retry):
        assert answer.status_code == 409
        assert answer.json()["data"] == {"tenants": ["acme", "other"]}
    named = await world.client.get("events/e0?tenant_id=other")
    assert named.json()["tenant_id"] == "other"
    assert (await world.client.get("events/e1")).json()["tenant_id"] == "acme"


async def test_the_key_still_opens_everything(world: World) -> None:
    answer = await asked(world, "GET", "tenants/other", KEY)
    assert answer.status_code == 200


async def _state(world: World) -> list[Any]:
    destinations = await world.registry.destinations(["acme", "other"])
    return [destinations, await world.registry.count_tenants(), world.published()]
