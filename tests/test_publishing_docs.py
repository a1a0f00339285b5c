"""docs/publishing.md says what is true: every snippet of it is run, against a router."""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import httpx
import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer

from event_router.client import Client
from event_router.router.commands.init import initialise
from event_router.router.settings import read_settings
from tests import services
from tests.services import ROOT
from tests.system import API_KEY, System, environment

PAGE = ROOT / "docs" / "publishing.md"
ADDRESS = "http://127.0.0.1:3333"
INSTALLS = "pip install"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Snippet(NamedTuple):
    """A fenced block; of a `diff`, what it is after the change."""

    language: str
    text: str


def _snippets() -> Iterator[Snippet]:
    for language, text in FENCED.findall(PAGE.read_text()):
        if language == "diff":
            kept = [line[1:] for line in text.splitlines() if not line.startswith("-")]
            yield Snippet("python", "\n".join(kept))
        elif not text.startswith(INSTALLS):
            yield Snippet(language, text)


pytestmark = pytest.mark.timeout(300)


@pytest_asyncio.fixture
async def system(kafka: services.Kafka, redis_url: str, tmp_path: Path) -> AsyncIterator[System]:
    """What publishing takes: a tenant, the API and the jobs."""
    env = environment(kafka.bootstrap, redis_url, tmp_path)
    system = System(env, tmp_path, read_settings(env))
    async for _ in initialise(system.settings):
        pass
    system.start("api")
    system.start("jobs")
    try:
        await system.ready()
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {API_KEY}"}) as http:
            made = await http.put(f"{system.api}/api/v1/tenants/acme")
            assert made.status_code == 201
        yield system
    finally:
        system.stop()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`exports`, with `orders.csv` in it, where boto3 looks."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key-id",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    with closing(boto3.client("s3")) as s3:
        s3.create_bucket(Bucket="exports")
        s3.put_object(Bucket="exports", Key="orders.csv", Body=b"id,amount\nx,1.5\n")
    yield
    server.stop()


async def test_every_snippet_of_the_page_runs(
    system: System,
    bucket: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in system.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    found = [*_snippets()]
    await asyncio.to_thread(_run_all, found, system.api)
    assert {snippet.language for snippet in found} == {"python", "sh"}
    said = capfd.readouterr().out
    assert "422 validation error" in said
    assert "not castable to float" in said
    assert "2 published, 0 refused" in said


def _run_all(snippets: list[Snippet], address: str) -> None:
    """In order: later ones use what earlier ones made."""
    names: dict[str, Any] = {"__name__": "publishing"}
    with ExitStack() as closing_clients:
        for snippet in snippets:
            text = snippet.text.replace(ADDRESS, address)
            if snippet.language == "python":
                exec(compile(text, str(PAGE), "exec"), names)
            else:
                done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=False)
                assert done.returncode == 0, text
            for made in names.values():
                if isinstance(made, Client):
                    closing_clients.callback(made.close)
