"""A Peitho with tenants, before a double of the API server, and peers that are theirs."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from peitho.api import routes
from peitho.api.access import Tenants
from peitho.api.calls import OpenCalls
from peitho.api.services import Services
from peitho.clients.tls import CertificateFiles
from peitho.core.tasks import BackgroundTasks
from peitho.program import composition
from peitho.program.composition import Composition, Shared
from peitho.settings.models import Settings
from tests.support.in_process import listening
from tests.support.kubernetes_double import ApiServer

# Whose certificate is whose, of those that tests/lab/pki.py makes.
ACME = "admin"
OTHER = "scheduler"
NOBODY = "proxy"

TENANTS: Mapping[str, Any] = {
    "acme": {
        "match": [{"cn": "admin", "o": "system:*"}],
        "msp-ids": ["AcmeMSP"],
        "networks": ["lab"],
        "peers": ["peer*.acme"],
        "namespace": "acme-ns",
    },
    "other": {
        "match": [{"cn": "system:kube-scheduler"}],
        "msp-ids": ["OtherMSP"],
        "networks": ["lab"],
        "peers": ["peer*.other"],
    },
}


def tenants_of(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """Both tenants, with changes by name."""
    return {name: {**TENANTS[name], **changes.get(name, {})} for name in TENANTS}


def settings_of(folder: Path, directory: Path, **sections: Any) -> Settings:
    """Settings with two tenants, and the certificates of a folder."""
    tls = {
        "cert-file": folder / "apiserver.crt",
        "key-file": folder / "apiserver.key",
        "client-ca-file": folder / "ca.crt",
    }
    tree = {
        "dataDir": directory / "data",
        "server": {"tls": tls},
        "access": {"images": ["*"], "tenants": dict(TENANTS)},
        **sections,
    }
    return Settings.model_validate(tree, by_alias=True, by_name=False)


def issue(folder: Path, name: str, *, uri: str) -> str:
    """Make a certificate of a folder's CA that has a URI and no subject; return its name."""
    ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signing = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(ca.not_valid_after_utc)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
        )
        .sign(signing, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.crt").write_bytes(made.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return name


@dataclass(frozen=True, slots=True)
class Served:
    """A Peitho on loopback: its address, the parts of each tenant, and the cluster before it."""

    url: str
    folder: Path
    tenants: Mapping[str, Composition]
    cluster: ApiServer

    def services(self, name: str) -> Services:
        """The parts of a tenant that calls lead to."""
        return self.tenants[name].services

    @asynccontextmanager
    async def peer(self, certificate: str) -> AsyncIterator["Peer"]:
        """A peer with a certificate; without one if its name is empty."""
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        if certificate:
            folder = self.folder
            context.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as http:
            yield Peer(http, self.url)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whoever calls with one certificate."""

    http: aiohttp.ClientSession
    url: str

    async def ask(
        self, method: str, path: str, *, json: object = None, data: bytes | None = None
    ) -> tuple[int, str]:
        """Status and text of one call."""
        async with self.http.request(method, self.url + path, json=json, data=data) as response:
            return response.status, await response.text()


@asynccontextmanager
async def served(
    directory: Path, folder: Path, settings: Settings | None = None
) -> AsyncIterator[Served]:
    """A Peitho with tenants, while it runs; its sweepers do not."""
    settings = settings or settings_of(folder, directory)
    async with (
        ApiServer.start() as cluster,
        cluster.client(directory) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        tasks = BackgroundTasks(group)
        composition.make_data_directory(settings)
        composition.clear_data_directory(settings)
        shared = Shared.of(settings, kubernetes)
        tenants = composition.compose_all(shared, tasks)
        for parts in tenants.values():
            tasks.run(parts.services.watch.run(), name="pod watch")
            tasks.run(parts.record_watch.run(), name="record watch")
        services = {name: each.services for name, each in tenants.items()}
        led = Tenants(services, shared.settings.map(lambda settings: settings.access.tenants))
        api = routes.application(led, OpenCalls(routes.LONG), need_certificate=True)
        tls = composition.api_tls(settings.server.tls)
        assert isinstance(tls, CertificateFiles)
        try:
            async with listening(api, tls=tls) as url:
                yield Served(url, folder, tenants, cluster)
        finally:
            tasks.cancel()
            for each in tenants.values():
                each.services.builds.pool.close()
