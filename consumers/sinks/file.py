"""A file of JSON Lines, below the directory of ROUTER_FILES_DIR and of the destination's tenant.

A line is an object with `id`, `topic`, `time`, `content_type`, `metadata`, and the payload as it is
under `data` where that is JSON in one line, else under `data_base64`.

A delivery is answered when it is on the disk. Several processes may write to one file: they take
turns by a lock on it, also when it is full and renamed to `NAME.1`.
"""

import asyncio
import base64
import errno
import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from pydantic import BaseModel, Field, field_validator

from event_router.consumers.ports import Batch, Result
from event_router.consumers.sinks.batched import Batched
from event_router.consumers.sinks.fields import Fields, NoCredentials, Shown
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.delivery import Delivery
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Unavailable

_PATH = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
_NUMBERED = re.compile(r"\.[0-9]+\Z")
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

_CODES = {
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EROFS: "permission_denied",
    errno.ENOENT: "target_not_found",
    errno.EEXIST: "target_not_found",  # a file, where a directory would have to be
    errno.ENOTDIR: "target_not_found",
    errno.EISDIR: "target_not_found",
    errno.ELOOP: "forbidden_path",
    errno.ENOSPC: "throttled",
    errno.EDQUOT: "throttled",
    errno.EFBIG: "throttled",
}
_IN_THE_WAY = {
    errno.EEXIST: "what would have to be a directory is a file, perhaps another destination's",
    errno.ENOTDIR: "what would have to be a directory is a file, perhaps another destination's",
    errno.EISDIR: "it is a directory, perhaps with files of other destinations",
}


class FileConfig(Fields):
    """A file, made with its directories by the first delivery to it."""

    path: str = Field(
        title="Path",
        description="Of the file, below the tenant's own directory.",
        max_length=200,
        pattern=_PATH,
    )
    max_bytes: int = Field(
        100 << 20, ge=1 << 10, title="Longest file", description="In bytes; then it is renamed."
    )
    keep: int = Field(
        10, ge=1, le=1000, title="Full files", description="How many are kept besides it."
    )

    @field_validator("path")
    @classmethod
    def _no_name_of_a_full_file(cls, path: str) -> str:
        """Or another destination's would take its place when it is full."""
        if any(map(_NUMBERED.search, path.split("/"))):
            raise ValueError("a path without a name that ends in a dot and a number, as in NAME.1")
        return path


class File(Batched):
    """One destination's file. Writing happens in a thread: disks may take their time."""

    label: ClassVar[str] = "File"
    description: ClassVar[str] = "Append events to a file of JSON Lines"
    Config: ClassVar[type[BaseModel]] = FileConfig
    Credentials: ClassVar[type[BaseModel]] = NoCredentials
    batch: Batch = Batch(count=1000, bytes=8 << 20, at_once=1)

    def __init__(
        self,
        destination: Destination,
        config: FileConfig,
        credentials: NoCredentials,
        resources: SinkResources,
    ) -> None:
        self._config = config
        self._metadata = destination.delivery_metadata
        self._timeout = resources.timeout
        self._troubles = Troubles(credentials)
        self._root = resources.files
        self._name = Path(_folder_of(destination.tenant), config.path)
        self._writing = asyncio.Lock()

    @staticmethod
    def shown(config: FileConfig) -> Shown:
        return Shown(config.path)

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Result]:
        """All of them, or none."""
        if self._root is None:
            raise self._troubles.unavailable("forbidden_path", "ROUTER_FILES_DIR isn't set")
        lines = b"".join(
            _line(one, merged_metadata(self._metadata, one.head)) for one in deliveries
        )
        try:
            async with asyncio.timeout(self._timeout), self._writing:
                await asyncio.to_thread(self._append, self._root, lines)
        except TimeoutError as error:
            raise self._troubles.unavailable("timeout", "the disk takes its time") from error
        except OSError as error:
            raise self._trouble(error) from error
        return [Answer("OK")] * len(deliveries)

    async def aclose(self) -> None:
        """The file is open only while it is written to."""

    def _append(self, root: Path, lines: bytes) -> None:
        if not root.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory: ROUTER_FILES_DIR", str(root))
        path = root / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
        try:
            size = os.fstat(file).st_size
            if size and size + len(lines) > self._config.max_bytes:
                _rotate(path, self._config.keep)
                os.close(file)
                file, size = _locked(path), 0
            _write(file, lines, size)
            if not size:
                _sync_directory(path.parent)
        finally:
            os.close(file)

    def _trouble(self, error: OSError) -> Unavailable:
        number = error.errno or 0
        code = _CODES.get(number, "service_unavailable")
        why = _IN_THE_WAY.get(number) or error.strerror or error
        return self._troubles.unavailable(code, f"{self._config.path}: {why}")


def _folder_of(tenant: str) -> str:
    """No two tenants have the same; a name of nothing but dots would lead elsewhere."""
    return tenant if tenant.strip(".") else tenant.replace(".", "%2E")


def _line(delivery: Delivery, texts: Mapping[str, str]) -> bytes:
    texts = dict(texts)
    line: dict[str, object] = {
        "id": texts.pop("event-id"),
        "topic": texts.pop("topic"),
        "time": texts.pop("timestamp"),
        "content_type": texts.pop("content-type"),
        "metadata": texts,
    }
    if _is_one_line_of_json(delivery.data):
        line["data"] = msgspec.Raw(delivery.data)
    else:
        line["data_base64"] = base64.b64encode(delivery.data).decode()
    return msgspec.json.encode(line) + b"\n"


def _is_one_line_of_json(data: bytes) -> bool:
    if b"\n" in data or b"\r" in data:
        return False
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _locked(path: Path) -> int:
    """The file that has this name now, open, and locked until it is closed."""
    while True:
        file = os.open(path, _FLAGS, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _has_name(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # somebody has renamed it meanwhile


def _has_name(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _write(file: int, lines: bytes, size: int) -> None:
    """On the disk on return; when something fails, the file is as it was. A line that a crash cut
    short is ended first, so that it spoils no other."""
    if size and os.pread(file, 1, size - 1) != b"\n":
        lines = b"\n" + lines
    try:
        written = 0
        while written < len(lines):
            written += os.write(file, lines[written:])
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _rotate(path: Path, keep: int) -> None:
    """`NAME` becomes `NAME.1`, that `NAME.2` and so on; the last one goes."""
    for number in range(keep - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def _sync_directory(path: Path) -> None:
    """The name of a new file is on the disk, too."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
