"""The commands `router publish` and `router publish-batch`."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from event_router.schemas.errors import InvalidValue

if TYPE_CHECKING:
    from event_router.router.commands.publish import Entered

SHOWN = 20


def publish(
    tenant: Annotated[str, typer.Option(help="The event's tenant.")],
    topic: Annotated[
        str | None, typer.Option(help="The event's topic, as in order.created.")
    ] = None,
    data: Annotated[str, typer.Option(help="The payload, JSON; - reads standard input.")] = "-",
    event_id: Annotated[
        str | None, typer.Option("--id", help="The event's id: a second publish is a duplicate.")
    ] = None,
    destination: Annotated[str | None, typer.Option(help="Only to this destination.")] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="An event for each line of standard input.")
    ] = False,
    id_field: Annotated[
        str | None, typer.Option(help="With --lines: the field with an event's id.")
    ] = None,
) -> None:
    """Publish one event to Kafka, and print its id and where it lies; or one for each line."""
    from event_router.router.commands.publish import Entered, publish_one

    if lines:
        if data != "-" or event_id is not None:
            raise InvalidValue("--lines", "given", "for --data or --id: events are the lines")
        _publish_lines(Entered(tenant, b"", topic, None, destination), id_field)
        return
    if id_field is not None:
        raise InvalidValue("--id-field", id_field, "for one event: give --id, or --lines")
    payload = sys.stdin.buffer.read() if data == "-" else data.encode()
    entered = Entered(tenant, payload, topic, event_id, destination)
    published, place = asyncio.run(publish_one(entered))
    typer.echo(f"{published} is in {place.topic}, partition {place.partition}, {place.offset}")


def _publish_lines(entered: "Entered", id_field: str | None) -> None:
    from event_router.router.commands.publish import publish_lines

    done = asyncio.run(publish_lines(entered, sys.stdin.buffer, id_field))
    for number, reason in done.refused[:SHOWN]:
        typer.echo(f"line {number}: {reason}", err=True)
    typer.echo(f"{done.published} published, {len(done.refused)} refused")
    if done.refused:
        raise typer.Exit(1)


def publish_batch(
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, Parquet or JSON Lines, also gzipped; s3:// or gs://; - reads JSON Lines."
        ),
    ],
    tenant: Annotated[str, typer.Option(help="The project: the events' tenant.")],
    topic: Annotated[str, typer.Option(help="The model: the events' topic.")],
    id_field: Annotated[str | None, typer.Option(help="The field with an event's id.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="The rows update events with these ids.")
    ] = False,
    timestamp_field: Annotated[str | None, typer.Option(help="The field with the time.")] = None,
    timestamp_format: Annotated[
        str, typer.Option(help="infer, epoch-milliseconds, epoch-seconds or iso-8601.")
    ] = "infer",
    casting: Annotated[
        bool, typer.Option("--casting", help="Cast values to the types of the schema.")
    ] = False,
    group_by: Annotated[
        str | None, typer.Option(help="Rows with the same value stay together and in order.")
    ] = None,
    batch_id: Annotated[
        str | None, typer.Option(help="A name: the same one again is the same job.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Publish nothing; say what would happen.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until all rows are published.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Without a progress bar.")] = False,
    url: Annotated[str | None, typer.Option(help="The API, if it isn't the one set up.")] = None,
) -> None:
    """Publish all rows of a file over the API, and say what became of them."""
    from event_router.router.commands.publish_batch import Wanted, summary
    from event_router.router.commands.publish_batch import publish_batch as publish_rows

    others = {
        "id_field": id_field,
        "update_event": update,
        "timestamp_field": timestamp_field,
        "casting_type": casting,
        "group_by": group_by,
        "batch_id": batch_id,
    }
    outcome = publish_rows(
        Wanted(file, tenant, topic, url, timestamp_format, dry_run, wait, quiet, others)
    )
    console = Console()
    for part in summary(outcome, dry_run=dry_run):
        console.print(part)
    raise typer.Exit(0 if outcome.clean else 1)
