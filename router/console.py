"""Where tables of the command go."""

import sys

from rich.console import Console

_A_LINE_EACH = 250  # columns, for grep and the like


def console() -> Console:
    """As wide as the terminal; elsewhere wide enough for a row to be a line."""
    return Console(width=None if sys.stdout.isatty() else _A_LINE_EACH)
