"""
The data directory: blobs by digest, image records by name, and spool files of uploads in flight.

    blobs/sha256/HEX      layers, never changed
    images/HEX.json       image records; HEX is the sha256 of the name
    builds/KEY/           what builds led to (`build_cache`)
    spool/                uploads and results of this run, emptied at start
    damaged/              what was found damaged (`damaged`)
    delivery.key          signs the tokens of Pods
    delivery-ca.json      issues the certificate that Pods see, sealed (`authority`)
    usage.json            which peer last used which image
    lock                  held by the Peitho that serves (`lock`)
    tenants/NAME/         the same of a tenant, but for the CA and the lock

Whatever is kept is written aside, synced and renamed, and verified before it is used: what is
damaged is set aside, and is not there for anybody.  A full disk is told as StorageFull, any other
trouble of the whole store as StorageUnusable.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from peitho.clients.authority import Authority, DamagedAuthorityError
from peitho.clients.disk.archive_reading import ArchiveReading
from peitho.clients.disk.damaged import DamagedFiles
from peitho.clients.disk.room import room
from peitho.clients.disk.sealed import BrokenSealError, is_sealed, seal, unseal
from peitho.clients.disk.verification import (
    DamagedFile,
    Stamp,
    Verification,
    content_of,
    stamp_now,
)
from peitho.errors import InvalidArgument, PeithoError, StorageUnusable

log = structlog.get_logger()

_OWNER_CHARACTERS = 16
KEY_BYTES = 32
AUTHORITY = "delivery-ca.json"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it was read, of an image mostly: its file, and what it has."""

    path: Path
    stamp: Stamp
    content: bytes

    def is_of(self, name: str) -> bool:
        """Whether the file is where the record of an image of that name is kept."""
        return self.path.stem == image_key(name)


