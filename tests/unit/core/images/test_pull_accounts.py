from dataclasses import replace
from pathlib import Path

import pytest

from peitho.clients.registry.transport import RegistryCredentials
from peitho.core.images.pull_accounts import FoundAccounts, PullAccounts
from peitho.formats.images import references
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.settings.live import Live
from tests.support.kubernetes_double import ApiServer, always, refusal
from tests.support.manifests import SETTINGS
from tests.support.pull_secrets import pull_secret, secret_of

ROBOT = RegistryCredentials("robot", "word")
GONE = "it is not in the namespace: make it, or name another"
FORBIDDEN = "Peitho may not `get` {}: give its Role this right"
IMAGE = references.parse("x.io/p/i:1")


def pods(*secrets: str) -> PodOptions:
    """Chaincode's Pods, which have these pull Secrets."""
    return replace(SETTINGS, pull_secrets=secrets)


def used(accounts: FoundAccounts) -> list[tuple[str, str]]:
    """The Secrets and their accounts, as they are tried."""
    return [(each.secret, each.username) for each in accounts.accounts]


def service_account(*secrets: str) -> Manifest:
    """A ServiceAccount that has these pull Secrets."""
    return {"metadata": {}, "imagePullSecrets": [{"name": name} for name in secrets]}


async def test_secrets_are_read_at_each_use(tmp_path: Path) -> None:
    """
    One that cannot be read is told, and does not hide the others.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.make("serviceaccounts/default", service_account())
        cluster.make("secrets/good", pull_secret({"x.io": ROBOT}, "good"))
        cluster.make("secrets/bad", secret_of({"auths": {"x.io": {"auth": "word"}}}))
        accounts = PullAccounts(kubernetes, Live(pods("bad", "gone", "good")))

        found = await accounts.find(IMAGE)
        assert [("good", "robot")] == used(found)
        assert [
            "the pull secret bad does not count: its .dockerconfigjson is malformed",
            f"the pull secret gone does not count: {GONE}",
        ] == found.problems
        del cluster.objects["secrets/good"]
        assert [] == used(await accounts.find(IMAGE))


async def test_a_right_that_is_missing_is_named(tmp_path: Path) -> None:
    """
    The image may be one that anybody may read, so it is no error yet.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        for path in ("secrets/mine", "serviceaccounts/default"):
            cluster.rule("GET", path, always(lambda: refusal(403, "Forbidden", "no")))
        found = await PullAccounts(kubernetes, Live(pods("mine"))).find(IMAGE)

    assert [] == used(found)
    assert [
        "the pull secrets of the ServiceAccount default are not known: "
        + FORBIDDEN.format("serviceaccounts"),
        f"the pull secret mine does not count: {FORBIDDEN.format('secrets')}",
    ] == found.problems


@pytest.mark.parametrize(
    ("spec", "account", "tried"),
    [
        ({}, "default", ["of-peitho", "of-account"]),
        ({"serviceAccountName": "own"}, "own", ["of-peitho", "of-account"]),
        ({"imagePullSecrets": [{"name": "of-template"}]}, "default", ["of-peitho", "of-template"]),
    ],
)
async def test_a_service_accounts_secrets_count_unless_the_template_names_some(
    tmp_path: Path, spec: Manifest, account: str, tried: list[str]
) -> None:
    """
    As the API server's admission has it; the one that Peitho adds by itself hides none.
    """
    names = ("of-peitho", "of-template", "of-account")
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.make(f"serviceaccounts/{account}", service_account("of-account", "of-peitho"))
        for name in names:
            cluster.make(f"secrets/{name}", pull_secret({"x.io": ROBOT}, name))
        options = replace(pods("of-peitho"), template={"spec": spec})
        found = await PullAccounts(kubernetes, Live(options)).find(IMAGE)

    assert tried == [each.secret for each in found.accounts]
    assert [] == found.problems
