"""The command line itself: what a command doesn't need isn't loaded for it."""

import json
import os
import subprocess
import sys

import pytest

from event_router.router.child import free_port

HEAVY = ("aiokafka", "alembic", "fastapi", "faust", "prometheus_client", "sqlalchemy", "pydantic")

# What a role does, after the console script.
LOGS = """
import logging, sys
from event_router.router import cli
from event_router.router.log_lines import log_to_stderr
sys.argv = ["router", "--help"]
try:
    cli.main()
except SystemExit:
    log_to_stderr("stream")
    logging.getLogger("aiokafka.conn").error("heard")
"""


def test_reading_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, event_router.router.cli; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["init"], ["publish", "--tenant", "a", "--data", "{}"]], ids=str)
def test_a_kafka_that_isnt_there_is_one_message(words: list[str]) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-m", "event_router.router.cli", *words],
        env={**os.environ, "ROUTER_KAFKA": nobody},
        capture_output=True,
        text=True,
        check=False,
    )
    [line] = done.stderr.splitlines()
    assert line.startswith(f"router: kafka_unreachable: no broker answers at {nobody}: check")
    assert done.returncode == 1


def test_a_mistake_in_the_settings_is_told_before_anything_is_loaded() -> None:
    code = "import sys; from event_router.router.cli import main\n"
    code += "sys.argv = ['router', 'up']\n"
    code += f"try: main()\nfinally: print([n for n in {HEAVY[:-1]} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ROUTER_API_PORT": "99999"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.startswith("router: ROUTER_API_PORT=99999: ")
    assert (done.returncode, done.stdout.strip()) == (1, "[]")


def test_a_role_still_logs_what_the_kafka_client_says() -> None:
    done = subprocess.run([sys.executable, "-c", LOGS], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["event"] == "heard"
