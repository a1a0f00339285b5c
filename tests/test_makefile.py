"""What somebody sees who runs `make run` for the first time."""

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


def test_setting_up_shows_that_it_goes_on(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    python = tmp_path / "python"
    python.write_text(PYTHON.replace("SEEN", str(seen)))
    python.chmod(0o755)
    venv = tmp_path / "venv"
    command = ["make", f"PYTHON={python}", f"VENV={venv}", str(venv / ".installed")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as make:
        assert make.stdout is not None
        assert make.stdout.readline().startswith(b"setting up ")
        assert make.stdout.read(1) == b"."
        seen.touch()
        assert make.stdout.read() == b" installing\n"
    assert make.returncode == 0
