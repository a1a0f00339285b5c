"""`router doctor` as a person meets it: everything at once, in a table, with an exit code."""

import base64
import io
from pathlib import Path

import pytest
from rich.console import Console

from event_router.consumers.kafka.admin import Admin, NewTopicSpec
from event_router.router.adapters import kafka_config, message_limits
from event_router.router.checks.finding import ok, problem, warning
from event_router.router.child import free_port
from event_router.router.commands.doctor import as_table, examine, run_doctor
from event_router.router.settings import read_settings
from event_router.router.store.migrate import migrate
from event_router.schemas.topics import Topics
from tests import services


@pytest.fixture
def environ(
    kafka: services.Kafka, redis_url: str, postgres_url: str, namespace: str, tmp_path: Path
) -> dict[str, str]:
    """Settings of a router that could run."""
    return {
        "ROUTER_KAFKA": kafka.bootstrap,
        "ROUTER_REDIS": redis_url,
        "ROUTER_DATABASE": postgres_url,
        "ROUTER_LOG_DATABASE": postgres_url,
        "ROUTER_NAMESPACE": namespace,
        "ROUTER_API_KEY": "a-long-enough-api-key",
        "ROUTER_JWT_SECRET": "a-jwt-secret-of-at-least-32-bytes",
        "ROUTER_API_PORT": str(free_port()),
        "ROUTER_SECRETS_KEYS": f"k1:{base64.b64encode(bytes(32)).decode()}",
        "ROUTER_DATA_DIR": str(tmp_path),
    }


async def _initialise(environ: dict[str, str]) -> None:
    settings = read_settings(environ)
    topics = Topics(settings.namespace)
    limits = message_limits(settings, topics)
    async with Admin(kafka_config(settings)) as admin:
        await admin.create(
            [
                NewTopicSpec(
                    topic, 2, {"max.message.bytes": str(limits[topic]), "retention.ms": "-1"}
                )
                for topic in topics.all
            ]
        )
    migrate(settings.registry_url, "registry")
    migrate(settings.log_url, "log")


async def test_a_router_that_could_run_has_nothing_wrong(environ: dict[str, str]) -> None:
    await _initialise(environ)
    findings = await examine(environ)
    assert {finding.subject: finding.verdict for finding in findings} == dict.fromkeys(
        [
            "kafka", "topics", "redis", "registry database", "log database", "secrets", "api",
            "sinks",
            "api key", "tenants' tokens", "data directory",
        ],
        "ok",
    )  # fmt: skip


async def test_everything_that_is_wrong_is_said_at_once(environ: dict[str, str]) -> None:
    """Before `router init`, with Redis away."""
    environ["ROUTER_REDIS"] = f"redis://127.0.0.1:{free_port()}/0"
    findings = await examine(environ)
    wrong = [finding.subject for finding in findings if finding.verdict == "problem"]
    assert wrong == ["topics", "redis", "registry database", "log database"]


async def test_settings_that_cannot_be_read_come_first() -> None:
    findings = await examine({"ROUTER_KAFAK": "x", "ROUTER_REDSI": "y"})
    assert [finding.detail for finding in findings] == [
        "ROUTER_KAFAK is not a setting; did you mean ROUTER_KAFKA?",
        "ROUTER_REDSI is not a setting; did you mean ROUTER_REDIS?",
    ]


def test_the_table_says_what_is_wrong_and_what_to_do() -> None:
    console = Console(file=io.StringIO(), width=60)
    console.print(
        as_table(
            [
                ok("kafka", "answers"),
                warning("redis", "its clock is 30 s behind", "synchronise both clocks"),
                problem("topics", "missing: [events]", "run `router init`"),
            ]
        )
    )
    assert isinstance(console.file, io.StringIO)
    assert [" ".join(line.split()) for line in console.file.getvalue().splitlines()] == [
        "✔ kafka answers",
        "! redis its clock is 30 s behind",
        "→ synchronise both clocks",
        "✘ topics missing: [events]",
        "→ run `router init`",
    ]


async def test_the_exit_code_says_whether_something_is_wrong(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    console = Console(file=io.StringIO())
    assert await run_doctor(console) == 1
    await _initialise(environ)
    assert await run_doctor(console) == 0
