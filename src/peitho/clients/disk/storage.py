"""
The data directory: blobs by digest, image records by name, and spool files of uploads in flight.

    blobs/sha256/HEX      layers, never changed
    images/HEX.json       image records; HEX is the sha256 of the name
    builds/KEY/           what builds led to (`build_cache`)
    spool/                uploads and results of this run, emptied at start
    delivery.key          signs the tokens of Pods
    usage.json            which peer last used which image

Whatever is kept is written aside, synced and renamed.  A full disk is told as StorageFull.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from peitho.errors import InvalidArgument, StorageFull

_KEY_BYTES = 32
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Storage:
    """The data directory of one Peitho."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs" / "sha256"
        self._images = root / "images"
        self._spool = root / "spool"

    @classmethod
    def open(cls, root: Path) -> "Storage":
        """Make the directories, and remove what an earlier run left half-written."""
        storage = cls(root)
        with room():
            shutil.rmtree(storage._spool, ignore_errors=True)
            for folder in (storage._blobs, storage._images, storage._spool):
                folder.mkdir(parents=True, exist_ok=True)
        return storage

    def delivery_key(self) -> bytes:
        """Return the key that signs tokens; it is made once, and readable by its owner alone."""
        path = self._root / "delivery.key"
        if not path.exists():
            self._replace(path, secrets.token_bytes(_KEY_BYTES))
        return path.read_bytes()

    @contextmanager
    def spool_directory(self, prefix: str) -> Iterator[Path]:
        """Make a directory for files in flight, and remove it at the end."""
        path = self.make_spool_directory(prefix)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def make_spool_directory(self, prefix: str) -> Path:
        """Make a directory for files in flight; the caller removes it."""
        with room():
            return Path(tempfile.mkdtemp(prefix=prefix, dir=self._spool))

    def add_blob(self, write: Callable[[BinaryIO], None]) -> tuple[str, int]:
        """Keep what `write` writes; return its digest (`sha256:...`) and its size in bytes."""
        with room():
            descriptor, name = tempfile.mkstemp(dir=self._spool)
            temporary = Path(name)
            try:
                with os.fdopen(descriptor, "w+b") as file:
                    write(file)
                    size = file.tell()
                    file.flush()
                    os.fsync(file.fileno())
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                temporary.rename(self._blobs / digest)
                sync_directory(self._blobs)
            finally:
                temporary.unlink(missing_ok=True)
        return f"sha256:{digest}", size

    def blob(self, digest: str) -> Path | None:
        """Return the file of a blob, or None."""
        algorithm, _, digits = digest.partition(":")
        if algorithm != "sha256" or not digits.isalnum():
            return None
        path = self._blobs / digits
        return path if path.is_file() else None

    def remove_blob(self, digest: str) -> None:
        """Remove a blob; it may be gone already."""
        if path := self.blob(digest):
            path.unlink(missing_ok=True)

    def save_image(self, name: str, record: bytes) -> None:
        """Save an image record under its name; it replaces an earlier one."""
        self._replace(self._image_path(name), record)

    def image(self, name: str) -> bytes | None:
        """Return the record of an image, or None."""
        try:
            return self._image_path(name).read_bytes()
        except FileNotFoundError:
            return None

    def remove_image(self, name: str) -> None:
        """Remove an image record; it may be gone already."""
        self._image_path(name).unlink(missing_ok=True)

    def images(self) -> Iterator[bytes]:
        """Yield all image records."""
        for path in sorted(self._images.glob("*.json")):
            yield path.read_bytes()

    def save_file(self, name: str, content: bytes) -> None:
        """Save a small file in the directory itself; it replaces an earlier one."""
        self._replace(self._root / name, content)

    def read_file(self, name: str) -> bytes | None:
        """Return the content of a small file in the directory itself, or None."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def volume(self) -> tuple[int, int]:
        """Return the bytes used and the bytes in all of the volume that the directory is on."""
        usage = shutil.disk_usage(self._root)
        return usage.used, usage.total

    def _image_path(self, name: str) -> Path:
        return self._images / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _replace(self, path: Path, content: bytes) -> None:
        with room():
            descriptor, name = tempfile.mkstemp(dir=self._spool)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).rename(path)
                sync_directory(path.parent)
            finally:
                Path(name).unlink(missing_ok=True)


async def spool(chunks: AsyncIterator[bytes], path: Path, *, limit_bytes: int) -> int:
    """
    Write a body to a file as it comes; return its size in bytes.

    Raises InvalidArgument past the limit, StorageFull. The file is of no use then.
    """
    size = 0
    with room(), path.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise InvalidArgument(f"the body is larger than {limit_bytes} bytes")
            await asyncio.to_thread(file.write, chunk)
    return size


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_directory(path: Path) -> None:
    """Sync a directory, so that the names in it outlive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def room() -> Iterator[None]:
    """Turn the error of a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"The data directory is full ({error.filename or os.strerror(error.errno)}): "
                "nothing was kept; give its volume more room"
            ) from error
        raise
