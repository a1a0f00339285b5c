"""The harness, as a person runs it."""

import subprocess
import sys

import pytest

MINUTES = 3.5  # of faults: five in all
LONGEST = 900


def conserved(*arguments: str) -> None:
    """Runs the harness in a process of its own; AssertionError, with all it says, when something
    was lost."""
    command = [sys.executable, "-m", "tests.conservation", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"


@pytest.mark.timeout(LONGEST + 60)
def test_whatever_breaks_nothing_is_lost() -> None:
    conserved("--minutes", f"{MINUTES}", "--seed", "7", "--faults=all")


@pytest.mark.timeout(LONGEST + 60)
def test_a_burst_of_retries_is_neither_lost_nor_repeated() -> None:
    conserved("retry-burst", "--seed", "7", "--database", "sqlite")
