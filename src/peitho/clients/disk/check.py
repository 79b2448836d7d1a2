"""
All of a data directory, read and compared with its digests; nothing is changed.

A Peitho may be at work in it meanwhile: what is wrong is looked at again before it is told, and
what went in that time is no fault.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peitho.clients.authority import DamagedAuthorityError
from peitho.clients.disk.build_cache import BadEntryError, is_key, read_entry
from peitho.clients.disk.room import room
from peitho.clients.disk.sealed import BrokenSealError, unseal
from peitho.clients.disk.storage import AUTHORITY, KEY_BYTES, image_key, read_authority
from peitho.clients.disk.verification import DamagedFile, content_of, digest_of
from peitho.errors import NotFound, PeithoError
from peitho.formats.images import image_record
from peitho.formats.images.image_record import Image

_Check = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a path in the data directory, and the cause."""

    path: str
    cause: str


class StoreCheck:
    """
    One look at all of a tenant's data directory; `problems` counts what was wrong so far.

    `top` is that of all, if it is another: paths are told from there.
    """

    def __init__(self, root: Path, *, top: Path | None = None) -> None:
        self.problems = 0
        self._root = root
        self._top = top or root
        self._seen: Counter[str] = Counter()

    def run(self) -> Iterator[Problem]:
        """
        Read all of it, and yield what is wrong as it is found.

        Raises NotFound if no Peitho keeps its data there, StorageUnusable.
        """
        if not (self._root / "images").is_dir():
            raise NotFound(f"No Peitho keeps its data in {self._root}")
        with room():
            for problem in self._problems():
                self.problems += 1
                yield problem

    def summary(self) -> str:
        """Return what was read, in a line."""
        parts = ("images", "layers", "kept builds")
        seen = ", ".join(f"{what}: {self._seen[what]}" for what in parts)
        aside = len(_entries(self._root / "damaged"))
        wrong = f"damaged: {self.problems}" if self.problems else "all is as it was written"
        whose = "" if self._root == self._top else f"tenant {self._root.name}: "
        return f"{whose}{seen}; {wrong}" + (f"; set aside in damaged/: {aside}" if aside else "")

    def _problems(self) -> Iterator[Problem]:
        for path, check in self._parts():
            if _cause(path, check) and (cause := _cause(path, check)):  # it may be in change
                yield Problem(str(path.relative_to(self._top)), cause)

    def _parts(self) -> Iterator[tuple[Path, _Check]]:
        """Yield all that there is to read; an image before its layer, which may go with it."""
        yield self._root / "delivery.key", _check_key
        yield self._root / AUTHORITY, _check_authority
        yield self._root / "usage.json", _check_notes
        for path in sorted((self._root / "images").glob("*.json")):
            self._seen["images"] += 1
            yield path, self._check_image
        for path in _entries(self._root / "blobs/sha256"):
            self._seen["layers"] += 1
            yield path, _check_layer
        for path in _entries(self._root / "builds"):
            if is_key(path.name):
                self._seen["kept builds"] += 1
                yield path, _check_build

    def _check_image(self, path: Path) -> str:
        image = _image(path)
        if path.name != f"{image_key(image.name)}.json":
            return f"it is the record of {image.name}"
        layer = self._root / "blobs/sha256" / image.layer.removeprefix("sha256:")
        if not layer.is_file():
            return f"the layer of {image.name} is gone: {image.layer}" if path.exists() else ""
        size = layer.stat().st_size
        if size != image.layer_bytes:
            return f"the layer of {image.name} has {size} bytes instead of {image.layer_bytes}"
        return ""


def checks(root: Path) -> list[StoreCheck]:
    """Return the looks at a data directory, and at those of tenants in it."""
    tenants = [path for path in _entries(root / "tenants") if (path / "images").is_dir()]
    return [StoreCheck(root), *(StoreCheck(tenant, top=root) for tenant in tenants)]


def _cause(path: Path, check: _Check) -> str:
    """Return what is wrong with a file, or an empty text; one that is gone is not wrong."""
    try:
        return check(path)
    except FileNotFoundError:
        return ""
    except (
        DamagedFile,
        DamagedAuthorityError,
        BrokenSealError,
        BadEntryError,
        PeithoError,
    ) as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _check_key(path: Path) -> str:
    size = len(content_of(path)[1])
    return "" if size == KEY_BYTES else f"it has {size} bytes instead of {KEY_BYTES}"


def _check_authority(path: Path) -> str:
    read_authority(content_of(path)[1])
    return ""


def _check_notes(path: Path) -> str:
    content = unseal(content_of(path)[1])
    try:
        json.loads(content)
    except ValueError as error:
        return f"it is no JSON: {error}"
    return ""


def _check_layer(path: Path) -> str:
    _, actual = digest_of(path)
    return "" if actual == path.name else f"its sha256 is {actual}"


def _check_build(path: Path) -> str:
    try:
        read_entry(path)
    except BadEntryError as error:
        return str(error) if path.exists() else ""
    return ""


def _image(path: Path) -> Image:
    return image_record.from_json(unseal(content_of(path)[1]))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
