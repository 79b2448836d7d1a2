"""
The helper beside a build: `python -m peitho.pod.helper`.

It fetches what the peer uploaded, and what was compiled or downloaded before, lets the command
begin, and sends its output as it comes, then its exit code, then the output directory, and last, if
Peitho wants it, what the command downloaded. PEITHO_URL, PEITHO_TOKEN and
PEITHO_CA say where to, with what right, and how to know that it is Peitho; PEITHO_BUILD which build
it is.
"""

import http.client
import json
import os
import platform
import queue
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from peitho.errors import InvalidArgument, PeithoError
from peitho.formats import tar
from peitho.formats.docker import streams
from peitho.formats.images.architectures import go_name
from peitho.formats.kubernetes import build_wrapper
from peitho.pod.calls import CallError, PeithoClient, tell

_COPY_BYTES = 256 * 1024
_POLL_SECONDS = 0.02
_CODE_BYTES = 16
_LACK_BYTES = 16
_GONE = (403, 404)
# The command is done by then; 500 MB are packed within seconds.
_PACKED_SECONDS = 60.0


def fetch(peitho: PeithoClient, build: str) -> Path:
    """Fetch and unpack what the build needs; return the directory whose content is the result."""
    about: dict[str, Any] = peitho.get(f"/builds/{build}", json.load)
    for upload in about["uploads"]:
        target = Path(build_wrapper.helper_path(upload["path"]))
        fetch_archive(peitho, f"/builds/{build}/uploads/{upload['number']}", target)
    if about.get("compiled"):
        fetch_compiled(peitho, build)
    if about.get("packages"):
        Path(build_wrapper.KEEP).touch()
        fetch_given(peitho, f"/builds/{build}/packages", Path(build_wrapper.PACKAGES))
    return Path(build_wrapper.helper_path(about["output"]))


def fetch_archive(
    peitho: PeithoClient, path: str, target: Path, *, limits: tar.ArchiveLimits = tar.CHECKED
) -> None:
    """Fetch an archive, which Peitho has checked, and unpack it into a directory."""
    with tempfile.TemporaryFile(dir=build_wrapper.CONTROL) as archive:

        def save(response: http.client.HTTPResponse) -> None:
            archive.seek(0)
            archive.truncate()
            shutil.copyfileobj(response, archive, _COPY_BYTES)

        peitho.get(path, save)
        archive.seek(0)
        tar.unpack(archive, target, limits=limits)


def fetch_compiled(peitho: PeithoClient, build: str) -> None:
    """Fetch what Go compiled before, if the builder image lacks it and Peitho has it."""
    while not Path(build_wrapper.READY).exists():
        time.sleep(_POLL_SECONDS)
    with opened(build_wrapper.LACKS) as lacks:
        if lacks.read(_LACK_BYTES).strip() != b"go":
            return
    fetch_given(peitho, f"/builds/{build}/compiled", Path(build_wrapper.GO_CACHE))


def fetch_given(peitho: PeithoClient, path: str, target: Path) -> None:
    """
    Fetch what is there of earlier builds, if Peitho has it.

    A build can do without: whatever goes wrong, its command finds all of it or nothing.
    """
    aside = target.with_suffix(".part")
    try:
        aside.mkdir(parents=True)
        fetch_archive(peitho, path, aside, limits=tar.ArchiveLimits())
        aside.rename(target)
    except (CallError, PeithoError, OSError, http.client.HTTPException) as error:
        shutil.rmtree(aside, ignore_errors=True)
        if not isinstance(error, CallError) or error.status not in _GONE:
            _say(f"nothing that was there before is used: {error}")


def given_packages() -> set[str] | None:
    """Return the names of the downloaded files that a build is given; None if none are kept."""
    if not Path(build_wrapper.KEEP).exists():
        return None
    root = Path(build_wrapper.PACKAGES)
    return {str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir()}


def hand_back(peitho: PeithoClient, build: str, given: set[str]) -> None:
    """
    Send what the command downloaded, if that is more than it was given.

    The build is done and its peer has the result: what goes wrong here is said, and nothing else.
    """
    end = time.monotonic() + _PACKED_SECONDS
    while not Path(build_wrapper.PACKED).exists() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    try:
        with opened(build_wrapper.PACKED) as archive:
            if not archive.read(1):
                return
            archive.seek(0)
            found = {each.name for each in tar.scan(archive, limits=tar.ArchiveLimits())}
            if found <= given:
                return
            archive.seek(0)
            chunks = iter(partial(archive.read, _COPY_BYTES), b"")
            peitho.send("PUT", f"/builds/{build}/packages", chunks)
    except (CallError, PeithoError, OSError, http.client.HTTPException) as error:
        _say(f"what was downloaded is not kept: {error}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a container's log is its output


def output() -> Iterator[bytes]:
    """Yield the command's output as frames, until the command is done."""
    with opened(build_wrapper.STDOUT) as stdout, opened(build_wrapper.STDERR) as stderr:
        while True:
            done = Path(build_wrapper.DONE).exists()  # before the last look at the files
            said = b"".join(
                streams.frame(stream, data)
                for stream, file in ((streams.STDOUT, stdout), (streams.STDERR, stderr))
                if (data := file.read(_COPY_BYTES))
            )
            if said:
                yield said
            elif done:
                return
            else:
                time.sleep(_POLL_SECONDS)


def opened(path: str) -> BinaryIO:
    """
    Open what the build wrote, if it is a regular file.

    The command can put anything at these paths, also a link to what only the helper can read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise InvalidArgument(f"the build made {path} something else than a file")
    return file


def packed(directory: Path) -> Iterator[bytes]:
    """Yield a tar of a directory while it is made."""
    chunks: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=8)

    class Sink:
        def write(self, data: bytes) -> int:
            chunks.put(bytes(data))
            return len(data)

    def make() -> None:
        try:
            tar.pack(directory, Sink())  # type: ignore[arg-type]  # a tar stream only writes
            chunks.put(None)
        except BaseException as error:  # noqa: BLE001  handed to the reader
            chunks.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (chunk := chunks.get()) is not None:
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk


def help_build(peitho: PeithoClient, build: str) -> None:
    """Do all steps in their order."""
    result = fetch(peitho, build)
    given = given_packages()  # before anything of the peer's runs
    Path(build_wrapper.GO).touch()
    while not Path(build_wrapper.STARTED).exists():
        time.sleep(_POLL_SECONDS)
    peitho.send("POST", f"/builds/{build}/log", output())
    with opened(build_wrapper.EXIT) as file:
        code = file.read(_CODE_BYTES).strip()
    peitho.send("PUT", f"/builds/{build}/exit", [code])
    architecture = go_name(platform.machine())
    peitho.send("PUT", f"/builds/{build}/result?architecture={architecture}", packed(result))
    if given is not None and code == b"0":
        hand_back(peitho, build, given)


def main() -> int:
    """
    Help one build; return 0, or 1 with the cause in the termination message.

    If the build was removed meanwhile, that is no failure.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    try:
        help_build(PeithoClient.from_environment(), os.environ["PEITHO_BUILD"])  # noqa: TID251  see puller
    except CallError as error:
        if error.status in _GONE:
            return 0
        tell(f"Peitho did not take part: {error}")
        return 1
    except (PeithoError, OSError, http.client.HTTPException) as error:
        tell(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
