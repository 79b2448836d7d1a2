from dataclasses import replace
from pathlib import Path

from peitho.clients.registry.transport import RegistryCredentials
from peitho.core.images.pull_accounts import PullAccounts
from peitho.formats.images import references
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.settings.live import Live
from tests.support.kubernetes_double import ApiServer, always, refusal
from tests.support.manifests import SETTINGS
from tests.support.pull_secrets import pull_secret, secret_of

ROBOT = RegistryCredentials("robot", "word")
GONE = "it is not in the namespace: make it, or name another"
FORBIDDEN = "Peitho may not `get` secrets: give its Role this right"
IMAGE = references.parse("x.io/p/i:1")


def pods(*secrets: str) -> PodOptions:
    """Chaincode's Pods, which have these pull Secrets."""
    return replace(SETTINGS, pull_secrets=secrets)


async def test_secrets_are_read_at_each_use(tmp_path: Path) -> None:
    """
    One that cannot be read is told, and does not hide the others.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.make("secrets/good", pull_secret({"x.io": ROBOT}))
        cluster.make("secrets/bad", secret_of({"auths": {"x.io": {"auth": "word"}}}))
        accounts = PullAccounts(kubernetes, Live(pods("bad", "gone", "good")))

        found = await accounts.find(IMAGE)
        assert ROBOT == found.credentials
        assert [
            "the pull secret bad does not count: its .dockerconfigjson is malformed",
            f"the pull secret gone does not count: {GONE}",
        ] == found.problems
        del cluster.objects["secrets/good"]
        assert (await accounts.find(IMAGE)).credentials is None


async def test_a_right_that_is_missing_is_named(tmp_path: Path) -> None:
    """
    The image may be one that anybody may read, so it is no error yet.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.rule("GET", "secrets/mine", always(lambda: refusal(403, "Forbidden", "no")))
        found = await PullAccounts(kubernetes, Live(pods("mine"))).find(IMAGE)

    assert found.credentials is None
    assert [
        f"the pull secret mine does not count: {FORBIDDEN}",
    ] == found.problems
