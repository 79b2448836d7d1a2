from pathlib import Path
from typing import Any

import pytest

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.registry.transport import RegistryCredentials
from peitho.formats.kubernetes.objects import Manifest
from peitho.program.checks.finding import Finding
from peitho.program.checks.pull_secrets import Needed, pull_secrets
from peitho.settings.models import Settings
from tests.support.check_findings import brief, gathered
from tests.support.kubernetes_double import ApiServer
from tests.support.pull_secrets import pull_secret, secret_of
from tests.support.registry_double import USER, RegistryDouble

WRONG = RegistryCredentials("robot", "no-word")
AWAY = "127.0.0.1:1"
NOTHING = Needed()


def settings(*chaincode: str, **registry: Any) -> Settings:
    """Settings whose template of chaincode names pull Secrets."""
    names = [{"name": name} for name in chaincode]
    template = {"spec": {"imagePullSecrets": names}} if names else {}
    return Settings.model_validate(
        {"chaincode": {"template": template}, "docker": {"registry": registry}}
    )


def account(*secrets: str) -> Manifest:
    """A ServiceAccount with pull Secrets."""
    return {"metadata": {}, "imagePullSecrets": [{"name": name} for name in secrets]}


async def found_in(
    kubernetes: Kubernetes, chosen: Settings, needed: Needed | None = NOTHING
) -> list[Finding]:
    """What the check finds; no word of an account is in it."""
    found = await gathered(pull_secrets(chosen, kubernetes, needed))
    assert WRONG.password not in repr(found)
    assert USER.password not in repr(found)
    return found


