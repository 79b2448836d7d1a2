import ssl
from pathlib import Path

import pytest
from aiohttp import web

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.proxies import Proxies
from peitho.clients.registry.api import Registry
from peitho.clients.registry.transport import RegistryEndpoint
from peitho.errors import Unavailable
from tests.support.kubernetes_double import KUBECONFIG, ApiServer
from tests.support.loopback import listening_with_tls
from tests.support.proxy_double import proxying
from tests.support.registry_double import QUICK

PROXY = "http://proxy.example:3128"
# A name of the tests' certificates that is not of this machine.
HOST = "kubernetes.default.svc"


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "is_direct"),
    [
        ("", "registry.example", 443, False),
        ("*", "registry.example", 443, True),
        ("registry.example", "registry.example", 443, True),
        ("Example", "registry.example", 443, True),
        (".example", "registry.example", 443, True),
        ("*.example", "registry.example", 443, True),
        (".registry.example", "registry.example", 443, False),
        ("gistry.example", "registry.example", 443, False),
        ("other, registry.example:443", "registry.example", 443, True),
        ("registry.example:5000", "registry.example", 443, False),
        ("10.96.0.0/12", "10.96.0.1", 443, True),
        ("10.96.0.0/12", "10.112.0.1", 443, False),
        ("10.96.0.0/12,x/y", "registry.example", 443, False),
        ("10.96.0.1", "10.96.0.1", 6443, True),
        ("10.96.0.1:443", "10.96.0.1", 6443, False),
        ("fd00::/8", "[fd00::1]", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("", "localhost", 443, True),
        ("", "127.8.9.1", 443, True),
        ("", "::1", 443, True),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(
    no_proxy: str, host: str, port: int, *, is_direct: bool
) -> None:
    """
    Networks and ports, too; and this machine is never asked for elsewhere.
    """
    proxy = Proxies(https=PROXY, no_proxy=no_proxy).of("https", host, port)

    assert (None if is_direct else PROXY) == proxy


def test_each_scheme_has_its_proxy() -> None:
    """
    One without a scheme of its own speaks HTTP; none is shown.
    """
    proxies = Proxies(https="user:secret@proxy.example:3128", http="http://other.example")

    assert "http://user:secret@proxy.example:3128" == proxies.of("https", "a.example")
    assert "http://other.example" == proxies.of("http", "a.example")
    assert Proxies().of("https", "a.example") is None
    assert "secret" not in repr(proxies)


def kubeconfig(directory: Path, server: str, *more: str) -> Path:
    """A kubeconfig of a server, with more lines about the cluster."""
    path = directory / "kubeconfig"
    text = KUBECONFIG.format(url=server)
    for line in more:
        text = text.replace("cluster: {server", f"cluster: {{{line}, server")
    path.write_text(text)
    return path


async def test_a_cluster_is_reached_through_its_proxy(tmp_path: Path, certificates: Path) -> None:
    """
    By CONNECT, with the proxy's own credentials; the streams, too.
    """

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"items": [{"metadata": {"name": "a"}}]})

    async with (
        listening_with_tls(certificates / "ours", client=ssl.CERT_NONE, answer=answer) as endpoint,
        proxying(endpoint.removeprefix("tcp://")) as proxy,
    ):
        path = kubeconfig(tmp_path, f"https://{HOST}:6443")
        proxies = Proxies(https=proxy.url.replace("//", "//user:secret@"))
        async with Kubernetes.connect(kubeconfig=path, namespace="", proxies=proxies) as cluster:
            assert 1 == len(await cluster.find("Pod"))
            assert b"" != b"".join([part async for part in cluster.log("p", "c", follow=False)])

    assert {f"CONNECT {HOST}:6443"} == set(proxy.asked)
    assert {"Basic dXNlcjpzZWNyZXQ="} == set(proxy.credentials)


async def test_the_kubeconfigs_own_proxy_comes_first(tmp_path: Path) -> None:
    """
    Wherever the variables would lead, and for a server on this machine as well.
    """
    async with ApiServer.start() as server, proxying(server.url.removeprefix("http://")) as proxy:
        path = kubeconfig(tmp_path, "http://127.0.0.1:1", f'proxy-url: "{proxy.url}"')
        other = Proxies(http="http://127.0.0.1:9")
        async with Kubernetes.connect(kubeconfig=path, namespace="", proxies=other) as kubernetes:
            assert [] == await kubernetes.find("Pod")

        assert ["http://127.0.0.1:1/api/v1/namespaces/ns/pods"] == [
            url.partition("?")[0] for url in proxy.asked
        ]


async def test_a_proxy_that_can_be_none_is_told_without_its_password(tmp_path: Path) -> None:
    """
    Before anything is sent.
    """
    path = kubeconfig(tmp_path, "http://a.example", 'proxy-url: "ftp://u:secret@x"')
    with pytest.raises(Unavailable, match=r"No Kubernetes: the proxy of a\.example") as raised:
        async with Kubernetes.connect(kubeconfig=path, namespace=""):
            pass
    assert "secret" not in str(raised.value)


async def test_a_registry_is_reached_through_its_proxy(certificates: Path) -> None:
    """
    Unless it is to be asked directly.
    """

    async def no_such(_: web.Request) -> web.Response:
        return web.Response(status=404)

    async with (
        listening_with_tls(certificates / "ours", client=ssl.CERT_NONE, answer=no_such) as endpoint,
        proxying(endpoint.removeprefix("tcp://")) as proxy,
    ):
        address = RegistryEndpoint(f"{HOST}:5000", ca_file=certificates / "ours/ca.crt")
        for no_proxy in ("", HOST):
            proxies = Proxies(https=proxy.url, no_proxy=no_proxy)
            async with Registry.connect(
                address, lambda: None, patience=QUICK, proxies=proxies
            ) as registry:
                if no_proxy:
                    with pytest.raises(Unavailable):
                        await registry.digest("a", "latest")
                else:
                    assert await registry.digest("a", "latest") is None

    assert {f"CONNECT {HOST}:5000"} == set(proxy.asked)
