"""Files that were uploaded, whole or in parts, until a job has ingested them.

    <root>/<binding>/<stored name>         a whole file
    <root>/<binding>/<upload id>.parts/    an upload in parts: `name`, and NUMBER.ETAG each
    …/.<random>                            what is being written; it counts, and goes by age

The binding is (org, tenant, topic): a file is found only by those that it was uploaded for. Names
that people give end up as the tail of a stored name, and only with letters that harm nobody.
"""

import asyncio
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from event_router.schemas.errors import EventRouterError, InvalidValue

PART_BYTES = 128 * 1024 * 1024
MOST_PARTS = 10_000
BUFFER = 1 << 20

_STORED = re.compile(r"[a-z0-9]{10}_[A-Za-z0-9._-]{1,100}")
_UPLOAD = re.compile(r"[a-z0-9]{26}")
_HARMFUL = re.compile(r"[^A-Za-z0-9._-]+")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class NoSuchUpload(EventRouterError):
    """There is no such file, or upload, for this org, tenant and topic."""


class NoRoom(EventRouterError):
    """The files that wait, and this one, are larger together than what may wait."""


class UploadTooLarge(EventRouterError):
    """The file, or the part, is larger than one may be."""


class Binding(NamedTuple):
    """What a file was uploaded for."""

    org: str
    tenant: str
    topic: str

    @property
    def folder(self) -> str:
        return blake2b("\0".join(self).encode(), digest_size=16).hexdigest()


class Part(NamedTuple):
    number: int
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Uploads:
    """The files under `root`, of `max_bytes` in all. Its plain methods block: call them in a
    thread."""

    root: Path
    max_bytes: int

    async def put(self, binding: Binding, name: str, body: AsyncIterator[bytes]) -> str:
        """The stored name of a whole file, once it is on the disk."""
        stored = _stored_name(name)
        folder = self._folder(binding)
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        async with self._received(folder, body) as (written, _):
            await asyncio.to_thread(written.replace, folder / stored)
        return stored

    async def put_part(
        self, binding: Binding, upload: str, number: int, body: AsyncIterator[bytes]
    ) -> Part:
        """A part, in place of one of that number. Raises NoSuchUpload, InvalidValue."""
        folder = self._parts(binding, upload)
        if not 1 <= number <= MOST_PARTS:
            raise InvalidValue("part_number", number, f"between 1 and {MOST_PARTS}")
        try:
            async with self._received(folder, body) as (written, etag):
                # Nothing is awaited here: of two that come together, the later one stays.
                for old in [path for path, part in _parts_in(folder) if part.number == number]:
                    old.unlink(missing_ok=True)
                size = written.stat().st_size
                written.replace(folder / f"{number}.{etag}")
        except FileNotFoundError:
            raise NoSuchUpload(f"the upload {upload} was completed meanwhile") from None
        return Part(number, etag, size)

    def begin(self, binding: Binding, name: str) -> tuple[str, str]:
        """The upload's id, and the stored name that the file is going to have."""
        upload, stored = _random(26), _stored_name(name)
        folder = self._folder(binding) / f"{upload}.parts"
        folder.mkdir(parents=True)
        (folder / "name").write_text(stored)
        return upload, stored

    def parts(self, binding: Binding, upload: str) -> list[Part]:
        """What has arrived. Raises NoSuchUpload."""
        found = [part for _, part in _parts_in(self._parts(binding, upload))]
        return sorted(found)

    def complete(
        self, binding: Binding, upload: str, stored: str, parts: Sequence[tuple[int, str]]
    ) -> str:
        """The stored name, once the file is whole; a second call changes nothing.

        Raises NoSuchUpload; InvalidValue when `parts` aren't those that arrived, from 1 on.
        """
        target = self._folder(binding) / _checked_stored(stored)
        try:
            if not target.exists():
                self._complete(self._parts(binding, upload), target, parts)
        except (FileNotFoundError, NoSuchUpload, InvalidValue) as error:
            if target.exists():  # by a second call, which has taken the parts away
                return stored
            if isinstance(error, FileNotFoundError):
                raise NoSuchUpload(f"the upload {upload} is of another file") from error
            raise
        return stored

    def _complete(self, folder: Path, target: Path, parts: Sequence[tuple[int, str]]) -> None:
        if (folder / "name").read_text() != target.name:
            raise NoSuchUpload(f"the upload {folder.stem} is of another file")
        here = {(part.number, part.etag): path for path, part in _parts_in(folder)}
        wanted = sorted(parts)
        if [number for number, _ in wanted] != list(range(1, len(here) + 1)):
            raise InvalidValue("parts", len(wanted), f"the {len(here)} parts that arrived")
        missing = [number for number, etag in wanted if (number, etag) not in here]
        if missing:
            raise InvalidValue("parts", missing[0], "a part that arrived, with its ETag")
        self._join([here[each] for each in wanted], target)
        shutil.rmtree(folder, ignore_errors=True)

    def find(self, binding: Binding, stored: str) -> Path:
        """Raises NoSuchUpload."""
        path = self._folder(binding) / _checked_stored(stored)
        if not path.is_file():
            raise NoSuchUpload(f"no file {stored!r} was uploaded for this project and model")
        return path

    def remove(self, binding: Binding, stored: str) -> None:
        (self._folder(binding) / _checked_stored(stored)).unlink(missing_ok=True)

    def forget(self, in_use: Collection[tuple[str, str, str, str]], age: float) -> int:
        """How many files went that no job needs and nobody touched for `age` seconds."""
        needed = {(Binding(*its).folder, stored) for *its, stored in in_use}
        before = time.time() - age
        gone = 0
        for path in self._kept():
            if (path.parent.name, path.name) in needed or _touched(path) > before:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            gone += 1
        return gone

    def size(self) -> int:
        """Of all files, whole and in parts, and of what is being written."""
        files = (Path(folder, name) for folder, _, names in os.walk(self.root) for name in names)
        return sum(found.st_size for found in map(_stat, files) if found is not None)

    def _kept(self) -> Iterator[Path]:
        if self.root.exists():
            for folder in self.root.iterdir():
                yield from _within(folder)

    def _folder(self, binding: Binding) -> Path:
        return self.root / binding.folder

    def _parts(self, binding: Binding, upload: str) -> Path:
        folder = self._folder(binding) / f"{upload}.parts"
        if _UPLOAD.fullmatch(upload) is None or not folder.is_dir():
            raise NoSuchUpload(f"no upload {upload!r} was begun for this project and model")
        return folder

    @asynccontextmanager
    async def _received(
        self, folder: Path, body: AsyncIterator[bytes]
    ) -> AsyncIterator[tuple[Path, str]]:
        """A file with the body in it, to be given a name, and its hash."""
        left = self.max_bytes - await asyncio.to_thread(self.size)
        written = folder / f".{_random(12)}"
        try:
            yield written, await _write(written, body, min(PART_BYTES, left))
        finally:
            written.unlink(missing_ok=True)

    def _join(self, paths: Sequence[Path], target: Path) -> None:
        joined = target.parent / f".{_random(12)}"
        try:
            with _on_disk(joined) as file:
                for path in paths:
                    with path.open("rb") as part:
                        shutil.copyfileobj(part, file, BUFFER)
            joined.replace(target)
        finally:
            joined.unlink(missing_ok=True)


