"""The command `router`."""

import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING, Annotated

try:
    import typer
    from rich.table import Table
except ModuleNotFoundError as missing:  # the base install has the command, and not what it needs
    sys.exit(f"router: {missing.name} isn't installed: pip install '.[server]', from a clone")

from event_router.router import cli_dead, cli_publish, cli_secrets
from event_router.router.console import console
from event_router.schemas.errors import EventRouterError

if TYPE_CHECKING:
    from event_router.router.roles.role import Body

app = typer.Typer(
    name="router",
    help="Routes events from Kafka to webhooks and other sinks. Settings: `router settings`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(cli_dead.app, name="dead")
app.add_typer(cli_secrets.app, name="secrets")


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="With a demo tenant, receiver, events and a live view.")
    ] = False,
) -> None:
    """Run everything on this machine: all roles, and what isn't given of Kafka, Redis and SQL."""
    from event_router.router.settings import read_settings

    read_settings()  # a mistake there is said at once, not when seconds' worth of code is loaded
    from event_router.router.commands.up import run_up

    asyncio.run(run_up(demo=demo))


@app.command()
def init() -> None:
    """Make topics and tables, and check that Redis is fit. Run it before the roles; idempotent."""
    from event_router.router.commands.init import initialise
    from event_router.router.settings import read_settings

    async def show() -> None:
        async for step in initialise(read_settings()):
            typer.echo(f"{step.name}: {step.outcome}")

    asyncio.run(show())


@app.command()
def api() -> None:
    """Run the role `api`: the HTTP API."""
    from event_router.router.roles.api import run

    _role("api", run)


@app.command()
def stream() -> None:
    """Run the role `stream`: route events, settle attempts (Faust)."""
    from event_router.router.roles.stream import run

    _role("stream", run)


@app.command()
def deliver() -> None:
    """Run the role `deliver`: attempt deliveries."""
    from event_router.router.roles.deliver import run

    _role("deliver", run)


@app.command()
def log() -> None:
    """Run the role `log`: write what happened to SQL."""
    from event_router.router.roles.log import run

    _role("log", run)


@app.command()
def jobs() -> None:
    """Run the role `jobs`: ingest batches that were uploaded."""
    from event_router.router.roles.jobs import run

    _role("jobs", run)


@app.command()
def sweep(
    wait: Annotated[float, typer.Option(min=1, help="Seconds that it may take.")] = 120.0,
) -> None:
    """Park again what nobody is going to deliver, now. The role `log` does it by itself."""
    from event_router.router.sweep_once import sweep_once

    counts = asyncio.run(sweep_once(wait))
    typer.echo(f"{counts.missing} missing, {counts.parked} parked, {counts.refused} had no room")


app.command()(cli_publish.publish)
app.command()(cli_publish.publish_batch)


@app.command()
def env() -> None:
    """Print what a running `router up` uses, for a shell: eval "$(router env)"."""
    from event_router.router.child import CannotStart
    from event_router.router.embedded.data_dir import DataDir
    from event_router.router.settings import read_settings

    file = DataDir(read_settings().data_dir).environment
    if not file.exists():
        raise CannotStart(f"no `router up` runs on {file.parent.parent}: start one, in that folder")
    typer.echo(file.read_text(), nl=False)


@app.command()
def settings() -> None:
    """List every setting, its value now and what it is for."""
    from event_router.router.settings import describe_settings, read_settings

    table = Table(box=None)
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("what it is", overflow="fold")
    for row in describe_settings(read_settings()):
        table.add_row(*row)
    console().print(table)


@app.command()
def sinks(
    schema: Annotated[
        str | None, typer.Option(help="Print the JSON schema of this type's destinations instead.")
    ] = None,
) -> None:
    """List the types of destinations, and how to install what is missing."""
    from event_router.consumers.sinks.kinds import load_sinks
    from event_router.router.commands.sinks import entered_schema, type_rows

    found = load_sinks()
    if schema is not None:
        typer.echo(json.dumps(entered_schema(found, schema), indent=2, ensure_ascii=False))
        return
    for row in type_rows(found):
        typer.echo("{:18} {:23} {:11} {}".format(*row))


@app.command()
def doctor() -> None:
    """Look for what is wrong with the set-up, and say what to do."""
    from event_router.router.commands.doctor import run_doctor

    raise typer.Exit(asyncio.run(run_doctor()))


def _role(name: str, body: "Body") -> None:
    from event_router.router.roles.role import run_role

    raise typer.Exit(run_role(name, body))


def main() -> None:
    """The console script: an error of ours is one message, not a traceback. What the Kafka client
    logs beside it is heard by roles only, which have a log."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        app()
    except EventRouterError as error:
        sys.stderr.write(f"router: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
