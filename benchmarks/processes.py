"""CPU seconds of processes and their children, as the kernel counts them (Linux)."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, its threads, and its children, ended ones included."""
    own = _stat(pid)
    return own + sum(cpu_seconds(child) for child in _children(pid))


def total(pids: Iterable[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)


def idle_seconds() -> float:
    """Of all cores together, since the machine started."""
    return int(Path("/proc/stat").read_text().split(maxsplit=5)[4]) / _TICK


def _stat(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / _TICK


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += (int(child) for child in task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
