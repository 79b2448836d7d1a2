"""
Debian's docker-registry on loopback, for as long as it is needed; and a token server before it.

Storage, port and certificates are the test's own.  The token server signs as Harbor's does, with
openssl.
"""

import asyncio
import base64
import gzip
import io
import json
import secrets
import signal
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from peitho.clients.registry.api import Registry
from peitho.clients.registry.transport import RegistryCredentials, RegistryEndpoint
from peitho.clients.registry.uploads import bytes_source, file_source
from peitho.formats.images import oci
from peitho.formats.images.oci import Descriptor
from tests.lab import images, layers
from tests.lab.machine import LabError, install, run
from tests.support.loopback import on_loopback

ACCOUNT = RegistryCredentials("robot", "Harbor12345")

# Of the password above, by bcrypt: docker-registry takes no other kind.
_HTPASSWD = "robot:$2y$05$abcdefghijklmnopqrstuuAFz2fdmea8f4ujmLtdp.W/Zl8sXsADy\n"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_TOKEN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Running:
    """A registry that runs; `ca_file` is whose certificates are to be taken, where it has TLS."""

    address: str
    folder: Path
    prefix: str
    ca_file: Path | None

    @property
    def endpoint(self) -> RegistryEndpoint:
        """As Peitho is told of it."""
        return RegistryEndpoint(
            self.address, self.prefix, insecure=self.ca_file is None, ca_file=self.ca_file
        )

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "registry.log").read_text()


@contextmanager
def registry(
    folder: Path,
    *,
    password: bool = False,
    tls: bool = False,
    prefix: str = "",
    auth: dict[str, Any] | None = None,
) -> Iterator[Running]:
    """A registry with its files in a folder; for anybody, or for the account with its password."""
    install()
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    address = f"127.0.0.1:{port}"
    http: dict[str, Any] = {"addr": address, "secret": secrets.token_hex(16)}
    if prefix:
        http["prefix"] = f"/{prefix}/"
    if tls:
        certificate(folder, "registry")
        http["tls"] = {
            "certificate": str(folder / "registry.crt"),
            "key": str(folder / "registry.key"),
        }
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": http,
    }
    if password:
        (folder / "htpasswd").write_text(_HTPASSWD)
        auth = {"htpasswd": {"realm": "lab", "path": str(folder / "htpasswd")}}
    if auth:
        settings["auth"] = auth
    config = folder / "config.yml"
    config.write_text(yaml.safe_dump(settings))
    ca_file = folder / "ca.crt" if tls else None
    running = Running(address, folder, prefix, ca_file)
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_ready(process, running, port)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def certificate(folder: Path, name: str) -> None:
    """A certificate of 127.0.0.1, `NAME.crt` with `NAME.key`, by a CA that is made if needed."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not (folder / "ca.crt").exists():
        ca = ["-x509", "-subj", "/CN=lab registries", "-days", "3", "-out", "ca.crt"]
        uses = ["-addext", "keyUsage=critical,keyCertSign"]
        run(["openssl", "req", *curve, "-keyout", "ca.key", *ca, *uses], cwd=folder)
    request = ["-subj", f"/CN={name}", "-out", f"{name}.csr"]
    run(["openssl", "req", *curve, "-keyout", f"{name}.key", *request], cwd=folder)
    (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3"]
    files = ["-in", f"{name}.csr", "-extfile", f"{name}.ext", "-out", f"{name}.crt"]
    run(["openssl", "x509", "-req", *files, *signing], cwd=folder)


class TokenServer:
    """Gives tokens to the account; they are good for a minute, or are cut short by a test."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.given = 0
        self.seconds = _TOKEN_SECONDS
        self._folder = folder

    @property
    def auth(self) -> dict[str, Any]:
        """What a registry's settings say of it."""
        bundle = str(self._folder / "token.crt")
        return {
            "token": {
                "realm": self.url,
                "service": "lab",
                "issuer": "lab",
                "rootcertbundle": bundle,
            }
        }

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator["TokenServer"]:
        """The server, while it runs."""
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "token.key"]
        own = ["-x509", "-subj", "/CN=tokens", "-days", "3", "-out", "token.crt"]
        run(["openssl", "req", *key, *own], cwd=folder)
        server = cls(folder)
        app = web.Application()
        app.router.add_get("/token", server._answer)
        async with on_loopback(app) as address:
            server.url = f"http://{address}/token"
            yield server

    async def _answer(self, request: web.Request) -> web.Response:
        account = f"{ACCOUNT.username}:{ACCOUNT.password}".encode()
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(account).decode()}":
            return web.json_response({"details": "incorrect username or password"}, status=401)
        self.given += 1
        token = await asyncio.to_thread(self._token, request.query.getall("scope", []))
        return web.json_response({"token": token, "expires_in": _TOKEN_SECONDS})

    def _token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "lab",
            "sub": ACCOUNT.username,
            "aud": "lab",
            "exp": now + self.seconds,
            "nbf": now - 5,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        lines = (self._folder / "token.crt").read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
        signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", "token.key"],
            cwd=self._folder,
            input=signed.encode(),
            capture_output=True,
            check=True,
        ).stdout
        return f"{signed}.{_part(signature)}"


