"""The line in a terminal: how far, how fast, how long still."""

import io
from typing import Any

import pytest

from event_router.client import Job
from event_router.client.progress import Bar, described, in_a_terminal
from event_router.client.sources import Source
from tests.client.routers import FakeRouter, done

MB = 1_000_000
HALF = "━" * 12 + "─" * 12


@pytest.mark.parametrize(
    ("done", "total", "unit", "seconds", "text"),
    [
        (0, None, "rows", 0.0, "0 rows"),
        (5000, None, "rows", 2.0, "5,000 rows  2,500 rows/s"),
        (5, 10, "rows", 1.0, f"{HALF}  50%  5 rows  5 rows/s  0:01 left"),
        (10, 10, "rows", 1.0, f"{'━' * 24} 100%  10 rows  10 rows/s"),
        (5 * MB, 10 * MB, "bytes", 5.0, f"{HALF}  50%  5.0 MB  1.0 MB/s  0:05 left"),
        (1, 7202, "rows", 1.0, f"{'─' * 24}   0%  1 rows  1 rows/s  2:00:01 left"),
    ],
)  # fmt: skip
def test_how_far_how_fast_and_how_long_still(
    done: int, total: int | None, unit: str, seconds: float, text: str
) -> None:
    assert described(done, total, unit, seconds) == text


def test_the_line_is_written_again_over_itself() -> None:
    out, now = io.StringIO(), [100.0]
    bar = Bar(out, lambda: now[0])
    bar.uploaded(Source("x", "rows", 10, done=5))
    now[0] += 1
    bar.uploaded(Source("x", "rows", 10, done=10))
    bar.job(Job("j", "STARTED", 50.0, accepted=5))
    now[0] += 1
    bar.job(Job("j", "SUCCESS", 100.0, rows=10, accepted=9, refused=1))
    bar.close()
    uploading, publishing, end = out.getvalue().split("\n")
    assert uploading.split("\r")[-1].startswith(f"uploading  {'━' * 24} 100%  10 rows  10 rows/s")
    assert publishing.split("\r")[1].strip() == f"publishing {'━' * 12}{'─' * 12}  50%  5 rows"
    assert publishing.split("\r")[-1].startswith(f"publishing {'━' * 24} 100%  10 rows")
    assert end == ""


def test_the_line_isnt_written_more_often_than_anybody_reads() -> None:
    out = io.StringIO()
    bar = Bar(out, lambda: 1.0)
    for nth in range(1000):
        bar.uploaded(Source("x", "rows", 10_000, done=nth))
    assert out.getvalue().count("\r") == 1


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    in_a_terminal(None).uploaded(Source("x", "rows", 10, done=5))
    assert capsys.readouterr().err == ""


async def test_a_bar_can_be_asked_for(
    client: Any, router: FakeRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    router.jobs = [{"uuid": "j1", "status": "SUCCESS", "rows": 1, "accepted": 1}]
    rows = [{"a": 1}]
    await done(client.publish_events_batch("acme", "orders", rows, wait=True, progress=True))
    shown = capsys.readouterr().err
    assert "uploading " in shown
    assert "publishing" in shown
    assert shown.endswith("\n")
