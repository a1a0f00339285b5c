"""A role for the supervisor's tests: what it answers is what stands in its files.

    python fake_role.py NAME PORT DIRECTORY [stubborn]

`NAME.lag` holds its lag (0 without it); it writes what happens to it into `journal`.
`stubborn` ignores SIGTERM.
"""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType

name, port, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])


def lag() -> int:
    path = directory / f"{name}.lag"
    return int(path.read_text() or 0) if path.exists() else 0


def note(what: str) -> None:
    with (directory / "journal").open("a") as journal:
        journal.write(f"{name} {what}\n")


def terminate(_number: int, _frame: FrameType | None) -> None:
    note(f"ends with lag {lag()}")
    if "stubborn" not in sys.argv:
        sys.exit(0)


def park(_number: int, _frame: FrameType | None) -> None:
    note("parks")
    (directory / f"{name}.lag").write_text("0")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        trouble = directory / f"{name}.trouble"
        troubles = {"kafka": trouble.read_text()} if trouble.exists() else {}
        body = json.dumps({"ready": not troubles, "lag": lag(), "troubles": troubles}).encode()
        self.send_response(503 if troubles else 200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base
        """Only the journal is of interest."""


signal.signal(signal.SIGTERM, terminate)
signal.signal(signal.SIGUSR1, park)
note("starts")
print(f"{name} is here", flush=True)
if (directory / f"{name}.broken").exists():
    sys.exit("a setting is wrong")
HTTPServer(("127.0.0.1", port), Health).serve_forever()
