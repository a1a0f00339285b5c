"""The HTML of a tenant's page. Pure; everything that people entered is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from event_router.router.store.log_ports import LoggedAttempt
from event_router.schemas.decode import rfc3339
from event_router.schemas.destination import Destination

LONGEST_ANSWER = 2000

STYLE = """
:root { color-scheme: light dark; }
:root[data-theme=light] { color-scheme: light; }
:root[data-theme=dark] { color-scheme: dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { font-weight: 600; text-align: left; padding: .5rem 0; }
th, td { border-bottom: 1px solid; padding: .4rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; margin: .3rem 0; }
"""


class PortalRow(NamedTuple):
    """A destination and where it leads."""

    destination: Destination
    target: str


def portal_page(
    tenant: str, rows: Sequence[PortalRow], attempts: Sequence[LoggedAttempt], theme: str
) -> str:
    body = "".join(
        (
            f"<h1>{escape(tenant)}</h1>",
            _table(
                "Destinations",
                ("Id", "Type", "Target", "Topics", "State"),
                (_destination_cells(row) for row in rows),
                "There are no destinations yet.",
            ),
            _table(
                "Latest attempts",
                ("Time (UTC)", "Event", "Topic", "Destination", "Attempt", "Status", "Answer"),
                (_attempt_cells(one) for one in attempts),
                "Nothing has been sent yet.",
            ),
        )
    )
    return _page(f"Events of {tenant}", body, theme)


def expired_page(theme: str) -> str:
    text = "<h1>This link is no longer good</h1><p>Please ask for another one.</p>"
    return _page("This link is no longer good", text, theme)


def _page(title: str, body: str, theme: str) -> str:
    chosen = f' data-theme="{escape(theme)}"' if theme else ""
    return (
        f'<!doctype html><html lang="en"{chosen}><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def _table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], nothing: str
) -> str:
    """Scrolls by itself on a narrow screen, with the keyboard too. The cells are HTML already."""
    lines = [_row(row) for row in rows]
    if not lines:
        return f"<h2>{caption}</h2><p>{nothing}</p>"
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">'
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'


def _destination_cells(row: PortalRow) -> list[str]:
    one = row.destination
    state = "Enabled" if one.disabled_at is None else f"Disabled since {_time(one.disabled_at)}"
    return [
        escape(one.id),
        escape(one.type),
        escape(row.target),
        escape(", ".join(one.topics)),
        state,
    ]


def _attempt_cells(one: LoggedAttempt) -> list[str]:
    status = "Delivered" if one.outcome == "delivered" else "Failed"
    return [
        _time(one.started),
        escape(one.event_id),
        escape(one.topic),
        escape(one.destination),
        f"{one.attempt}, by hand" if one.manual else str(one.attempt),
        f"{status} ({escape(one.code)})",
        _answer(one.body),
    ]


def _answer(body: str) -> str:
    if not body:
        return "none"
    shown = body[:LONGEST_ANSWER] + ("…" if len(body) > LONGEST_ANSWER else "")
    return f"<details><summary>Show</summary><pre>{escape(shown)}</pre></details>"


def _time(milliseconds: int) -> str:
    text = rfc3339(milliseconds)
    return f'<time datetime="{text}">{text[:10]} {text[11:19]}</time>'