async def _write(path: Path, body: AsyncIterator[bytes], room: int) -> str:
    """The hash of what was written, once it is on the disk."""
    digest, buffer, size = blake2b(digest_size=16), bytearray(), 0
    with _on_disk(path) as file:
        async for chunk in body:
            size += len(chunk)
            if size > room:
                raise _no_room(room)
            buffer += chunk
            if len(buffer) >= BUFFER:
                await asyncio.to_thread(_flush, file, digest, buffer)
        await asyncio.to_thread(_flush, file, digest, buffer)
        await asyncio.to_thread(os.fsync, file.fileno())
    return digest.hexdigest()


def _no_room(room: int) -> EventRouterError:
    if room == PART_BYTES:
        return UploadTooLarge(f"more than {PART_BYTES} bytes: upload it in parts")
    return NoRoom("the files that wait for their jobs leave no room for it: try again later")


def _flush(file: BinaryIO, digest: blake2b, buffer: bytearray) -> None:
    digest.update(buffer)
    file.write(buffer)
    buffer.clear()


@contextmanager
def _on_disk(path: Path) -> Iterator[BinaryIO]:
    """A new file that only we can read, on the disk when the block ends."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _parts_in(folder: Path) -> Iterator[tuple[Path, Part]]:
    for path in folder.iterdir():
        found = _stat(path) if path.name[0].isdigit() else None
        if found is not None:
            number, _, etag = path.name.partition(".")
            yield path, Part(int(number), etag, found.st_size)


def _touched(path: Path) -> float:
    """When it, or what is in it, was last written."""
    found = map(_stat, (path, *_within(path)))
    return max((one.st_mtime for one in found if one is not None), default=0.0)


def _within(folder: Path) -> list[Path]:
    """None of a file, nor of a folder that is gone."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stat(path: Path) -> os.stat_result | None:
    """None when it is gone: files come and go while others are looked at."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _stored_name(name: str) -> str:
    """A name of ours, with as much of the given one as is safe: people look for its end."""
    tail = re.split(r"[/\\]", name)[-1]
    return f"{_random(10)}_{_HARMFUL.sub('_', tail)[-100:] or 'file'}"


def given_name(stored: str) -> str:
    """As much of it as the stored name has: what people know the file by."""
    return stored.partition("_")[2]


def _checked_stored(stored: str) -> str:
    if _STORED.fullmatch(stored) is None:
        raise NoSuchUpload(f"{stored[:120]!r} is no name that an upload was answered with")
    return stored


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