async def test_each_secret_is_told_with_what_it_is_for(tmp_path: Path) -> None:
    """
    With who names it, for which Pods; a registry that is away from here is no fault of it.
    """
    async with (
        RegistryDouble.start(auth="basic") as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        accounts = {double.address: USER, AWAY: USER, "*.x.io/p": USER}
        cluster.make("serviceaccounts/default", account("of-all"))
        cluster.make("secrets/of-all", pull_secret(accounts, "of-all"))
        found = await found_in(kubernetes, settings())

    who = "of-all, which the ServiceAccount default names for Pods of builds and chaincode"
    assert [f"{who}, is for {double.address}, {AWAY}, *.x.io/p"] == [each.said for each in found]
    assert [("pull secrets", "ok")] == brief(found)


async def test_a_secret_that_does_not_help_is_told_with_what_to_do(tmp_path: Path) -> None:
    """
    One that the kubelet cannot read, or a registry refuses, keeps images from nodes.
    """
    names = ("gone", "other", "malformed", "empty", "refused")
    async with (
        RegistryDouble.start(auth="bearer") as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        cluster.make("serviceaccounts/default", account())
        cluster.make("secrets/other", secret_of({}, "tls", "other"))
        cluster.make("secrets/malformed", secret_of([], name="malformed"))
        cluster.make("secrets/empty", pull_secret({}, "empty"))
        cluster.make("secrets/refused", pull_secret({double.address: WRONG}, "refused"))
        found = await found_in(kubernetes, settings(*names))

    said = {name: [each for each in found if each.said.startswith(name)] for name in names}
    status = {name: [each.status for each in lines] for name, lines in said.items()}
    assert {
        "gone": ["warning"],
        "other": ["warning"],
        "malformed": ["wrong"],
        "empty": ["warning"],
        "refused": ["ok", "warning"],
    } == status
    assert "it is not in the namespace" in said["gone"][0].said
    assert f"{double.address} refuses its account" in said["refused"][1].said
    assert all(each.do for each in found if each.status != "ok")


def in_registry_mode(*chaincode: str) -> Settings:
    """Settings with an account at the registry, of which Peitho makes a Secret."""
    own = {"server-address": AWAY, "username": "robot", "password": USER.password}
    chosen = settings(*chaincode, **own)
    peitho = chosen.peitho.model_copy(update={"image_mode": "registry"})
    return chosen.model_copy(update={"peitho": peitho})


async def test_without_a_secret_or_a_right_that_is_told(tmp_path: Path) -> None:
    """
    Pods have the Secret of the registry's account, which is made at the start, and no other then.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        (unknown,) = await found_in(kubernetes, settings())
        alone, made = await found_in(kubernetes, in_registry_mode())

    assert ("warning", True) == (unknown.status, "ServiceAccount default" in unknown.said)
    assert not unknown.said.endswith("alone")
    assert ("warning", True) == (alone.status, "ServiceAccount default" in alone.said)
    assert alone.said.endswith("; Pods have peitho-registry alone")
    said = "peitho-registry is made of the account of docker.registry at the start"
    assert ("ok", said) == (made.status, made.said)


async def test_secrets_of_the_service_account_are_beside_that_of_the_registry(
    tmp_path: Path,
) -> None:
    """
    In all Pods but those whose template names its own.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.make("serviceaccounts/default", account("of-account"))
        cluster.make("secrets/of-account", pull_secret({"*.x.io": USER}, "of-account"))
        both = await found_in(kubernetes, in_registry_mode())
        one = await found_in(kubernetes, in_registry_mode("of-template"))

    who = "of-account, which the ServiceAccount default names for Pods of "
    assert ("ok", f"{who}builds and chaincode, is for *.x.io") in [
        (each.status, each.said) for each in both
    ]
    assert ("ok", f"{who}builds, is for *.x.io") in [(each.status, each.said) for each in one]


async def test_a_secret_is_told_by_who_names_it_for_which_pods(tmp_path: Path) -> None:
    """
    The template of one kind may name what the ServiceAccount names for the other.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        cluster.make("serviceaccounts/default", account("shared"))
        cluster.make("secrets/shared", pull_secret({AWAY: USER}, "shared"))
        (found,) = await found_in(kubernetes, settings("shared"))

    assert (
        "shared, which the ServiceAccount default names for Pods of builds and "
        f"the settings names for Pods of chaincode, is for {AWAY}"
    ) == found.said


async def test_a_secret_that_is_left_out_of_pods_is_told(tmp_path: Path) -> None:
    """
    It would keep the kubelet from every pull; one that a registry refuses does not.
    """
    async with (
        RegistryDouble.start(auth="basic") as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        cluster.make("serviceaccounts/default", account("bad", "stale"))
        cluster.make("secrets/bad", secret_of([], name="bad"))
        cluster.make("secrets/stale", pull_secret({double.address: WRONG}, "stale"))
        found = await found_in(kubernetes, in_registry_mode())

    bad, made, stale, refused = found
    assert ["warning", "ok", "ok", "warning"] == [each.status for each in found]
    assert bad.said.startswith("bad, which the ServiceAccount default names, is left out of Pods")
    assert "malformed" in bad.said
    assert made.said.startswith("peitho-registry")
    assert stale.said.startswith("stale, which")
    assert "refuses its account" in refused.said


@pytest.mark.parametrize(
    ("address", "needs", "said"),
    [
        ("docker.registry", {}, "chaincode/chaincode"),
        ("docker.registry", {"pull": False}, ""),
        ("peitho.pullerImage", {}, "peitho:1"),
        ("builders", {"builders": ("{}/fabric-ccenv:3.1",)}, "fabric-ccenv:3.1"),
        ("builders", {}, ""),
        ("builders", {"builders": ("{}/fabric-ccenv:3.1",), "good": True}, ""),
        ("builders", {"builders": ("{}/fabric-ccenv:3.1",), "daemon": True}, ""),
    ],
)
async def test_a_refused_account_is_wrong_where_nodes_have_no_other_for_an_image(
    tmp_path: Path, address: str, needs: dict[str, Any], said: str
) -> None:
    """
    They try all that are for it. What nobody of ours pulls with it is nobody's fault.
    """
    async with (
        RegistryDouble.start(auth="basic") as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        at = double.address
        cluster.make("serviceaccounts/default", account("stale", *["good"] * needs.get("good", 0)))
        cluster.make("secrets/stale", pull_secret({at: WRONG}, "stale"))
        cluster.make("secrets/good", pull_secret({at: USER}, "good"))
        host = at if needs.get("pull", True) else AWAY
        own = {"server-address": host, "project": "chaincode", "pull-secret": "stale"}
        trees: dict[str, Any] = {
            "docker.registry": {
                "peitho": {"imageMode": "registry", "pullerImage": f"{AWAY}/peitho:1"},
                "docker": {"registry": own | {"insecure": True}},
            },
            "peitho.pullerImage": {"peitho": {"pullerImage": f"{at}/peitho:1"}},
            "builders": {
                "peitho": {"pullerImage": f"{AWAY}/peitho:1"},
                "docker": {"endpoint": "unix:///nobody"} if needs.get("daemon") else {},
            },
        }
        builders = tuple(each.format(at) for each in needs.get("builders", ()))
        found = await found_in(
            kubernetes, Settings.model_validate(trees[address]), Needed(builders)
        )

    (refused,) = [each for each in found if "refuses its account" in each.said]
    assert ("wrong" if said else "warning") == refused.status
    assert not said or f"/{said}, unless it has it" in refused.said


async def test_before_a_start_no_account_is_tried(tmp_path: Path) -> None:
    """
    An init container is tried again and again, and registries lock accounts.
    """
    async with (
        RegistryDouble.start(auth="basic") as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        cluster.make("serviceaccounts/default", account("stale"))
        cluster.make("secrets/stale", pull_secret({double.address: WRONG}, "stale"))
        found = await found_in(kubernetes, settings(), None)

    assert ["ok"] == [each.status for each in found]
    assert [] == double.headers
