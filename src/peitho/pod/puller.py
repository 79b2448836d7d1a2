"""
The puller, an init container that brings a chaincode's layer: `python -m peitho.pod.puller`.

PEITHO_URL, PEITHO_TOKEN and PEITHO_CA say where from, with what right, and how to know that it is
Peitho; PEITHO_BLOB which layer (`sha256:...`), PEITHO_TARGET the directory. Nothing is unpacked
before its sha256 was checked.
"""

import hashlib
import http.client
import os
import shutil
import signal
import sys
from pathlib import Path

from peitho.errors import PeithoError
from peitho.formats import tar
from peitho.pod.calls import CallError, PeithoClient, tell

_COPY_BYTES = 1024 * 1024


def pull(peitho: PeithoClient, digest: str, target: Path) -> None:
    """
    Fetch a blob, check its digest, and unpack it into a directory.

    Raises PeithoError if the digest is another.
    """
    blob = target / ".blob"

    def save(response: http.client.HTTPResponse) -> None:
        with blob.open("wb") as file:
            shutil.copyfileobj(response, file, _COPY_BYTES)

    try:
        peitho.get(f"/blobs/{digest}", save)
        with blob.open("rb") as file:
            actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if actual != digest:
                raise PeithoError(f"the layer is damaged: it is {actual}, and should be {digest}")
            file.seek(0)
            tar.unpack(file, target, limits=tar.CHECKED)
    finally:
        blob.unlink(missing_ok=True)


def main() -> int:
    """Pull one layer; return 0, or 1 with the cause in the termination message."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environment = os.environ  # noqa: TID251  a process of its own, without settings
    digest, target = environment["PEITHO_BLOB"], Path(environment["PEITHO_TARGET"])
    try:
        pull(PeithoClient.from_environment(), digest, target)
    except (PeithoError, CallError, OSError, http.client.HTTPException) as error:
        tell(f"the chaincode's layer could not be fetched from Peitho: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
