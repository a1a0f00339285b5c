"""The table of `router dead list`."""

import io

import pytest
from rich.console import Console

from event_router.router.commands.dead import as_table
from event_router.router.store.log_ports import LoggedDead

PLACE = "attempts:002:0000000000089:1795300653227"


@pytest.mark.parametrize("width", [80, 250])
def test_a_place_can_be_copied_however_wide_the_terminal_is(width: int) -> None:
    one = LoggedDead(PLACE, "d" * 36, "acme", "e" * 36, 0, "retries_exhausted", 1795300653227, None)
    out = io.StringIO()
    Console(width=width, file=out).print(as_table([one]))
    assert PLACE in out.getvalue()
