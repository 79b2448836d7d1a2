"""
Chaincode that is an image already: `image.json` in the source of a package.

    {"name": "registry.example/org/asset", "digest": "sha256:..."}

The format is that of fabric-builder-k8s (its README, "Package chaincode").  It is at the root of
the source, wherever a peer has that in what it uploads: `src/` for Go and Node.js, `src/src/` for
Java, and for Go in a GOPATH, as in all packages of 1.4, below the import path.  Elsewhere it is a
file as any other.
"""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.images import references
from peitho.formats.tar import ArchiveLimits, TarEntry

FILE = "image.json"
TYPES = ("golang", "node", "java")

# A name has 255 characters at most.
_FILE_BYTES = 4096
_KEYS = {"name", "digest", "tag"}
_LIKE_AN_IMAGE = re.compile("[:/]")
_ROOTS = ("", "src", "src/src")
_PATH_CHARACTERS = 4096
_OF_OTHERS = ("vendor", "node_modules")
# fabric/core/chaincode/persistence/chaincode_package.go, LabelRegexp.
_LABEL = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]*")
_GO = b"// Package main is an image, see image.json.\npackage main\n\nfunc main() {}\n"


def import_path(command: Sequence[str]) -> str:
    """
    Return what `go build` is to build, in a peer's command; empty if that is another one.

    As in fabric/core/chaincode/platforms/golang/platform.go: `go build ... -o FILE PATH`.
    """
    options = " ".join(command).partition("go build ")[2]
    words = options.partition(" -o ")[2].split(maxsplit=2)
    return words[1][:_PATH_CHARACTERS] if len(words) > 1 else ""


def find(entries: Iterable[TarEntry], import_path: str = "") -> TarEntry | None:
    """Return the entry that may tell the image; the least deep of several."""
    roots = {*_ROOTS, f"src/{import_path}"}
    found = [
        entry
        for entry in entries
        if _may_tell(entry) and entry.name.removesuffix(FILE).rstrip("/") in roots
    ]
    return min(found, key=lambda entry: (entry.name.count("/"), entry.name), default=None)


def read(archive: BinaryIO, name: str, *, limits: ArchiveLimits) -> str:
    """Return the reference that an archive's entry tells; see `reference`."""
    for entry, content in tar.read(archive, limits=limits, fifos=True):
        if entry.name == name and content is not None:
            return reference(content.read(_FILE_BYTES))
    return ""


def reference(content: bytes) -> str:
    """
    Return `NAME@DIGEST`; empty for a file that is about something else.

    Raises InvalidArgument for an image that is not named by its digest alone.
    """
    try:
        told: Any = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(told, dict) or "name" not in told or not told.keys() <= _KEYS:
        return ""
    if "digest" not in told:
        if "tag" not in told and not _LIKE_AN_IMAGE.search(str(told["name"])):
            return ""
        raise InvalidArgument(f"{FILE} has no digest: an image is named by its digest")
    if told.get("tag"):
        raise InvalidArgument(f"{FILE} has a tag: an image is named by its digest alone")
    name, digest = told["name"], told["digest"]
    if not isinstance(name, str) or not isinstance(digest, str):
        raise InvalidArgument(f"{FILE}: name and digest must be texts")
    return by_digest(f"{name}@{digest}")


def by_digest(text: str) -> str:
    """Return a reference as it is. Raises InvalidArgument if it has a tag, or no digest."""
    found = references.parse(text)
    if found.tag or not found.digest:
        raise InvalidArgument(f"an image is named by its digest, without a tag: {text[:300]!r}")
    return text


def document(text: str) -> bytes:
    """Return the file for a reference with a digest."""
    name, _, digest = text.rpartition("@")
    return json.dumps({"name": name, "digest": digest}, sort_keys=True).encode() + b"\n"


def result(text: str) -> bytes:
    """Return the tar that a build of such a package gives: the file alone, always the same."""
    return _tar({"./": b"", f"./{FILE}": document(text)})


def package(text: str, *, label: str, language: str) -> bytes:
    """
    Return the package of an image as `peer lifecycle chaincode install` takes it.

    Raises InvalidArgument for a label that peers refuse, and an image that is not named by digest.
    """
    by_digest(text)
    if not _LABEL.fullmatch(label):
        raise InvalidArgument(f"a label is of letters, digits and _.+-, and not {label[:200]!r}")
    files = {
        "golang": {f"src/{FILE}": document(text), "src/main.go": _GO},
        "node": {
            f"src/{FILE}": document(text),
            "src/package.json": b'{"name": "image", "version": "1.0.0"}\n',
        },
        "java": {f"src/src/{FILE}": document(text), "src/build.gradle": b""},
    }[language]
    about = {"path": "image" if language == "golang" else "", "type": language, "label": label}
    metadata = json.dumps(about).encode()
    return _packed({"metadata.json": metadata, "code.tar.gz": _packed(files)})


def _is_of_others(name: str) -> bool:
    return any(folder in _OF_OTHERS for folder in name.split("/")[:-1])


def _may_tell(entry: TarEntry) -> bool:
    return (
        entry.name.rpartition("/")[2] == FILE
        and entry.kind == "file"
        and entry.size <= _FILE_BYTES
        and not _is_of_others(entry.name)
    )


def _packed(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(_tar(files), mtime=0)


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            header.mode = 0o644
            if name.endswith("/"):
                header.type, header.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(header, io.BytesIO(content))
    return out.getvalue()
