"""The command `router dead`."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from event_router.router.console import console
from event_router.schemas.errors import InvalidValue

if TYPE_CHECKING:
    from event_router.router.store.log_ports import DeadFilter

app = typer.Typer(help="What was given up: see it, send it again.", no_args_is_help=True)

Tenant = Annotated[list[str] | None, typer.Option("--tenant", help="Only of these tenants.")]
Event = Annotated[list[str] | None, typer.Option("--event", help="Only these events' ids.")]
Destination = Annotated[list[str] | None, typer.Option("--destination", help="Only to these.")]
Reason = Annotated[list[str] | None, typer.Option("--reason", help="Only for these reasons.")]

Texts = list[str] | None


@app.command("list")
def list_(
    tenant: Tenant = None,
    event: Event = None,
    destination: Destination = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
) -> None:
    """List the newest, with the place that names each."""
    from event_router.router.commands.dead import dead_in_log, print_dead

    wanted = _filter(None, tenant, event, destination, reason)
    print_dead(asyncio.run(dead_in_log(wanted, limit)), console())


@app.command()
def show(
    place: Annotated[str, typer.Argument(help="As `router dead list` says it.")],
    destination: Annotated[str, typer.Option(help="Where several were given up at once.")] = "",
) -> None:
    """Show one: why, its headers and its content."""
    from event_router.router.commands.dead import text_of_dead

    typer.echo(asyncio.run(text_of_dead(place, destination)))


@app.command()
def replay(
    place: Annotated[Texts, typer.Argument(help="Those given up there.")] = None,
    tenant: Tenant = None,
    event: Event = None,
    destination: Destination = None,
    reason: Reason = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Send again what matches, once: what was replayed before is left out."""
    from event_router.router.commands.dead import replay_dead

    if not (place or tenant or event or destination or reason or everything):
        raise InvalidValue("place", "", "given, nor an option that says which; or add --all")
    wanted = _filter(place, tenant, event, destination, reason)
    typer.echo(f"replayed {asyncio.run(replay_dead(wanted)).replayed}")


def _filter(
    places: Texts, tenants: Texts, events: Texts, destinations: Texts, reasons: Texts
) -> "DeadFilter":
    from event_router.router.store.log_ports import DeadFilter

    return DeadFilter(
        tenants=tuple(tenants or ()),
        events=tuple(events or ()),
        destinations=tuple(destinations or ()),
        reasons=tuple(reasons or ()),
        places=tuple(places or ()),
    )
