"""The command `router secrets`."""

import asyncio

import typer

app = typer.Typer(
    help="The keys that encrypt destinations' credentials (ROUTER_SECRETS_KEYS).",
    no_args_is_help=True,
)


@app.command()
def status() -> None:
    """Show how many destinations each key has encrypted, and which keys are no longer needed."""
    from event_router.router.commands.secrets import show_status

    raise typer.Exit(asyncio.run(show_status()))


@app.command()
def rotate() -> None:
    """Encrypt everything anew under the first key, while the router runs; again goes on.

    To change keys: add the new one at the end of ROUTER_SECRETS_KEYS and restart every role, so
    that all can read it; put it first and restart again; rotate; then take the old one away.
    """
    from event_router.router.commands.secrets import rotate as run

    raise typer.Exit(asyncio.run(run()))
