import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from peitho.api import middleware, routes
from peitho.api.calls import OpenCalls
from peitho.clients.tls import CertificateFiles
from tests.support.counted import Counted
from tests.support.in_process import listening, running
from tests.support.requests import concrete
from tests.support.tls_wire import TlsWire, client, tls_wire

# All that has an answer, and what has none.
CALLS = [(method, concrete(path)) for method, path, _, _ in routes.ROUTES]
CALLS += [("GET", "/nothing"), ("PUT", "/version"), ("GET", "/events"), ("HEAD", "/version")]


@asynccontextmanager
async def served(tmp_path: Path, folder: Path) -> AsyncIterator[str]:
    """The Docker API, for callers with a certificate of the folder's CA."""
    ca, certificate, key = (folder / name for name in ("ca.crt", "apiserver.crt", "apiserver.key"))
    trust = CertificateFiles("these", ca, certificate, key, is_server=True)
    async with running(tmp_path) as peitho:
        api = routes.application(peitho.services, OpenCalls(routes.LONG), need_certificate=True)
        async with listening(api, tls=trust) as url:
            yield url


async def answer(peer: TlsWire, method: str, path: str) -> tuple[int, bytes]:
    """Status and body of one call, the last on its connection."""
    peer.send(method, path, headers="Content-Length: 0\r\nConnection: close\r\n")
    head = await peer.head()
    return int(head.split()[1]), await peer.rest()


async def test_nobody_without_a_certificate_is_answered(tmp_path: Path, certificates: Path) -> None:
    """
    But for a ping, each call is refused, whether or not there is such a call.
    """
    folder = certificates / "ours"
    unnamed = client(folder, named=False)
    refused = Counted("peitho_refused_total", "reason")
    async with served(tmp_path, folder) as url:
        for method, path in CALLS:
            for prefix in ("", "/v1.44"):
                async with tls_wire(url, unnamed) as peer:
                    status, body = await answer(peer, method, f"{prefix}{path}")
                    if path == "/_ping":
                        assert (200, b"OK") == (status, body)
                    else:
                        assert 403 == status, (method, path)
                        assert method == "HEAD" or "a client certificate is needed" in str(body)
    # Each call bare and with a version; a ping is for anybody.
    assert {"certificate"} == refused.grown.keys()
    assert 2 * (len(CALLS) - 2) <= refused.grown["certificate"] <= 2 * len(CALLS)


async def test_whoever_shows_one_is_answered(tmp_path: Path, certificates: Path) -> None:
    """
    As without TLS.
    """
    folder = certificates / "ours"
    async with served(tmp_path, folder) as url, tls_wire(url, client(folder)) as peer:
        status, body = await answer(peer, "GET", "/version")

    assert 200 == status
    assert middleware.API_VERSION == json.loads(body)["ApiVersion"]
