"""The command line itself: what a command doesn't need isn't loaded for it."""

import subprocess
import sys

HEAVY = ("aiokafka", "alembic", "fastapi", "faust", "prometheus_client", "pydantic", "sqlalchemy")


def test_reading_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, event_router.router.cli; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
