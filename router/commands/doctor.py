"""`router doctor`: looks at everything that is set up, and says what to do about what is wrong."""

import asyncio
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from event_router.router.adapters import kafka_config, message_limits
from event_router.router.checks.databases import examine_database, examine_secrets
from event_router.router.checks.finding import Finding, Verdict, problem
from event_router.router.checks.host import (
    examine_data_dir,
    examine_jwt_secret,
    examine_key,
    examine_port,
)
from event_router.router.checks.kafka import examine_kafka
from event_router.router.checks.redis import examine_redis
from event_router.router.checks.sinks import examine_sinks
from event_router.router.settings import Settings, SettingsError, read_settings
from event_router.schemas.topics import Topics

_MARK: dict[Verdict, Text] = {
    "ok": Text("✔", "green"),
    "warning": Text("!", "yellow"),
    "problem": Text("✘", "red"),
}


async def examine(environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Everything that was looked at, under the settings in `environ` (the process's own)."""
    try:
        settings = read_settings(environ)
    except SettingsError as error:
        advice = "correct it: `router settings` lists them all"
        return [problem("settings", line, advice) for line in str(error).splitlines()]
    return await _examine(settings)


async def _examine(settings: Settings) -> list[Finding]:
    topics = Topics(settings.namespace)
    kafka, redis, *others = await asyncio.gather(
        examine_kafka(kafka_config(settings), topics, message_limits(settings, topics)),
        examine_redis(settings.redis),
        examine_database(settings.registry_url, "registry"),
        examine_database(settings.log_url, "log"),
        examine_secrets(settings.registry_url, settings.secrets_keys),
        examine_port(settings.api_host, settings.api_port),
    )
    return [
        *kafka,
        *redis,
        *others,
        await examine_sinks(settings.registry_url),
        examine_key(settings.api_key.get_secret_value()),
        examine_jwt_secret(settings.jwt_secret.get_secret_value()),
        examine_data_dir(settings.data_dir),
    ]


def as_table(findings: Iterable[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        said = Text(finding.detail)
        if finding.advice:
            said.append(f"\n→ {finding.advice}", "bold")
        table.add_row(_MARK[finding.verdict], finding.subject, said)
    return table


async def run_doctor(console: Console | None = None) -> int:
    """Prints what was found; the exit code: 1 when there is a problem."""
    findings = await examine()
    (console or Console()).print(as_table(findings))
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0
