"""(m) Install of the second and later Java packages, with a registry at a distance."""

import asyncio
import hashlib
import secrets
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bench.install import DOCKERD, PEITHO, Side, install, loaded_daemon
from tests.bench.place import BenchError, Place, folder, running, say
from tests.bench.report import Row
from tests.lab import layers
from tests.lab.javaenv import CHAINCODE
from tests.lab.peitho import Peitho
from tests.support.observe import builds, until

HOW = (
    "A peer's double of 3.1.5 installs the chaincode `java` for Maven, whose source is new in each "
    "run, as in (j). A registry on this machine answers at once, or 25 ms later; all that a build "
    "needs is there, and it has another home than the image's, which has it too (HOME, "
    "user.home). Peitho has `builder.cache.packages` on, and has carried out one install before that "
    "is not counted; in dockerd every build downloads. The two take turns; a ratio is of neighbors."
)

_VERSION = "3.1.5"
_GOAL = 0.5
_DELAYS_SECONDS = (0.0, 0.025)
# Addresses of the lab's bridge that no Pod will have.
_BRIDGE = ("peitho0", "10.88.250.0/24")
_AS_ROOT = {"users": {"*fabric-javaenv*": 0}}
# The image's own repository is at root's home.
_ANOTHER_HOME = ("HOME=/tmp", "MAVEN_OPTS=-Duser.home=/tmp")
_REPOSITORY = "root/.m2/repository/"
_MVNW = '#!/bin/sh\nexec mvn --batch-mode --settings settings.xml "$@"\n'


async def measure(place: Place) -> list[Row]:
    """Rows for each distance: Peitho, dockerd, and the ratio."""
    if not place.cluster.own:
        raise BenchError("(m) needs the lab's own node, on whose bridge the registry is")
    rows: list[Row] = []
    address = place.cluster.host_address
    builder = _AS_ROOT | {"cache": {"packages": True}}
    with folder() as repository, loaded_daemon(bridge=_BRIDGE) as docker:
        await asyncio.to_thread(_extract, repository)
        for delay_seconds in _DELAYS_SECONDS:
            async with running(place.cluster, builder=builder, chaincode=_AS_ROOT) as peitho:
                ours = Side(PEITHO, peitho.url, address)
                sides = (ours, Side(DOCKERD, docker[-1], address))
                with _registry(address, repository, delay_seconds) as url:
                    await _install(ours, url, docker)
                    await until(partial(_is_idle, peitho), seconds=120)
                    taken: list[float] = []
                    for number in range(1, place.runs + 1):
                        taken += [await _install(side, url, docker) for side in sides]
                        say(f"(m) {delay_seconds} s, run {number}: {taken[-2:]}")
            rows += _rows(delay_seconds, tuple(taken[::2]), tuple(taken[1::2]))
    return rows


def _is_idle(peitho: Peitho) -> bool:
    return not builds(peitho)


def _rows(delay_seconds: float, ours: tuple[float, ...], theirs: tuple[float, ...]) -> list[Row]:
    what = f"install of a Java package, second and later, registry {delay_seconds * 1000:.0f} ms"
    ratios = tuple(one / other for one, other in zip(ours, theirs, strict=True))
    return [
        Row("m", f"{what}, Peitho", "s", ours),
        Row("m", f"{what}, dockerd", "s", theirs),
        Row("m", f"{what}, Peitho by dockerd", "", ratios, at_most=_GOAL),
    ]


async def _install(side: Side, url: str, docker: list[str]) -> float:
    token = secrets.token_hex(4)
    with folder() as work:
        source = work / "java"
        shutil.copytree(CHAINCODE, source, ignore=shutil.ignore_patterns("*.gradle"))
        (source / "mvnw").write_text(_MVNW)
        mirror = f"<mirror><id>bench</id><mirrorOf>*</mirrorOf><url>{url}</url></mirror>"
        (source / "settings.xml").write_text(
            f"<settings><mirrors>{mirror}</mirrors></settings>\n<!-- {token} -->\n"
        )
        label = f"bench{token}_1"
        return await install(
            side,
            source,
            version=_VERSION,
            label=label,
            language="java",
            build_env=_ANOTHER_HOME,
            docker=docker,
        )


def _extract(target: Path) -> None:
    """The repository that javaenv's stand-in was made with, as files below a folder."""
    with tarfile.open(layers.layer("javaenv")) as layer:
        for member in layer:
            path = member.name.removeprefix("./")
            if member.isreg() and path.startswith(_REPOSITORY):
                place = target / path.removeprefix(_REPOSITORY)
                place.parent.mkdir(parents=True, exist_ok=True)
                content = layer.extractfile(member)
                if content:
                    place.write_bytes(content.read())


@contextmanager
def _registry(address: str, root: Path, delay_seconds: float) -> Iterator[str]:
    """A registry of Maven's, while it is needed: its URL."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(delay_seconds)
            path = root / self.path.lstrip("/")
            whole = path.with_suffix("") if path.suffix == ".sha1" else path
            content = whole.read_bytes() if whole.is_file() else None
            if content is not None and whole != path:
                content = hashlib.sha1(content, usedforsecurity=False).hexdigest().encode()
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002  as it is called
            pass

    with ThreadingHTTPServer((address, 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://{address}:{server.server_port}/"
        finally:
            server.shutdown()
