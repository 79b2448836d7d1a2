"""The data directory: can it be written, does it keep what is written, and is there room?"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from peitho.program.checks.finding import Finding, ok, warning, wrong
from peitho.settings.models import Settings

_NAME = "storage"
_SLOW_SECONDS = 1.0
_LEAST_BYTES = 2 * 1024**3
_MIB_BYTES = 1024**2
_TRIED_BYTES = 1024 * 1024


def storage(settings: Settings) -> Iterator[Finding]:
    """Tell whether the data directory can be used; nothing of the trial stays."""
    directory = settings.data_dir
    there = _nearest(directory)
    try:
        seconds = _written_in_seconds(there)
        free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        yield wrong(
            _NAME,
            f"{there} cannot be written: {error.strerror or error}",
            "see to the volume at dataDir: its owner (fsGroup), its mode, and whether it is full",
        )
        return
    made = "" if there == directory else f", where {directory} will be made"
    if seconds > _SLOW_SECONDS:
        yield warning(
            _NAME,
            f"{there} took {seconds:.1f} s to write and sync 1 MiB{made}",
            "use a faster volume: each image and build is synced",
        )
    else:
        yield ok(_NAME, f"{there} is written and synced in {seconds * 1000:.0f} ms{made}")
    yield _room(there, free_bytes)


def _room(directory: Path, free_bytes: int) -> Finding:
    said = f"{free_bytes // _MIB_BYTES} MiB are free in {directory}"
    if free_bytes >= _LEAST_BYTES:
        return ok("room", said)
    return warning(
        "room",
        f"{said}: an image or build of a large package may not fit",
        "enlarge the volume, or set images.limitBytes and builder.cache.limitBytes",
    )


def _nearest(directory: Path) -> Path:
    """Return the directory, or the one above it that is there: Peitho makes what lacks."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory


def _written_in_seconds(directory: Path) -> float:
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".peitho-check-") as file:
        file.write(b"\0" * _TRIED_BYTES)
        file.flush()
        os.fsync(file.fileno())
    return time.monotonic() - began
