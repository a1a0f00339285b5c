"""The OpenAPI document says everything that may be answered: no other status, no other body."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from event_router.router.store.job_ports import JobOptions, NewJob
from event_router.router.store.schema_ports import Found
from tests.api.world import KEY, World, a_settings, destination_body
from tests.store.history import History, write

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
JOB = "0f0e0d0c-0b0a-4908-8706-050403020100"
EXISTING = {
    "tenant_id": "acme",
    "destination_id": "one",
    "event_id": "e1",
    "attempt_id": "a1",
    "type_name": "webhook",
    "job_id": JOB,
    "topic": "orders",
}


def a_world() -> World:
    return World(a_settings(jwt_secret="a-secret-of-thirty-two-bytes-or-more"))


def operations() -> list[Any]:
    document = schemathesis.openapi.from_dict(a_world().app.openapi())
    return [found.ok() for found in document.get_all_operations()]


class Api:
    """A world that is as it was before every request."""

    def __init__(self) -> None:
        self._world = a_world()
        self._runner = asyncio.Runner()
        self._runner.run(self._prepare())

    def close(self) -> None:
        self._runner.run(self._world.client.aclose())
        self._runner.close()

    def answer(self, case: Any, caller: str) -> httpx.Response:
        return self._runner.run(self._answer(case, caller))

    async def _prepare(self) -> None:
        history = History()
        event = history.event("e1")
        history.attempt(history.delivery(event, "one"), "failed", "a1")
        await write(self._world.log, history.records)
        await self._restore()
        answer = await self._world.client.get("tenants/acme/token")
        self._keys = {"admin": KEY, "tenant": answer.json()["token"], "stranger": "wrong"}

    async def _restore(self) -> None:
        client = self._world.client
        await client.put("tenants/acme")
        await client.post("tenants/acme/destinations", json=destination_body(id="one"))
        await client.put("tenants/acme/destinations/one/enable")
        columns = [{"name": "amount", "type": "float", "minimum": 0}]
        await client.put("tenants/acme/schemas/orders", json={"columns": columns})
        found = Found("amount", "range", 1, "e1", "-1 is less than 0", 1, 2)
        await self._world.registry.schemas.record("acme", "orders", [found])
        job = NewJob(JOB, "org", "acme", "orders", ("rows.csv",), JobOptions(), 1_000)
        await self._world.jobs.add(job)

    async def _answer(self, case: Any, caller: str) -> httpx.Response:
        await self._restore()
        given = case.as_transport_kwargs(base_url="http://router")
        headers = {name.lower(): value for name, value in given["headers"].items()}
        headers["authorization"] = f"Bearer {self._keys[caller]}"
        return await self._world.client.request(
            given["method"],
            given["url"],
            params=given.get("params"),
            headers=headers,
            json=given.get("json"),
            content=given.get("data"),
        )


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", operations(), ids=lambda one: one.label)
def test_nothing_is_answered_that_the_document_does_not_name(
    api: Api, operation: Any, mode: GenerationMode
) -> None:
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        exists=st.booleans(),
        caller=st.sampled_from(("admin", "admin", "tenant", "stranger")),
    )
    def check(case: Any, exists: bool, caller: str) -> None:
        if exists:
            case.path_parameters = {
                name: EXISTING.get(name, value) for name, value in case.path_parameters.items()
            }
        case.validate_response(api.answer(case, caller), checks=CHECKS)

    check()
