import shutil
from pathlib import Path

from peitho.api import health
from peitho.clients.docker import DaemonTlsFiles, Docker
from tests.support.contexts import chunks, context
from tests.support.docker_double import Dockerd
from tests.support.in_process import Running, listening, running
from tests.support.kubernetes_double import always, refusal


async def get(peitho: Running, path: str) -> tuple[int, str]:
    """Status and text of the operations listener."""
    async with peitho.http.get(peitho.operations + path) as response:
        return response.status, await response.text()


async def test_peitho_is_ready_once_it_serves(tmp_path: Path) -> None:
    """
    Whether or not the cluster was heard yet.
    """
    async with running(tmp_path) as peitho:
        assert (200, "ok\n") == await get(peitho, "/healthz")
        assert (200, "ok\n") == await get(peitho, "/readyz")


async def test_without_a_cluster_peers_are_still_told_of_their_images(tmp_path: Path) -> None:
    """
    A 2.x peer asks for them at its start, and remembers for its life that it was refused.
    """
    async with running(tmp_path, refused=True) as peitho:
        peitho.cluster.rule("GET", "pods", always(lambda: refusal(503, "", "starting")))
        await peitho.services.images.build("mycc", chunks(context()))
        await peitho.cluster.until_asked("GET", "pods")

        assert (200, "ok\n") == await get(peitho, "/readyz")
        for path in ("/_ping", "/version", "/images/mycc/json"):
            assert 200 == (await peitho.ask("GET", path))[0]
        assert 404 == (await peitho.ask("GET", "/images/other/json"))[0]
        status, text = await get(peitho, "/readyz?verbose")
        _, metrics = await get(peitho, "/metrics")

    told = "[+]data directory ok\n[-]cluster: the Kubernetes API has not been heard\nready\n"
    assert (200, told) == (status, text)
    assert 'peitho_reachable{part="cluster"} 0.0' in metrics


async def test_a_daemon_that_is_away_is_told(tmp_path: Path) -> None:
    """
    With the endpoint and the cause; peers are served from the store meanwhile.
    """
    async with (
        Dockerd.start(tmp_path) as daemon,
        daemon.client() as docker,
        running(tmp_path, daemon=docker) as peitho,
    ):
        await peitho.services.watch.synced.wait()
        told = "[+]data directory ok\n[+]cluster ok\n[+]daemon ok\nready\n"
        assert (200, told) == await get(peitho, "/readyz?verbose")

    async with (
        Docker.connect(daemon.endpoint, tls=DaemonTlsFiles()) as docker,
        running(tmp_path, daemon=docker) as peitho,
    ):
        status, text = await get(peitho, "/readyz?verbose")
        assert (200, "ok\n") == await get(peitho, "/readyz")
    assert 200 == status
    assert f"\n[-]daemon: The Docker daemon at {daemon.endpoint} cannot be reached: " in text


async def test_metrics_are_in_prometheus_text_format(tmp_path: Path) -> None:
    """
    A request is counted by its route, not by its path.
    """
    async with running(tmp_path) as peitho:
        await peitho.ask("GET", "/v1.51/containers/some-name/json")
        status, text = await get(peitho, "/metrics")

    assert 200 == status
    assert "peitho_requests_total{" in text
    assert "/containers/{id}/json" in text
    assert "some-name" not in text


async def test_without_its_data_directory_peitho_is_alive_and_not_ready(tmp_path: Path) -> None:
    """
    The cause is told, and peers are not sent to it.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.watch.synced.wait()
        shutil.rmtree(tmp_path / "data")

        status, text = await get(peitho, "/readyz")

        assert 503 == status
        assert text.startswith("The data directory cannot be used (No such file or directory: ")
        assert (200, "ok\n") == await get(peitho, "/healthz")


async def test_an_open_docker_api_is_told(tmp_path: Path) -> None:
    """
    It is no reason not to be ready.
    """
    async with (
        running(tmp_path) as peitho,
        listening(health.application(peitho.services, is_open=True)) as url,
        peitho.http.get(f"{url}/readyz?verbose") as response,
    ):
        assert 200 == response.status
        told = await response.text()

    assert "[!]docker api is open to whoever reaches it: see server.tls" in told
