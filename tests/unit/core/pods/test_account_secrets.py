"""The pull Secrets of ServiceAccounts, on a double of the API server."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from peitho.clients.registry.transport import RegistryCredentials
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.formats.kubernetes import user_namespace
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from tests.support import manifests
from tests.support.kubernetes_double import ApiServer, always, refusal
from tests.support.manifests import SETTINGS
from tests.support.pull_secrets import pull_secret, secret_of

OWN = "peitho-registry"
ROBOT = RegistryCredentials("robot", "word")


def options(spec: Manifest | None = None, *secrets: str) -> PodOptions:
    """What the operator decided: a template, and the Secrets that Peitho names."""
    template = {"spec": spec} if spec else {}
    return replace(SETTINGS, template=template, pull_secrets=secrets or (OWN,))


def account(*secrets: str) -> Manifest:
    """A ServiceAccount that has these pull Secrets."""
    return {"metadata": {}, "imagePullSecrets": [{"name": name} for name in secrets]}


def build(chosen: PodOptions) -> Manifest:
    """The Pod of a build."""
    return manifests.build(settings=chosen)


def job(chosen: PodOptions) -> Manifest:
    """The Job of chaincode."""
    return manifests.job(manifests.record(), settings=chosen)


def names(made: Manifest) -> list[str]:
    """The pull Secrets of a Pod, or of a Job's Pod."""
    spec: dict[str, Any] = user_namespace.pod_of(made)["spec"]
    return [each["name"] for each in spec.get("imagePullSecrets", ())]


def given(server: ApiServer) -> None:
    """Two ServiceAccounts, with Secrets of their own."""
    server.make("serviceaccounts/default", account("mirror", OWN))
    server.make("serviceaccounts/mine", account("mine"))
    for name in ("mirror", "mine"):
        server.make(f"secrets/{name}", pull_secret({"x.io": ROBOT}, name))


@pytest.mark.parametrize("make", [build, job], ids=["build", "chaincode"])
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (None, [OWN, "mirror"]),
        ({"serviceAccountName": "mine"}, [OWN, "mine"]),
        ({"serviceAccount": "mine"}, [OWN, "mine"]),
        ({"serviceAccountName": "gone"}, [OWN]),
        ({"imagePullSecrets": [{"name": "of-template"}]}, ["of-template", OWN]),
        ({"imagePullSecrets": [{"name": OWN}]}, [OWN]),
        ({"imagePullSecrets": [{"name": OWN, "$patch": "delete"}]}, []),
    ],
)
async def test_a_pod_has_those_of_its_service_account_beside_peithos(
    tmp_path: Path, make: Any, spec: Manifest | None, expected: list[str]
) -> None:
    """
    Kubernetes gives none to a Pod that has one; what the operator's template names is all.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        given(server)
        chosen = options(spec)
        made = make(chosen)
        found = await AccountSecrets(kubernetes).added(made, chosen)

    assert expected == names(found)
    assert {key: value for key, value in made.items() if key != "spec"}.items() <= found.items()


async def test_a_pod_without_any_is_left_to_kubernetes(tmp_path: Path) -> None:
    """
    Nothing is asked for it.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        made = build(SETTINGS)
        assert made is await AccountSecrets(kubernetes).added(made, SETTINGS)

    assert [] == server.requests


async def test_one_that_would_keep_nodes_from_every_pull_is_left_out(tmp_path: Path) -> None:
    """
    A malformed one; one that is missing, or of another type, the kubelet passes over.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.make("serviceaccounts/default", account("bad", "gone", "tls"))
        server.make("secrets/bad", secret_of([], name="bad"))
        server.make("secrets/tls", secret_of({}, "tls", "tls"))
        found = await AccountSecrets(kubernetes).added(build(options()), options())

    assert [OWN, "gone", "tls"] == names(found)


async def test_without_the_right_it_is_as_before_and_told_once(tmp_path: Path) -> None:
    """
    An earlier Role has no such right.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.rule(
            "GET", "serviceaccounts/default", always(lambda: refusal(403, "Forbidden", "no"))
        )
        secrets = AccountSecrets(kubernetes)
        with capture_logs() as lines:
            for _ in range(3):
                assert [OWN] == names(await secrets.added(build(options()), options()))
                await asyncio.sleep(60)

    assert ["pull secrets not known"] == [each["event"] for each in lines]


async def test_many_launches_ask_once_and_a_change_is_seen(tmp_path: Path) -> None:
    """
    Ten seconds later.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        given(server)
        secrets = AccountSecrets(kubernetes)
        for _ in range(3):
            assert [OWN, "mirror"] == names(await secrets.added(build(options()), options()))
        assert 1 == server.count("GET", "serviceaccounts/default")

        server.objects["serviceaccounts/default"] = account()
        await asyncio.sleep(10)
        assert [OWN] == names(await secrets.added(build(options()), options()))
