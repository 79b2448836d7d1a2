import shutil
from pathlib import Path

from peitho.clients.docker import DaemonTlsFiles, Docker
from tests.support.docker_double import Dockerd
from tests.support.in_process import Running, running


async def get(peitho: Running, path: str) -> tuple[int, str]:
    """Status and text of the operations listener."""
    async with peitho.http.get(peitho.operations + path) as response:
        return response.status, await response.text()


async def test_peitho_is_ready_once_the_cluster_was_heard(tmp_path: Path) -> None:
    """
    It is alive before that.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.watch.synced.wait()

        assert (200, "ok\n") == await get(peitho, "/healthz")
        assert (200, "ok\n") == await get(peitho, "/readyz")


async def test_without_a_cluster_peitho_is_alive_and_not_ready(tmp_path: Path) -> None:
    """
    A restart would not help it, and peers should not be sent to it.
    """
    async with running(tmp_path, refused=True) as peitho:
        await peitho.cluster.until_asked("GET", "pods")

        assert (200, "ok\n") == await get(peitho, "/healthz")
        assert (503, "the Kubernetes API has not been heard\n") == await get(peitho, "/readyz")


async def test_with_a_daemon_peitho_is_ready_while_it_answers(tmp_path: Path) -> None:
    """
    Its absence is told, with the endpoint and the cause.
    """
    async with (
        Dockerd.start(tmp_path) as daemon,
        daemon.client() as docker,
        running(tmp_path, daemon=docker) as peitho,
    ):
        await peitho.services.watch.synced.wait()
        assert (200, "ok\n") == await get(peitho, "/readyz")

    async with (
        Docker.connect(daemon.endpoint, tls=DaemonTlsFiles()) as docker,
        running(tmp_path, daemon=docker) as peitho,
    ):
        await peitho.services.watch.synced.wait()
        status, text = await get(peitho, "/readyz")
        assert (200, "ok\n") == await get(peitho, "/healthz")
    assert 503 == status
    assert text.startswith(f"The Docker daemon at {daemon.endpoint} cannot be reached: ")


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
