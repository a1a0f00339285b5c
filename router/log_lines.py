"""Log lines: one JSON object a line on stderr, `event` being the stable name of what happened."""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`extra=` becomes fields of the line; an exception is its traceback in `error`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self.role,
            "event": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _PLAIN)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _encode(line).decode()


def log_to_stderr(role: str) -> None:
    """From now on every logger of this process writes JSON lines to stderr."""
    _log_to(logging.StreamHandler(sys.stderr), role)


def log_to_file(path: Path, role: str) -> None:
    """The same, to a file: the terminal is for people."""
    _log_to(logging.FileHandler(path), role)


def _log_to(handler: logging.Handler, role: str) -> None:
    handler.setFormatter(JsonLines(role))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for chatty in ("aiokafka", "faust", "mode", "alembic", "uvicorn", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
