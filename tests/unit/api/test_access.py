import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from structlog.typing import EventDict

from peitho import audit
from peitho.api import middleware, routes
from peitho.api.calls import OpenCalls
from peitho.clients.tls import CertificateFiles
from peitho.settings import changes
from tests.support import tenants
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
    connector = aiohttp.TCPConnector(ssl=unnamed)
    async with served(tmp_path, folder) as url, aiohttp.ClientSession(connector=connector) as peer:
        for (method, path), prefix in itertools.product(CALLS, ("", "/v1.44")):
            async with peer.request(method, f"{url}{prefix}{path}") as response:
                body = await response.text()
                if path == "/_ping":
                    assert (200, "OK") == (response.status, body)
                else:
                    assert 403 == response.status, (method, path)
                    assert method == "HEAD" or "a client certificate is needed" in body
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


async def test_a_call_is_led_to_the_tenant_of_its_certificate(
    tmp_path: Path, certificates: Path
) -> None:
    """
    What one makes, the others have not; `default` is there, though nobody is it.
    """
    spec = {"Image": "hyperledger/fabric-ccenv", "Cmd": ["x"]}
    async with tenants.served(tmp_path, certificates / "ours") as peitho:
        for certificate, name in ((tenants.ACME, "acme"), (tenants.OTHER, "other")):
            async with peitho.peer(certificate) as peer:
                status, text = await peer.ask("POST", "/containers/create", json=spec)

                assert 201 == status
                made = json.loads(text)["Id"]
                for each, composition in peitho.tenants.items():
                    found = composition.services.builds.find(made)
                    assert (found is not None) == (each == name)
                assert [made] == [
                    each["Id"]
                    for each in json.loads((await peer.ask("GET", "/containers/json?all=1"))[1])
                ]
        assert ["default", "acme", "other"] == list(peitho.tenants)


async def test_a_certificate_that_no_rule_matches_is_refused(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Whatever it asks for, but a ping; its subject is logged, once in a while.
    """
    lines: list[EventDict] = []
    async with tenants.served(tmp_path, certificates / "ours") as peitho:
        with (
            structlog.testing.capture_logs() as told,
            audit.kept_by(lambda line: lines.append(dict(line))),
        ):
            for method, path in CALLS:
                # Each on a connection of its own.
                async with peitho.peer(tenants.NOBODY) as peer:
                    status, text = await peer.ask(method, path)
                    if path == "/_ping":
                        assert (200, "OK") == (status, text)
                    else:
                        assert 403 == status, (method, path)
                        assert method == "HEAD" or "no tenant's rules match" in text
    (refused,) = (each for each in told if each["event"] == "certificate refused")
    assert ("warning", "O=system:masters,CN=admin") != (refused["log_level"], refused["subject"])
    assert ("warning", "CN=system:kube-proxy") == (refused["log_level"], refused["subject"])
    assert {("refused", "", "CN=system:kube-proxy")} == {
        (line["event"], line["tenant"], line["certificate"]) for line in lines
    }
    assert len(CALLS) - 1 == len(lines)


async def test_who_shows_no_certificate_is_no_tenants(tmp_path: Path, certificates: Path) -> None:
    """
    It is told that one is needed, and `default` is not said to have asked.
    """
    lines: list[EventDict] = []
    async with (
        tenants.served(tmp_path, certificates / "ours") as peitho,
        peitho.peer("") as peer,
    ):
        with audit.kept_by(lambda line: lines.append(dict(line))):
            status, text = await peer.ask("GET", "/info")
        assert (403, True) == (status, "a client certificate is needed" in text)
        assert (200, "OK") == await peer.ask("GET", "/_ping")
    assert [("refused", "")] == [(line["event"], line["tenant"]) for line in lines]


async def test_a_certificate_without_a_subject_is_a_tenants_or_is_refused(
    tmp_path: Path, certificates: Path
) -> None:
    """
    It is one, though it has other names alone.
    """
    folder = certificates / "ours"
    spiffe: dict[str, Any] = {"match": [{"san": "URI:spiffe://lab/other/*"}]}
    access = {"tenants": tenants.tenants_of(other=spiffe)}
    settings = tenants.settings_of(folder, tmp_path, access=access)
    async with tenants.served(tmp_path, folder, settings) as peitho:
        async with peitho.peer(tenants.issue(folder, "a", uri="spiffe://lab/other/p")) as peer:
            assert 200 == (await peer.ask("GET", "/info"))[0]
        async with peitho.peer(tenants.issue(folder, "b", uri="spiffe://lab/evil/p")) as peer:
            for path in ("/version", "/info", "/events", "/nothing"):
                status, text = await peer.ask("GET", path)
                assert (403, True) == (status, "'URI=spiffe://lab/evil/p'" in text), path


async def test_a_certificate_of_two_tenants_is_nobodys(tmp_path: Path, certificates: Path) -> None:
    """
    The log says whose it is.
    """
    both: dict[str, Any] = {"match": [{"cn": "nobody"}, {"cn": "*", "o": "system:masters"}]}
    access = {"tenants": tenants.tenants_of(other=both)}
    settings = tenants.settings_of(certificates / "ours", tmp_path, access=access)
    async with tenants.served(tmp_path, certificates / "ours", settings) as peitho:
        with structlog.testing.capture_logs() as told:
            async with peitho.peer(tenants.ACME) as peer:
                status, text = await peer.ask("GET", "/version")
    assert (403, True) == (status, "more than one tenant's rules match" in text)
    assert "acme" not in text
    (refused,) = (each for each in told if each["event"] == "certificate refused")
    assert ["acme", "other"] == refused["tenants"]


async def test_rules_are_followed_by_open_connections(tmp_path: Path, certificates: Path) -> None:
    """
    A tenant that was taken out is let in no more.
    """
    async with (
        tenants.served(tmp_path, certificates / "ours") as peitho,
        peitho.peer(tenants.ACME) as peer,
    ):
        assert 200 == (await peer.ask("GET", "/version"))[0]
        shared = peitho.tenants["acme"].shared
        gone = tenants.settings_of(
            certificates / "ours", tmp_path, access={"tenants": {"other": tenants.TENANTS["other"]}}
        )
        shared.follow(changes.change(shared.settings.now, gone).settings)

        assert 403 == (await peer.ask("GET", "/version"))[0]


async def test_a_tenants_calls_are_told_with_its_name(tmp_path: Path, certificates: Path) -> None:
    """
    In the log and in the audit trail.
    """
    lines: list[EventDict] = []
    async with (
        tenants.served(tmp_path, certificates / "ours") as peitho,
        peitho.peer(tenants.ACME) as peer,
    ):
        with (
            structlog.testing.capture_logs(
                processors=[structlog.contextvars.merge_contextvars]
            ) as told,
            audit.kept_by(lambda line: lines.append(dict(line))),
        ):
            assert 404 == (await peer.ask("DELETE", "/images/lab-peer0.acme-x"))[0]
    assert ["acme"] == [line["tenant"] for line in lines]
    assert ["acme"] == [each["tenant"] for each in told if each["event"] == "request answered"]