class Storage:
    """The data directory of one Peitho; whoever only `looks` at it changes nothing there."""

    def __init__(self, root: Path, *, looks: bool = False) -> None:
        self._root = root
        self._looks = looks
        self.archives = ArchiveReading()
        self._damaged = DamagedFiles(root / "damaged", looks=looks)
        self._verified = Verification()
        # No file may be put where a damaged one is being taken away.
        self._placing = threading.Lock()
        self._blobs = root / "blobs" / "sha256"
        self._images = root / "images"
        self._spool = root / "spool"

    @classmethod
    def open(cls, root: Path) -> "Storage":
        """Make the directories, and remove what an earlier run left half-written."""
        storage = cls.make(root)
        storage.clear_spool()
        return storage

    @classmethod
    def make(cls, root: Path) -> "Storage":
        """Make the directories; whatever is in them stays."""
        storage = cls(root)
        with room():
            for folder in (storage._blobs, storage._images, storage._spool):
                folder.mkdir(parents=True, exist_ok=True)
        return storage

    def clear_spool(self) -> None:
        """Remove what an earlier run left half-written: it must have ended."""
        with room():
            for path in self._spool.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def delivery_key(self) -> bytes:
        """
        Return the key that signs tokens; it is made once, and readable by its owner alone.

        Raises StorageUnusable if it is damaged: with an empty key, anybody could make tokens.
        """
        path = self._root / "delivery.key"
        with room():
            if not os.path.lexists(path):  # a link may lead elsewhere, and nowhere for now
                if self._looks:
                    return secrets.token_bytes(KEY_BYTES)  # for tokens that nobody gets
                self._replace(path, secrets.token_bytes(KEY_BYTES))
            key = _whole(path)
        if len(key) != KEY_BYTES:
            raise _damaged_secret(path, f"it has {len(key)} bytes instead of {KEY_BYTES}")
        return key

    def delivery_authority(self) -> Authority:
        """
        Return the authority that Pods trust; it is made once, and readable by its owner alone.

        Raises StorageUnusable if it is damaged: with another one, no Pod of before gets anything.
        """
        path = self._root / AUTHORITY
        with room():
            if not os.path.lexists(path):
                made = Authority.make(time.time())
                if self._looks:
                    return made
                self._replace(path, seal(made.to_json()))
            content = _whole(path)
        try:
            return read_authority(content)
        except (BrokenSealError, DamagedAuthorityError) as error:
            raise _damaged_secret(path, str(error)) from error

    def owner(self) -> str:
        """Return a name for whoever serves from this directory: the same after a restart."""
        return hashlib.sha256(b"owner" + self.delivery_key()).hexdigest()[:_OWNER_CHARACTERS]

    def try_writing(self) -> None:
        """Write a small file aside, sync, rename and remove it. Raises StorageFull and the like."""
        path = self._root / ".try"
        self._replace(path, b"Peitho looks whether it can write here.\n")
        with room():
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def spool_directory(self, prefix: str) -> AsyncIterator[Path]:
        """Make a directory for files in flight, and remove it at the end."""
        path = self.make_spool_directory(prefix)
        try:
            yield path
        finally:
            await remove_directory(path)

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
                    stamp = Stamp.of(os.fstat(file.fileno()))
                self._place(temporary, self._blobs / digest, "layer")
                self._verified.note(self._blobs / digest, digest, stamp)
                sync_directory(self._blobs)
            finally:
                temporary.unlink(missing_ok=True)
        return f"sha256:{digest}", size

    def blob(self, digest: str) -> Path | None:
        """Return the file of a blob, whatever is in it, or None."""
        algorithm, _, digits = digest.partition(":")
        if algorithm != "sha256" or not digits.isalnum():
            return None
        path = self._blobs / digits
        return path if path.is_file() else None

    def blob_bytes(self, digest: str) -> int | None:
        """Return the size of a blob, or None."""
        path = self.blob(digest)
        with suppress(FileNotFoundError):  # removed meanwhile
            return path.stat().st_size if path else None
        return None

    def blobs_bytes(self) -> int:
        """Return how many bytes all blobs have together."""
        total = 0
        with room(), os.scandir(self._blobs) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed meanwhile
                    total += entry.stat(follow_symlinks=False).st_size
        return total

    def verified_blob(self, digest: str, *, anew: bool = False) -> Path | None:
        """
        Return the file of a blob that is as it was written, or None; a damaged one is set aside.

        A file that was verified today and has not changed is read again only if `anew` says so, as
        before a hand-over. Only threads may wait for it. Raises StorageUnusable.
        """
        verify = self._verified.verify if anew else self._verified.check
        with room():
            while path := self.blob(digest):
                try:
                    verify(path, path.name)
                except FileNotFoundError:  # removed meanwhile
                    continue
                except DamagedFile as damage:
                    if self._set_aside(path, damage.stamp, "layer", str(damage)):
                        return None
                else:
                    return path
        self._look_for(self._blobs)
        return None

    def remove_blob(self, digest: str) -> None:
        """Remove a blob; it may be gone already."""
        if path := self.blob(digest):
            with room():
                path.unlink(missing_ok=True)

    def save_image(self, name: str, record: bytes) -> None:
        """Save an image record, which is JSON, under its name; it replaces an earlier one."""
        self._replace(self._image_path(name), seal(record))

    def image(self, name: str) -> StoredRecord | None:
        """Return the record of an image, or None; a damaged one is set aside."""
        record = self._read_sealed(self._image_path(name), "image")
        if record is None:
            self._look_for(self._images)
        return record

    def remove_image(self, name: str) -> None:
        """Remove an image record; it may be gone already."""
        with room():
            self._image_path(name).unlink(missing_ok=True)

    def image_files(self) -> list[tuple[Path, Stamp]]:
        """Return the files of all image records, and how each is known again; by path."""
        found = []
        with room(), os.scandir(self._images) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found.append((Path(entry.path), stamp_now(Path(entry.path))))
        return sorted(found, key=lambda file: file[0].name)

    def image_at(self, path: Path) -> StoredRecord | None:
        """Return the image record in a file; None if it is damaged or cannot be read."""
        try:
            return self._read_sealed(path, "image")
        except PeithoError as error:
            log.warning("image record cannot be read", path=str(path), cause=str(error))
            return None

    def images(self) -> Iterator[StoredRecord]:
        """Yield all image records; one that is damaged or cannot be read is left out."""
        for path, _ in self.image_files():
            if record := self.image_at(path):
                yield record

    def set_image_aside(self, record: StoredRecord, cause: str) -> None:
        """Set the record of an image aside, which was found damaged."""
        self._set_aside(record.path, record.stamp, "image", cause)

    def damage(self, path: Path, digest: str) -> str:
        """
        Return why the result of a build is not as it was saved, or an empty text.

        It is read whole: only threads may wait. A damaged one is set aside. Raises StorageUnusable.
        """
        with room():
            try:
                self._verified.verify(path, digest)
            except FileNotFoundError:
                return "it is gone"
            except DamagedFile as damage:
                self._set_aside(path, damage.stamp, "result", str(damage))
                return str(damage)
        return ""

    def save_file(self, name: str, content: bytes) -> None:
        """Save a small JSON file in the directory itself, sealed; it replaces an earlier one."""
        self._replace(self._root / name, seal(content))

    def read_file(self, name: str) -> bytes | None:
        """Return the content of a small file in the directory itself, or None; see `image`."""
        record = self._read_sealed(self._root / name, "notes")
        return record.content if record else None

    def volume(self) -> tuple[int, int]:
        """Return the bytes used and the bytes in all of the volume that the directory is on."""
        with room():
            usage = shutil.disk_usage(self._root)
        return usage.used, usage.total

    def sizes(self) -> dict[str, int]:
        """Return the bytes of all files, by what they are (`metrics.STORE_KINDS`)."""
        folders = {
            "layers": self._blobs,
            "images": self._images,
            "builds": self._root / "builds",
            "spool": self._spool,
            "damaged": self._root / "damaged",
        }
        return {kind: _bytes_below(folder) for kind, folder in folders.items()}

    def _image_path(self, name: str) -> Path:
        return self._images / f"{image_key(name)}.json"

    def _read_sealed(self, path: Path, kind: str) -> StoredRecord | None:
        with room():
            try:
                stamp, content = content_of(path)
            except FileNotFoundError:
                return None
            except DamagedFile as damage:
                self._set_aside(path, damage.stamp, kind, str(damage))
                return None
        try:
            return StoredRecord(path, stamp, unseal(content))
        except BrokenSealError as error:
            self._set_aside(path, stamp, kind, str(error))
            return None

    def _set_aside(self, path: Path, stamp: Stamp, kind: str, cause: str) -> bool:
        """Set a damaged file aside; False if another file, or none, is in its place by now."""
        with self._placing:
            try:
                if stamp_now(path) != stamp:
                    return False
            except FileNotFoundError:
                return False
            self._damaged.put(path, kind=kind, cause=cause)
            return True

    def _place(self, written: Path, path: Path, kind: str) -> None:
        """Put a file in its place; a directory that is there, which is none of ours, is damage."""
        with self._placing:
            if path.is_dir() and not path.is_symlink():
                self._damaged.put(path, kind=kind, cause="it is no file")
            written.rename(path)

    def _look_for(self, folder: Path) -> None:
        """Raise StorageUnusable if a folder is gone, and with it all that was there."""
        with room():
            folder.stat()

    def _replace(self, path: Path, content: bytes) -> None:
        with room():
            descriptor, name = tempfile.mkstemp(dir=self._spool)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(Path(name), path, "notes")
                sync_directory(path.parent)
            finally:
                Path(name).unlink(missing_ok=True)


def _whole(path: Path) -> bytes:
    """Return what a file has. Raises StorageUnusable if it is none."""
    try:
        return content_of(path)[1]
    except DamagedFile as damage:
        raise _damaged_secret(path, str(damage)) from damage


def _damaged_secret(path: Path, cause: str) -> StorageUnusable:
    return StorageUnusable(
        f"{path} is damaged, {cause}: take it from a backup, or remove it and a new one is made "
        "(chaincode that is being launched then has to be launched again)"
    )


def _bytes_below(folder: Path) -> int:
    """The bytes of all files in a folder; what goes meanwhile, or cannot be read, has none."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  thousands
    return total


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


async def remove_directory(path: Path) -> None:
    """Remove a directory with all that is in it, which may be a lot; it may be gone already."""
    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


def read_authority(content: bytes) -> Authority:
    """Read the file of an authority. Raises BrokenSealError, DamagedAuthorityError."""
    if not is_sealed(content):
        raise DamagedAuthorityError("it is not whole")
    return Authority.from_json(unseal(content))


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


def image_key(name: str) -> str:
    """Return what the file of an image's record is called, without `.json`."""
    return hashlib.sha256(name.encode()).hexdigest()
