"""A sink of one's own, as docs/sinks.md walks through it: installed, listed, tested, delivering."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from event_router.consumers.sinks.trouble import __doc__ as described
from event_router.consumers.testing.cases import CODES
from tests.services import ROOT

EXAMPLE = ROOT / "examples" / "telegraph"
GUIDE = ROOT / "docs" / "sinks.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python in which the example is installed."""
    source, target = tmp_path_factory.mktemp("source") / "telegraph", tmp_path_factory.mktemp("to")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    own = ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([*pip, *own], check=True, timeout=100)
    return {**os.environ, "PYTHONPATH": str(target)}


def run(installed: dict[str, str], *command: str, cwd: Path = EXAMPLE) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=installed,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_among_ours(installed: dict[str, str]) -> None:
    lines = run(installed, "-m", "event_router.router.cli", "sinks").splitlines()
    (line,) = [line for line in lines if line.startswith("telegraph ")]
    assert line.split() == ["telegraph", "Telegraph", "yes"]


def test_it_passes_the_contract_suite(installed: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "test_telegraph.py", tmp_path)
    shutil.copy(EXAMPLE / "pyproject.toml", tmp_path)
    said = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".", cwd=tmp_path)
    assert " passed" in said
    assert "failed" not in said


def test_the_guide_shows_what_is_tested() -> None:
    guide = GUIDE.read_text()
    assert (EXAMPLE / "telegraph_sink.py").read_text() in guide
    assert 'telegraph = "telegraph_sink:Telegraph"' in (EXAMPLE / "pyproject.toml").read_text()


def test_the_guide_has_a_row_for_every_code() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    written = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert set().union(*CODES.values()) <= written
    assert set(re.findall(r"`([a-z_]+)`", described or "")) <= written | {"retry_after"}
