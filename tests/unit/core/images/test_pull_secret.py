import asyncio
import base64
from pathlib import Path

import pytest

from peitho.clients.registry.registries import RegistryAccount
from peitho.core.images.pull_secret import PullSecret
from peitho.errors import Conflict
from tests.support.kubernetes_double import ApiServer, always, refusal

KEY = "secrets/peitho-registry"


def kept(cluster: ApiServer) -> str:
    """What the cluster has for the kubelet."""
    return base64.b64decode(cluster.objects[KEY]["data"][".dockerconfigjson"]).decode()


async def test_a_pull_secret_is_made_and_follows_the_account(tmp_path: Path) -> None:
    """
    When the file with the password changes; nothing is sent while it does not.
    """
    password = tmp_path / "password"
    password.write_text("one")
    account = RegistryAccount("robot", password_file=password)
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        secret = PullSecret(kubernetes, account, instance="peitho", host="x.io", email="")

        await secret.put()
        await secret.put()
        assert 1 == len(cluster.requests)
        assert '"one"' in kept(cluster)

        password.write_text("two")
        await secret.put()
        assert '"two"' in kept(cluster)


async def test_a_pull_secret_of_an_earlier_run_is_taken_over(tmp_path: Path) -> None:
    """
    With the account as it is now.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        for password in ("one", "two"):
            account = RegistryAccount("robot", password)
            await PullSecret(kubernetes, account, instance="peitho", host="x.io", email="").put()

        assert '"two"' in kept(cluster)


async def test_a_secret_of_others_is_left_alone(tmp_path: Path) -> None:
    """
    With what to do about it.
    """
    theirs = {"metadata": {"name": "peitho-registry"}, "data": {}}
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.objects[KEY] = theirs
        secret = PullSecret(
            kubernetes, RegistryAccount("r", "p"), instance="peitho", host="x", email=""
        )

        with pytest.raises(Conflict, match=r"not Peitho's: name it in docker\.registry\.pull-sec"):
            await secret.put()

        assert {} == cluster.objects[KEY]["data"]


async def test_nobody_in_particular_needs_no_secret(tmp_path: Path) -> None:
    """
    Nothing is asked.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        await PullSecret(
            kubernetes, RegistryAccount(), instance="peitho", host="x.io", email=""
        ).put()

        assert [] == cluster.requests


async def test_a_secret_that_is_not_wanted_is_not_made(tmp_path: Path) -> None:
    """
    It may become so, and with another address.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        account = RegistryAccount("r", "p")
        secret = PullSecret(kubernetes, account, instance="peitho", host="x.io", email="")
        secret.is_wanted = False
        await secret.put()
        assert [] == cluster.requests

        secret.is_wanted, secret.email = True, "a@b.c"
        account.become(RegistryAccount("other", "two"))
        await secret.put()
        assert '"a@b.c"' in kept(cluster)
        assert '"two"' in kept(cluster)


async def test_a_cluster_that_refuses_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Until it does not.
    """
    monkeypatch.setattr("peitho.core.images.pull_secret._PAUSE_SECONDS", 0.01)
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        cluster.script("POST", "secrets", always(lambda: refusal(503, "", "starting")))
        secret = PullSecret(
            kubernetes, RegistryAccount("r", "p"), instance="peitho", host="x", email=""
        )
        running = group.create_task(secret.run())
        await cluster.until_asked("POST", "secrets", times=2)
        running.cancel()
