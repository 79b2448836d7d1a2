import asyncio
import base64
from pathlib import Path

import pytest

from peitho.clients.registry.registries import RegistryAccount, RegistryAccountOptions
from peitho.core.images.pull_secret import PullSecret, PullSecretOptions
from peitho.errors import Conflict
from peitho.settings.live import Live, Replaceable
from tests.support.accounts import account
from tests.support.kubernetes_double import ApiServer, always, refusal

KEY = "secrets/peitho-registry"


def options(*, email: str = "", is_wanted: bool = True) -> PullSecretOptions:
    """For a registry at `x.io`."""
    return PullSecretOptions(is_wanted, instance="peitho", host="x.io", email=email)


def kept(cluster: ApiServer) -> str:
    """What the cluster has for the kubelet."""
    return base64.b64decode(cluster.objects[KEY]["data"][".dockerconfigjson"]).decode()


async def test_a_pull_secret_is_made_and_follows_the_account(tmp_path: Path) -> None:
    """
    When the file with the password changes; nothing is sent while it does not.
    """
    password = tmp_path / "password"
    password.write_text("one")
    robot = account("robot", password_file=password)
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        secret = PullSecret(kubernetes, robot, Live(options()))

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
            robot = account("robot", password)
            await PullSecret(kubernetes, robot, Live(options())).put()

        assert '"two"' in kept(cluster)


async def test_a_secret_of_others_is_left_alone(tmp_path: Path) -> None:
    """
    With what to do about it.
    """
    theirs = {"metadata": {"name": "peitho-registry"}, "data": {}}
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.objects[KEY] = theirs
        secret = PullSecret(kubernetes, account("r", "p"), Live(options()))

        with pytest.raises(Conflict, match=r"not Peitho's: name it in docker\.registry\.pull-sec"):
            await secret.put()

        assert {} == cluster.objects[KEY]["data"]


async def test_nobody_in_particular_needs_no_secret(tmp_path: Path) -> None:
    """
    Nothing is asked.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        await PullSecret(kubernetes, account(), Live(options())).put()

        assert [] == cluster.requests


async def test_a_secret_that_is_not_wanted_is_not_made(tmp_path: Path) -> None:
    """
    It may become so, and with another address.
    """
    robot = Replaceable(RegistryAccountOptions("r", "p"))
    wanted = Replaceable(options(is_wanted=False))
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        secret = PullSecret(kubernetes, RegistryAccount(robot), wanted)
        await secret.put()
        assert [] == cluster.requests

        wanted.now = options(email="a@b.c")
        robot.now = RegistryAccountOptions("other", "two")
        await secret.put()
        assert '"a@b.c"' in kept(cluster)
        assert '"two"' in kept(cluster)


async def test_a_cluster_that_refuses_is_asked_again(tmp_path: Path) -> None:
    """
    Until it does not.
    """
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        cluster.script("POST", "secrets", always(lambda: refusal(503, "", "starting")))
        secret = PullSecret(kubernetes, account("r", "p"), Live(options()))
        running = group.create_task(secret.run())
        await cluster.until_asked("POST", "secrets", times=2)
        running.cancel()
