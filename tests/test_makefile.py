"""What somebody sees who runs `make run` for the first time."""

import shutil
import subprocess
from pathlib import Path

from tests.services import ROOT

# Stands in for the interpreter, and for that of the environment it makes: its pip has collected
# something, and goes on when somebody has seen that.
PYTHON = """#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *--editable*)
    echo Collecting something
    for _ in $(seq 200); do test -e SEEN && break; sleep 0.1; done
    test -e SEEN && echo Installing collected packages: something ;;
esac
"""


def python_in(folder: Path, seen: Path) -> Path:
    python = folder / "python"
    python.write_text(PYTHON.replace("SEEN", str(seen)))
    python.chmod(0o755)
    return python


def test_setting_up_shows_that_it_goes_on(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    python = python_in(tmp_path, seen)
    venv = tmp_path / "venv"
    command = ["make", f"PYTHON={python}", f"VENV={venv}", str(venv / ".installed")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as make:
        assert make.stdout is not None
        assert make.stdout.readline().startswith(b"setting up ")
        assert make.stdout.read(1) == b"."
        seen.touch()
        assert make.stdout.read() == b" installing\n"
    assert make.returncode == 0


def test_types_of_destinations_that_an_earlier_install_left_in_the_tree_go(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    left = tmp_path / "event_router.egg-info"
    left.mkdir()
    python = python_in(tmp_path, tmp_path / "Makefile")
    command = ["make", "-C", str(tmp_path), f"PYTHON={python}", ".venv/.installed"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert not left.exists()
