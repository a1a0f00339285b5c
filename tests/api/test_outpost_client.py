"""Outpost's own SDKs, as they are on PyPI and npm, work against the API."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from event_router.consumers.sinks.kinds import load_sinks
from tests.api.test_serve import served
from tests.api.world import KEY, World, a_settings
from tests.services import CACHE
from tests.store.history import History, write

HERE = Path(__file__).parent
NPM_SDK = "@hookdeck/outpost-sdk"
NPM_VERSION = "1.6.0"
WEBHOOK, KAFKA = "of-webhook", "of-kafka"


def python_with(sdk: str, seconds: float = 100.0) -> Path:
    """A Python that has the SDK and nothing of ours: the two need other versions of things."""
    folder = CACHE / sdk.replace("==", "-")
    done = folder / "installed"
    python = folder / "bin" / "python"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, sdk], check=True, timeout=seconds)
        done.touch()
    return python


def npm_sdk() -> Path:
    """The TypeScript SDK's entry, in a folder of its own."""
    folder = CACHE / f"outpost-npm-{NPM_VERSION}"
    done = folder / "installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
        subprocess.run([*npm, f"{NPM_SDK}@{NPM_VERSION}"], check=True, timeout=900)
        done.touch()
    return folder / "node_modules" / NPM_SDK / "dist" / "esm" / "index.js"


async def a_world() -> World:
    """With two events and three attempts, of destinations that the client is going to make."""
    world = World(
        a_settings(jwt_secret="a-secret-of-thirty-two-bytes-or-more", topics="user.created")
    )
    history = History()
    event = history.event("e1", topic="user.created", metadata={"k": "v"})
    history.attempt(history.delivery(event, WEBHOOK), "failed", "a1")
    history.attempt(history.delivery(event, WEBHOOK, attempt=2), "delivered", "a2")
    other = history.event("e2", topic="user.created")
    history.attempt(history.delivery(other, KAFKA), id_="a3")
    await write(world.log, history.records)
    return world


async def said_by(*command: str | Path) -> dict[str, Any]:
    """What a program prints."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    said: dict[str, Any] = json.loads(out)
    return said


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_every_method_of_the_python_sdk_works_unchanged(mode: str) -> None:
    python = python_with("outpost-sdk==1.7.0")
    world = await a_world()
    async with served(world.app) as port:
        url = f"http://127.0.0.1:{port}"
        said = await said_by(python, HERE / "outpost_client.py", url, KEY, mode)
    portal = said.pop("portal")
    assert portal.startswith(f"{url}/portal?token=ey")
    assert portal.endswith("&theme=dark")
    targets = said.pop("listed")
    assert targets["webhook"] == "https://example.com/"
    assert set(targets) <= set(said.pop("types"))
    answer = {"status": 500, "body": "answer"}
    success = {"status": 200, "body": "answer"}
    data = {"n": 1}
    assert said == {
        "not_called": [],
        "health": "healthy",
        "topics": ["user.created"],
        "tenant": "acme",
        "again": None,
        "tenants": [2, ["acme", "other"]],
        "found": 0,
        "own": ["acme"],
        "not_own": ["APIErrorResponse", 403, "a tenant's token is for that tenant's own things"],
        "deleted_tenant": True,
        "form": [
            ["brokers", "text", True],
            ["topic", "text", True],
            ["tls", "checkbox", False],
            ["ca_certificate", "text", False],
            ["sasl_mechanism", "select", False],
            ["partition_key_template", "text", False],
        ],
        "chosen": [KAFKA, WEBHOOK],
        "rotated": True,
        "disabled": True,
        "enabled": True,
        "bare_kafka": "plain",
        "missing": ["NotFoundError", 404, "destination not found"],
        "wrong": ["APIErrorResponse", 422, "validation error"],
        "published": [["e9", False, [KAFKA, WEBHOOK]], ["e9", True, [KAFKA, WEBHOOK]]],
        "events": ["e2", "e1"],
        "event": data,
        "retry": True,
        "conflict": ["APIErrorResponse", 409, "the id e9 was used with other content"],
        "invalid": ["BadRequestError", 422, "validation error"],
        "unauthorized": ["UnauthorizedError", 401, "the bearer key is missing or wrong"],
        "attempts": [
            ["a3", "success", 1, success, data],
            ["a2", "success", 2, success, data],
            ["a1", "failed", 1, answer, data],
        ],
        "to": ["k.example.com:9092 / t", "https://example.com/", "https://example.com/"],
        "attempt": 12,
        "failed": ["a1"],
        "answer": answer,
        "metrics": [
            [
                {"manual": "false", "attempt_number": number},
                {"count": 1, "error_rate": rate, "p50_latency": 12.5, "p99_latency": 12.5},
            ]
            for number, rate in (("1", 1.0), ("2", 0.0))
        ],
        "count": 2,
    }
    assert len(world.published()) == 1
    assert len(world.broker.records(world.topics.deliveries)) == 1


async def test_an_old_python_sdk_publishes_unchanged() -> None:
    python = python_with("outpost-sdk==0.4.0")
    world = await a_world()
    async with world.client, served(world.app) as port:
        await world.tenant()
        await world.destination(id="d1")
        url = f"http://127.0.0.1:{port}"
        said = await said_by(python, HERE / "outpost_client_040.py", url, KEY)
    assert said == {
        "published": ["e9"],
        "again": ["e9"],
        "conflict": ["APIError", 409, None],
        "invalid": ["BadRequestError", 422, "validation error"],
        "large": ["BadRequestError", 413, "the body is larger than 524288 bytes"],
        "stranger": ["APIError", 401, None],
    }
    assert len(world.published()) == 1


@pytest.mark.timeout(1000)  # fetching it may take long
async def test_every_method_of_the_typescript_sdk_works_unchanged() -> None:
    sdk = npm_sdk()
    world = await a_world()
    async with served(world.app) as port:
        url = f"http://127.0.0.1:{port}"
        said = await said_by("node", HERE / "outpost_client.mjs", sdk, url, KEY)
    assert said.pop("portal").startswith(f"{url}/portal?token=ey")
    assert said == {
        "health": "healthy",
        "topics": ["user.created"],
        "tenant": "acme",
        "tenants": [2, 1],
        "found": {"plan": "free"},
        "own": ["acme"],
        "notOwn": ["APIError", 403, "a tenant's token is for that tenant's own things"],
        "deletedTenant": True,
        "types": len(load_sinks().names),
        "form": "Apache Kafka",
        "listed": ["https://example.com/"],
        "changed": [{"team": "x"}, {"data": {"plan": "pro"}}],
        "disabled": True,
        "enabled": True,
        "target": "https://example.com/",
        "published": ["e9", False, [KAFKA, WEBHOOK]],
        "again": ["e9", True, [KAFKA, WEBHOOK]],
        "events": ["e2", "e1"],
        "event": {"n": 1},
        "attempts": [
            ["a3", "success", {"n": 1}],
            ["a2", "success", {"n": 1}],
            ["a1", "failed", {"n": 1}],
        ],
        "attempt": 1,
        "failed": 1,
        "one": "500",
        "retry": True,
        "count": 2,
        "metrics": [[{"manual": "false"}, {"count": 3, "error_rate": 1 / 3}]],
        "deleted": True,
        "missing": ["NotFoundError", 404, "destination not found"],
        "conflict": ["APIError", 409, "the id e9 was used with other content"],
        "invalid": ["BadRequestError", 422, "validation error"],
        "unauthorized": ["UnauthorizedError", 401, "the bearer key is missing or wrong"],
    }
