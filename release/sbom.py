"""
What is in the wheel and in the image, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/).

Of the wheel it says what the lock file names, with who needs it; of the image each wheel that is in
its layer, by its digest.  It has no time but the release's, and is the same from the same inputs.
"""

import email.parser
import hashlib
import json
import re
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = dict[str, Any]

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")
_VIA = re.compile(r"^ +# +(?:via +)?(?P<name>[A-Za-z0-9._-]+)(?: \(.*\))?$")
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's, for URLs


@dataclass(frozen=True, slots=True)
class Pin:
    """A package of the lock file, and by what it is needed."""

    name: str
    version: str
    via: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its package URL."""
        return purl(self.name, self.version)


def pins(lock: str) -> list[Pin]:
    """Read a lock file, as uv writes it."""
    found: list[Pin] = []
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            found.append(Pin(normal(pin["name"]), pin["version"], ()))
        elif (via := _VIA.match(line)) and found and via["name"] != "via":
            last = found[-1]
            found[-1] = Pin(last.name, last.version, (*last.via, normal(via["name"])))
    return found


def of_wheel(wheel: Path, lock: str, *, epoch: int) -> Document:
    """Say what the wheel needs, by the lock file."""
    name, version = _name_and_version(wheel)
    root = _component(name, version, kind="application", sha256=_sha256(wheel))
    packages = pins(lock)
    by_name = {pin.name: pin.purl for pin in packages}
    own = str(root["bom-ref"])
    needs: dict[str, list[str]] = {own: [], **{pin.purl: [] for pin in packages}}
    for pin in packages:
        for parent in pin.via:
            needs.setdefault(by_name.get(parent, own), []).append(pin.purl)
    components = [_component(pin.name, pin.version) for pin in packages]
    return _document(root, components, needs, epoch)


def of_image(layer: Path, wheels: Sequence[Path], *, base: str, epoch: int) -> Document:
    """Say what is in the image: its base, and each wheel in its layer."""
    root: Document = {
        "type": "container",
        "bom-ref": f"layer:sha256:{_sha256(layer)}",
        "name": "peitho",
        "hashes": [{"alg": "SHA-256", "content": _sha256(layer)}],
    }
    components: list[Document] = [{"type": "container", "bom-ref": f"base:{base}", "name": base}]
    for wheel in sorted(wheels, key=lambda path: path.name):
        name, version = _name_and_version(wheel)
        found = _component(name, version, sha256=_sha256(wheel))
        components.append(found | _licenses(wheel))
    needs = {root["bom-ref"]: [each["bom-ref"] for each in components]}
    return _document(root, components, needs, epoch)


def normal(name: str) -> str:
    """Return a package's name as PyPI compares them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def purl(name: str, version: str) -> str:
    """Return the package URL of a package of PyPI."""
    return f"pkg:pypi/{normal(name)}@{version}"


def _component(name: str, version: str, *, kind: str = "library", sha256: str = "") -> Document:
    address = purl(name, version)
    hashes = {"hashes": [{"alg": "SHA-256", "content": sha256}]} if sha256 else {}
    named = {"type": kind, "bom-ref": address, "name": normal(name), "version": version}
    return {**named, **hashes, "purl": address}


def _document(
    root: Document, components: list[Document], needs: Mapping[str, list[str]], epoch: int
) -> Document:
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "component": root,
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in needs.items()],
    }
    number = uuid.uuid5(_NAMESPACE, json.dumps(made, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{number}", **made}


def _name_and_version(wheel: Path) -> tuple[str, str]:
    name, version, *_ = wheel.name.split("-")
    return name, version


def _licenses(wheel: Path) -> Document:
    """The licence of a wheel, where its metadata has one that SPDX knows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = email.parser.BytesParser().parsebytes(archive.read(name), headersonly=True)
    expression = metadata.get("License-Expression")
    return {"licenses": [{"expression": expression}]} if expression else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