async def push(target: Registry, image: images.Image, repository: str, tag: str) -> None:
    """Push an image of the lab, as a mirror of Fabric's images would have it."""
    described = []
    digests = {}
    for name in image.layers:
        path = await asyncio.to_thread(layers.layer, name)
        digest = await asyncio.to_thread(images.sha256, path)
        digests[name] = digest
        layer = Descriptor(oci.DOCKER_LAYER, f"sha256:{digest}", path.stat().st_size)
        await target.upload(repository, layer, file_source(path))
        described.append(layer)
    config = json.dumps(images.configuration(image, digests)).encode()
    blob = Descriptor(oci.DOCKER_CONFIG, oci.digest_of(config), len(config))
    await target.upload(repository, blob, bytes_source(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.DOCKER_MANIFEST,
        "config": _described(blob),
        "layers": [_described(each) for each in described],
    }
    body = json.dumps(manifest).encode()
    await target.put_manifest(repository, tag, media_type=oci.DOCKER_MANIFEST, body=body)


def push_for_platforms(address: str, repository: str, tag: str, *architectures: str) -> str:
    """Push an image of an index, with a file for each architecture; the digest of the index."""
    listed = []
    for name in architectures:
        manifest = _one_platform(address, repository, name)
        digest = oci.digest_of(manifest)
        _put_manifest(address, repository, digest, oci.DOCKER_MANIFEST, manifest)
        described = {"mediaType": oci.DOCKER_MANIFEST, "digest": digest, "size": len(manifest)}
        listed.append(described | {"platform": {"architecture": name, "os": "linux"}})
    index = {"schemaVersion": 2, "mediaType": oci.DOCKER_INDEX, "manifests": listed}
    body = json.dumps(index).encode()
    _put_manifest(address, repository, tag, oci.DOCKER_INDEX, body)
    return oci.digest_of(body)


def _one_platform(address: str, repository: str, architecture: str) -> bytes:
    """The manifest of an image with one file; its blobs are there."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(f"of-{repository.replace('/', '-')}-{architecture}"))
    layer = gzip.compress(file.getvalue(), mtime=0)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(file.getvalue())]},
    }
    described = [
        _put_blob(address, repository, kind, content)
        for kind, content in (
            (oci.DOCKER_CONFIG, json.dumps(config).encode()),
            (f"{oci.DOCKER_LAYER}.gzip", layer),
        )
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.DOCKER_MANIFEST,
        "config": described[0],
        "layers": described[1:],
    }
    return json.dumps(manifest).encode()


def _put_blob(address: str, repository: str, kind: str, content: bytes) -> dict[str, Any]:
    blob = Descriptor(kind, oci.digest_of(content), len(content))
    place = f"http://{address}/v2/{repository}/blobs/uploads/"
    with urllib.request.urlopen(urllib.request.Request(place, method="POST")) as answer:
        upload = answer.headers["Location"]
    url = f"{upload}{'&' if '?' in upload else '?'}digest={blob.digest}"
    binary = {"Content-Type": "application/octet-stream"}
    put = urllib.request.Request(url, content, binary, method="PUT")
    urllib.request.urlopen(put).close()
    return _described(blob)


def _put_manifest(address: str, repository: str, name: str, kind: str, body: bytes) -> None:
    url = f"http://{address}/v2/{repository}/manifests/{name}"
    put = urllib.request.Request(url, body, {"Content-Type": kind}, method="PUT")
    urllib.request.urlopen(put).close()


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def _described(blob: Descriptor) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _await_ready(process: subprocess.Popen[bytes], running: Running, port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise LabError(f"docker-registry did not start:\n{running.log[-2000:]}")
