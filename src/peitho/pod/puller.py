"""
The puller, which brings a chaincode's layer before that begins: `python -m peitho.pod.puller`.

PEITHO_URL, PEITHO_TOKEN and PEITHO_CA say where from, with what right, and how to know that it is
Peitho; PEITHO_BLOB which layer (`sha256:...`), PEITHO_TARGET where it is to be. There is a file
until the layer is whole and its sha256 was checked, and the layer from then on. PEITHO_WORD is
the FIFO at which somebody waits for that, if anybody does.
"""

import errno
import http.client
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from peitho.errors import PeithoError
from peitho.pod import layer
from peitho.pod.calls import CallError, PeithoClient, tell

# A kubelet asks for the word in the moment in which the puller begins.
_HEARD_SECONDS = 60.0
_POLL_SECONDS = 0.01


def pull(peitho: PeithoClient, digest: str, target: Path) -> None:
    """
    Fetch a blob, and unpack it into an empty directory, which stays empty if its digest is another.

    Raises PeithoError then.
    """

    def unpack(response: http.client.HTTPResponse) -> None:
        def read_into(buffer: memoryview) -> int:
            count = response.readinto(buffer)
            if not count and response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return count

        layer.unpack(read_into, digest, str(target))

    peitho.get(f"/blobs/{digest}", unpack)


def pull_whole(peitho: PeithoClient, digest: str, target: Path) -> None:
    """
    Have a layer at a path at once, where a file was. Raises as `pull`.

    A Pod whose sandbox was made anew runs its puller again: what is whole by then stays, and what a
    puller began that did not get so far is fetched from the start. Whole is what a puller has said
    so of, by a file beside it: a kubelet that went on to chaincode makes directories, too.
    """
    sign = target.with_name(".whole")
    if target.is_dir():
        if sign.exists():
            return
        raise PeithoError("there is a directory in its place: chaincode was begun without it")
    part = target.with_name(".part")
    part.mkdir(exist_ok=True)
    layer.empty(str(part))
    pull(peitho, digest, part)
    target.unlink()
    part.rename(target)
    with suppress(OSError):  # chaincode may run from here on, and has its layer
        sign.touch()


def say(word: str, fifo: str) -> None:
    """Say a word into a FIFO, and return once whoever waits there is gone, or has not come."""
    end = time.monotonic() + _HEARD_SECONDS
    while time.monotonic() < end:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody reads yet
                raise
            time.sleep(_POLL_SECONDS)
            continue
        os.write(descriptor, f"{word}\n".encode())
        reader = select.poll()
        reader.register(descriptor, select.POLLERR)
        reader.poll(1000 * (end - time.monotonic()))
        return


def make_fifo(path: str) -> None:
    """Make a FIFO, unless whoever waits there was first."""
    try:
        os.mkfifo(path)
    except FileExistsError:
        return


def main() -> int:
    """Pull one layer; return 0, or 1 with the cause in the termination message."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environment = os.environ  # noqa: TID251  a process of its own, without settings
    digest, target = environment["PEITHO_BLOB"], Path(environment["PEITHO_TARGET"])
    word = environment.get("PEITHO_WORD")
    try:
        target.touch()  # first of all: what fails after this leaves nothing that could run
        if word:
            make_fifo(word)
        pull_whole(PeithoClient.from_environment(), digest, target)
        if word:
            # From here on chaincode may run, and has its layer: nothing is a failure any more.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            with suppress(OSError):
                say("whole", word)
    except (PeithoError, CallError, OSError, http.client.HTTPException) as error:
        tell(f"the chaincode's layer could not be fetched from Peitho: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
