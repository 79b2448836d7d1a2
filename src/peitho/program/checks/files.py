"""Files that settings name and that are read, or written, when they are needed: can they be?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from peitho.errors import PeithoError
from peitho.formats.images import cosign, dsse
from peitho.program.checks.finding import Finding, ok, wrong
from peitho.settings.models import Settings

_TO_STDERR = "-"


def files(settings: Settings) -> Iterator[Finding]:
    """Tell of keys, tokens and passwords in files, and of the audit trail's; none is shown."""
    images, registry = settings.images, settings.docker.registry
    for path in images.verify:
        yield _read(
            "signatures",
            "images.verify",
            Path(path),
            cosign.key,
            "put the public key there, as `cosign generate-key-pair` writes cosign.pub: no "
            "prebuilt image can be used until then",
        )
    if images.sign:
        yield _read(
            "signatures",
            "images.sign",
            images.sign,
            dsse.private_key,
            "put the private key there: no image is pushed with its provenance until then",
        )
    for name, setting, file in (
        ("registry", "docker.registry.username-file", registry.username_file),
        ("registry", "docker.registry.password-file", registry.password_file),
        ("operations", "server.operationsTokenFile", settings.server.operations_token_file),
    ):
        if file:
            do = "have the file there, with one line, and readable for Peitho's user"
            yield _read(name, setting, file, _line, do)
    yield from _audit(settings.audit.file)


def _read(name: str, setting: str, path: Path, read: Callable[[bytes], object], do: str) -> Finding:
    try:
        read(path.read_bytes())
    except (OSError, PeithoError) as error:
        return wrong(name, f"{setting}: {path} cannot be used: {_cause(error)}", do)
    return ok(name, f"{setting}: {path} is there, and can be used")


def _line(content: bytes) -> None:
    """Raise PeithoError for what is no line of text."""
    try:
        text = content.decode().strip()
    except UnicodeDecodeError as error:
        raise PeithoError("it is no text") from error
    if not text:
        raise PeithoError("it is empty")


def _audit(file: Path | None) -> Iterator[Finding]:
    if file is None or str(file) == _TO_STDERR:
        return
    place = file if file.exists() else file.parent
    is_possible = not file.is_dir() if file.exists() else place.is_dir()
    if not (is_possible and os.access(place, os.W_OK)):
        yield wrong(
            "audit",
            f"audit.file: {file} cannot be written",
            "name a file in a directory that is there, and that Peitho's user may write to",
        )
    else:
        yield ok("audit", f"audit.file: {file} can be written")


def _cause(error: Exception) -> str:
    return error.strerror or "it cannot be read" if isinstance(error, OSError) else str(error)
