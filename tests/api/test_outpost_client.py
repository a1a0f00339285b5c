"""Outpost's own Python SDK, as it is on PyPI, works against the API."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_serve import served
from tests.api.world import KEY, World
from tests.services import CACHE
from tests.store.history import History, write

SDK = "outpost-sdk==1.7.0"
CALLS = Path(__file__).parent / "outpost_client.py"


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """A Python that has the SDK and nothing of ours: the two need other versions of things."""
    folder = CACHE / SDK.replace("==", "-")
    done = folder / "installed"
    python = folder / "bin" / "python"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, SDK], check=True, timeout=100)
        done.touch()
    return python


async def test_outposts_sdk_works_unchanged(world: World, sdk_python: Path) -> None:
    history = History()
    delivery = history.delivery(history.event("e1", metadata={"k": "v"}), "d1")
    history.attempt(delivery, "failed", "a1")
    history.attempt(delivery, "delivered", "a2")
    history.attempt(history.delivery(history.event("e2", data=b"text"), "gone"), id_="a3")
    await write(world.log, history.records)
    async with served(world.app) as port:
        said = await _run(sdk_python, f"http://127.0.0.1:{port}")
    secret = said.pop("secret")
    assert secret.startswith("whsec_")
    answer = {"status": 500, "body": "answer"}
    success = {"status": 200, "body": "answer"}
    assert said == {
        "health": "healthy",
        "tenant": "acme",
        "metadata": {"plan": "free"},
        "destinations": ["d1", "d2"],
        "target": "https://example.com/hook",
        "disabled": True,
        "published": [["e9", False, ["d1", "d2"]], ["e9", True, ["d1", "d2"]]],
        "events": ["e2", "e1"],
        "event": {"n": 1},
        "attempts": [
            ["a3", "success", 1, success, None],
            ["a2", "success", 1, success, {"n": 1}],
            ["a1", "failed", 1, answer, {"n": 1}],
        ],
        "attempt": 12,
        "retry": True,
        "deleted": True,
        "missing": "destination not found",
        "conflict": "the id e9 was used with other content",
        "invalid": "validation error",
        "unauthorized": "the bearer key is missing or wrong",
    }
    assert len(world.published()) == 1
    assert len(world.broker.records(world.topics.deliveries)) == 1


async def _run(python: Path, url: str) -> dict[str, Any]:
    """What the SDK was answered."""
    process = await asyncio.create_subprocess_exec(
        python, CALLS, url, KEY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    said: dict[str, Any] = json.loads(out)
    return said
