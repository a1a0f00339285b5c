"""The directory with everything that `router up` keeps: stores, logs, and secrets it made."""

import base64
import contextlib
import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from event_router.router.child import CannotStart

# A unix socket's path has room for 107 bytes on Linux, 103 on macOS.
LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True)
class GeneratedSecrets:
    """What is generated once, and kept in files that only we can read."""

    api_key: str
    jwt_secret: str
    secrets_keys: str  # as in ROUTER_SECRETS_KEYS


class DataDir:
    """Made by the first call; raises CannotStart when it can't be written."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            # Events and their payloads are in it: nobody else's business.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in (self._private("run"), self._private("logs")):
                part.mkdir(exist_ok=True)
            self._private("run").chmod(0o700)
        except OSError as error:
            raise CannotStart(_unwritable(self.path, error)) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Ours alone: raises CannotStart when another process has it. A crash lets go of it."""
        try:
            file = (self.path / "lock").open("w")
        except OSError as error:
            raise CannotStart(_unwritable(self.path, error)) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CannotStart(
                    f"another `router up` runs on {self.path}: stop it, or set ROUTER_DATA_DIR "
                    "to another directory"
                ) from None
            yield

    def log(self, name: str) -> Path:
        return self._private("logs") / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self._private("run") / f"{name}.pid"

    @property
    def environment(self) -> Path:
        """What the roles of a running `router up` were given, for a shell to read."""
        return self._private("run") / "environment"

    def socket(self, name: str) -> Path:
        """The path for a unix socket, in a directory that only we can enter."""
        path = self._private("run") / f"{name}.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()) / f"event-router-{os.getuid()}-{digest}"
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
        if directory.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise CannotStart(
                f"{directory} must be a directory that only we can enter: remove it, or set "
                "ROUTER_DATA_DIR to a shorter path"
            )
        return directory / f"{name}.sock"

    def secrets(self) -> GeneratedSecrets:
        """The same in every run."""
        return GeneratedSecrets(
            api_key=self._kept("api_key", lambda: secrets.token_urlsafe(32)),
            jwt_secret=self._kept("jwt_secret", lambda: secrets.token_urlsafe(32)),
            secrets_keys=self._kept(
                "secrets_keys",
                lambda: f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
            ),
        )

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        path = self.path / name
        if path.exists():
            return path.read_text().strip()
        # Whole or not at all: a crash in between must not leave an empty key.
        fresh = self.path / f".{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        return path.read_text().strip()

    def _private(self, name: str) -> Path:
        return self.path / name


def _unwritable(path: Path, error: OSError) -> str:
    return (
        f"the data directory {path} can't be written ({error.strerror}): "
        "make it writable, or set ROUTER_DATA_DIR to another"
    )
