from pathlib import Path

from peitho.clients.kubernetes import statuses
from tests.support.kubernetes_double import ApiServer

LABELS = {"peitho/container": "a"}


async def test_a_job_is_read_by_its_name(tmp_path: Path) -> None:
    """
    One that is not there, or that cannot be read, is none.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.objects["jobs/a"] = {"metadata": {"name": "a", "uid": "u", "labels": LABELS}}
        server.objects["jobs/odd"] = {"metadata": {"name": "odd"}, "status": {"conditions": [1]}}

        found = await statuses.get_job(kubernetes, "a")

        assert found is not None
        assert ("a", "u", "a") == (found.name, found.uid, found.container_label)
        assert await statuses.get_job(kubernetes, "odd") is None
        assert await statuses.get_job(kubernetes, "nobody") is None


async def test_a_list_has_all_that_can_be_read(tmp_path: Path) -> None:
    """
    Of those with the labels: one that is damaged keeps no other from being listed.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        for kind in ("jobs", "pods"):
            server.objects[f"{kind}/a"] = {"metadata": {"name": "a", "labels": LABELS}}
            server.objects[f"{kind}/other"] = {"metadata": {"name": "other", "labels": {}}}
            server.objects[f"{kind}/odd"] = {
                "metadata": {"name": "odd", "labels": LABELS},
                "status": {"conditions": ["odd"]},
            }

        assert ["a"] == [job.name for job in await statuses.find_jobs(kubernetes, LABELS)]
        assert ["a"] == [pod.name for pod in await statuses.find_pods(kubernetes, LABELS)]
