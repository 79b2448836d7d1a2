"""
A registry of what the stand-ins of javaenv and nodeenv were made with, at a distance, for Pods.

It answers Maven, Gradle and npm alike: each asks for paths of its own.
"""

import hashlib
import json
import tarfile
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import unquote, urlsplit

from tests.lab import layers

# Where the layers have what was downloaded when they were made.
_MAVEN = "root/.m2/repository/"
_GRADLE = "root/.gradle/caches/modules-2/files-2.1/"
_NPM = "var/npm/_cacache/"
_NPM_SETTINGS = "usr/local/lib/node_modules/npm/npmrc"
_NPM_KEY = "make-fetch-happen:request-cache:"


@dataclass(frozen=True, slots=True)
class Packages:
    """Files by their path in the registry, and the path that is npm's `registry`."""

    files: Mapping[str, bytes]
    npm_path: str = "/"


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry; `npm_url` is what npm calls it."""

    url: str
    npm_url: str
    server: "_Server"

    def requests(self) -> int:
        """How many requests have come since this was asked before."""
        asked, self.server.asked = self.server.asked, count()
        return next(asked)


def downloaded() -> Packages:
    """What was downloaded for the chaincodes `java` and `node` when the layers were made."""
    npm = dict(_files("nodeenv", _NPM, _NPM_SETTINGS))
    settings = npm.pop(_NPM_SETTINGS).decode().splitlines()
    registry = next(line for line in settings if line.startswith("registry="))
    java = {_java_path(name): content for name, content in _files("javaenv", _MAVEN, _GRADLE)}
    return Packages(java | _of_npm(npm), urlsplit(registry.partition("=")[2]).path)


@contextmanager
def serving(address: str, packages: Packages, *, delay_seconds: float = 0.0) -> Iterator[Registry]:
    """A registry at an address of this machine, while it is needed; each answer comes so late."""
    with _Server(address, packages.files, delay_seconds) as server:
        # It looks so often for its end.
        serve = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serve.start()
        try:
            url = f"http://{address}:{server.server_port}"
            yield Registry(url, url + packages.npm_path, server)
        finally:
            server.shutdown()
            serve.join()


def _files(layer: str, *prefixes: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(layers.layer(layer)) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isreg() and name.startswith(prefixes):
                content = archive.extractfile(member)
                yield name, content.read() if content else b""


def _java_path(name: str) -> str:
    """Gradle keeps files as GROUP/NAME/VERSION/SHA1/FILE, Maven as repositories have them."""
    if name.startswith(_MAVEN):
        return f"/{name.removeprefix(_MAVEN)}"
    group, module, version, _, file = name.removeprefix(_GRADLE).split("/")
    return "/".join(["", *group.split("."), module, version, file])


def _of_npm(cache: Mapping[str, bytes]) -> dict[str, bytes]:
    """Answers by path, out of a cache of npm's: its index tells the digest of each."""
    found = {}
    for name, content in cache.items():
        if not name.startswith(f"{_NPM}index-"):
            continue
        for line in content.decode().splitlines():
            entry = json.loads(line.partition("\t")[2] or "{}")
            if entry.get("key", "").startswith(_NPM_KEY) and entry["integrity"]:
                path = unquote(urlsplit(entry["key"].removeprefix(_NPM_KEY)).path)
                found[path] = cache[_content_name(entry["integrity"])]
    return found


def _content_name(integrity: str) -> str:
    algorithm, _, digest = integrity.partition("-")
    number = b64decode(digest).hex()
    return f"{_NPM}content-v2/{algorithm}/{number[:2]}/{number[2:4]}/{number[4:]}"


class _Answer(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"
    # A body comes right after its headers, not once those are acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        self._head()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002  as it is called
        pass

    def _head(self) -> bytes:
        next(self.server.asked)
        time.sleep(self.server.delay_seconds)
        content = self.server.find(unquote(urlsplit(self.path).path))
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""


class _Server(ThreadingHTTPServer):
    # npm opens 15 connections at once.
    request_queue_size = 128

    def __init__(self, address: str, files: Mapping[str, bytes], delay_seconds: float) -> None:
        super().__init__((address, 0), _Answer)
        self.delay_seconds = delay_seconds
        self.asked = count()
        self._files = files

    def find(self, path: str) -> bytes | None:
        """What is there: a file, or the digest of one."""
        content = self._files.get(path)
        if content is None and path.endswith(".sha1"):
            of = self._files.get(path.removesuffix(".sha1"))
            return of and hashlib.sha1(of, usedforsecurity=False).hexdigest().encode()
        return content
