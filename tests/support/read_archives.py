"""
Read all archives of a directory, as builds and images are read: `python -m ... DIRECTORY`.

It is a process of its own, so that its memory tells of nothing else. It prints JSON: `outcomes` by
the file's name, `seconds` of the processor by the file's name, and by how many MiB memory `grew`.
"""

import json
import resource
import sys
import time
from pathlib import Path

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.docker import build_key
from peitho.formats.images import layers
from peitho.formats.tar import ArchiveLimits

LIMITS = ArchiveLimits(total_bytes=512 * 1024**2, names_bytes=3 * 1024**2)


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _scan(path: Path) -> None:
    with path.open("rb") as archive:
        build_key.tree(tar.scan(archive, limits=LIMITS, digests=True))


def _layer(path: Path) -> None:
    with path.open("rb") as archive, Path("/dev/null").open("r+b") as layer:
        layers.write(archive, layer, directory="/usr/local", limits=LIMITS)


def _outcome(path: Path) -> str:
    told = []
    for read in (_scan, _layer):
        try:
            read(path)
            told.append("taken")
        except InvalidArgument:
            told.append("refused")
        except Exception as error:  # noqa: BLE001  any other is the finding
            told.append(repr(error))
    return " ".join(told)


def main(directory: Path) -> None:
    """Read them all, and tell."""
    outcomes, seconds = {}, {}
    before = _peak_mib()
    for path in sorted(directory.iterdir()):
        began = time.process_time()
        outcomes[path.name] = _outcome(path)
        seconds[path.name] = time.process_time() - began
    json.dump({"outcomes": outcomes, "seconds": seconds, "grew": _peak_mib() - before}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
