"""What `router dead list` and `show` print."""

import io

import pytest
from msgspec import structs
from rich.console import Console

from event_router.router.commands.dead import as_text, print_dead
from event_router.router.store.log_ports import LoggedDead
from event_router.schemas.attempt import Dead, DeadHead
from event_router.schemas.record import Place

PLACE = "attempts:002:0000000000089:1795300653227"


def printed(one: LoggedDead, width: int, *, terminal: bool = True) -> str:
    out = io.StringIO()
    print_dead([one], Console(width=width, file=out, force_terminal=terminal, color_system=None))
    return out.getvalue()


ONE = LoggedDead(PLACE, "d" * 36, "acme", "e" * 36, 0, "retries_exhausted", 1795300653227, None)


def test_what_names_a_dead_one_is_whole_in_the_narrowest_terminal() -> None:
    lines = printed(ONE, 80).splitlines()
    assert f"{PLACE} {'d' * 36}" in " ".join(lines[1].split())
    assert lines[2].startswith("no room for: time, reason, tenant, event, replayed (")


def test_as_much_as_there_is_room_for_is_shown_and_nothing_is_cut() -> None:
    shown = printed(structs.replace(ONE, destination="des_1", event="e1"), 80)
    assert all(text in shown for text in (PLACE, "des_1", "retries_exhausted"))
    assert "no room for: time, tenant, event, replayed (" in shown


@pytest.mark.parametrize(("width", "terminal"), [(250, True), (80, False)])
def test_wide_terminals_and_pipes_have_room_for_all(width: int, terminal: bool) -> None:
    shown = printed(ONE, width, terminal=terminal)
    told = (PLACE, "2026-11-2", "retries_exhausted", "acme", "e" * 36, "d" * 36)
    assert all(text in shown for text in told)
    assert "no room" not in shown


@pytest.mark.parametrize("event", ["[/x]", "[red]urgent[/red]", "a[b"])
def test_no_name_of_an_event_keeps_the_others_from_being_seen(event: str) -> None:
    one = LoggedDead(PLACE, "d", "acme", event, 0, "retries_exhausted", 1795300653227, None)
    assert f" {event} " in printed(one, 250)


def test_no_record_acts_on_the_terminal_that_shows_it() -> None:
    headers: list[tuple[str, bytes | None]] = [("x\x1b]0;t\x07", b"\x1b[2J")]
    head = DeadHead("invalid_json", "\x9b31m", Place("events", 0, 7, 0), headers, 0)
    shown = as_text(Dead(head, b"\r\x08", "\x00\x1b[31m\u00fc\n\tok\x7f".encode()))
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    assert shown.endswith("\\x00\\x1b[31m\u00fc\n\tok\\x7f")
