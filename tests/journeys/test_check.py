"""`peitho check` on set-ups that are broken for real: each is named, with what to do."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from peitho.formats.kubernetes import record_secrets
from peitho.formats.records import ContainerSpec
from tests.lab import registry as lab
from tests.lab.cluster import Cluster
from tests.lab.peitho import PROJECT, Peitho, namespace
from tests.lab.registry import ACCOUNT, Running
from tests.support.certificates import write

Tree = dict[str, Any]
# What an account of a Role without this may not do.
ALL_BUT_JOBS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


@dataclass(frozen=True, slots=True)
class SetUp:
    """A set-up that is well: a Peitho that is not started, and its settings."""

    peitho: Peitho
    folder: Path
    registry: Running

    @property
    def settings(self) -> Tree:
        """What its file says."""
        tree: Tree = yaml.safe_load((self.peitho.folder / "peitho.yml").read_text())
        return tree

    def apply(self, kind: str, name: str, **content: Any) -> None:
        """Make an object in the namespace."""
        version = content.pop("apiVersion", "v1")
        metadata = {"name": name, "namespace": self.peitho.namespace}
        self.peitho.cluster.apply(
            {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry that wants a password."""
    with lab.registry(tmp_path_factory.mktemp("registry"), password=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def set_up(
    cluster: Cluster, registry: Running, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SetUp]:
    """A namespace with Peitho's account and its rights."""
    folder = tmp_path_factory.mktemp("check")
    async with namespace(cluster) as name:
        peitho = await asyncio.to_thread(Peitho, cluster, name, folder, settings={})
        yield SetUp(peitho, folder, registry)


def checked(settings: Tree, folder: Path, *flags: str) -> tuple[int, list[dict[str, str]]]:
    """The exit status of a check, and what it found; without Pods, unless flags say otherwise."""
    file = folder / "checked.yml"
    file.write_text(yaml.safe_dump(settings))
    flags = flags or ("--without-pods",)
    command = [sys.executable, "-m", "peitho", "check", "-c", str(file), "--output=json", *flags]
    env = os.environ | {"PYTHONPATH": str(PROJECT / "src")}  # noqa: TID251
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def with_registry(set_up: SetUp, settings: Tree, **more: Any) -> None:
    """Have images pushed to the registry."""
    registry = {
        "server-address": set_up.registry.address,
        "project": "chaincode",
        "username": ACCOUNT.username,
        "password": ACCOUNT.password,
        "insecure": True,
    }
    settings["peitho"]["imageMode"] = "registry"
    settings["docker"] = {"registry": registry | more}


def with_tls(set_up: SetUp, settings: Tree, certificate: str, key: str = "") -> None:
    """Have a certificate at the Docker API."""
    settings["server"]["tls"] = {
        "cert-file": str(set_up.folder / f"{certificate}.crt"),
        "key-file": str(set_up.folder / f"{key or certificate}.key"),
    }


def test_a_set_up_that_is_well_is_told_so(set_up: SetUp) -> None:
    """
    Nothing is wrong, with a registry too, and nothing stays of the check.
    """
    settings = set_up.settings
    with_registry(set_up, settings)

    status, found = checked(settings, set_up.folder)

    assert (0, []) == (status, wrong(found))
    names = {each["name"] for each in found}
    assert {"Kubernetes", "clock", "rights", "admission", "registry", "storage"} <= names
    assert [] == set_up.peitho.objects("pods")


@pytest.mark.timeout(120)
async def test_pods_have_their_images_and_reach_what_they_need(set_up: SetUp) -> None:
    """
    Where Peitho runs; what a Pod lacks, or does not reach, is told as it sees it.
    """
    peitho = set_up.peitho
    images = ("--builder-image=hyperledger/fabric-ccenv:2.5",)
    lacking = (*images, "--runtime-image=127.0.0.1:1/hyperledger/fabric-nosuch:9.9")
    await peitho.begin()
    try:
        well = await asyncio.to_thread(checked, set_up.settings, set_up.folder, *images)
        broken = set_up.settings
        broken["peitho"]["pullerAccessAddress"] = "peitho.invalid:8081"
        told = await asyncio.to_thread(checked, broken, set_up.folder, *lacking)
        no_helper = set_up.settings
        no_helper["peitho"]["pullerImage"] = "127.0.0.1:1/peitho:nosuch"
        last = await asyncio.to_thread(checked, no_helper, set_up.folder, *images)
    finally:
        await peitho.end()

    assert (0, []) == (well[0], wrong(well[1]))
    assert f"{peitho.delivery} is reached from a Pod" in [each["said"] for each in well[1]]
    assert ["images", "delivery"] == [each["name"] for each in wrong(told[1])]
    assert "fabric-nosuch:9.9" in wrong(told[1])[0]["said"]
    assert "peitho.invalid:8081 is not reached from a Pod" in wrong(told[1])[1]["said"]
    assert ["delivery"] == [each["name"] for each in wrong(last[1])]
    assert [] == [each for each in peitho.objects("jobs") if "trial" in each["metadata"]["name"]]


def wrong(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """The lines that say so."""
    return [each for each in found if each["status"] == "wrong"]


def no_right(set_up: SetUp, _: Tree) -> None:
    """The Role is not that of deploy/."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "rules": [ALL_BUT_JOBS]}
    set_up.apply("Role", "peitho", **role)


def no_namespace(_: SetUp, settings: Tree) -> None:
    """The namespace is misspelled."""
    settings["k8s"]["namespace"] = "no-such-namespace"


def root(_: SetUp, settings: Tree) -> None:
    """Builds are to run as root where that is not admitted."""
    settings["builder"] = {"user": 0}


def quota(set_up: SetUp, _: Tree) -> None:
    """No Pod has room."""
    set_up.apply("ResourceQuota", "check", spec={"hard": {"pods": "0"}})


def limits(set_up: SetUp, _: Tree) -> None:
    """No container may be as large as ours."""
    most = {"type": "Container", "max": {"memory": "1Mi"}}
    set_up.apply("LimitRange", "check", spec={"limits": [most]})


def no_directory(set_up: SetUp, settings: Tree) -> None:
    """A file is where the data directory is to be."""
    settings["dataDir"] = str(set_up.folder / "peitho.yml")


def wrong_password(set_up: SetUp, settings: Tree) -> None:
    """The registry does not know it."""
    with_registry(set_up, settings, password="0" * 9)


def no_registry(set_up: SetUp, settings: Tree) -> None:
    """Nobody listens at its address."""
    with_registry(set_up, settings, **{"server-address": "127.0.0.1:1"})


def no_daemon(set_up: SetUp, settings: Tree) -> None:
    """Nobody listens at its socket."""
    settings["docker"] = {"endpoint": f"unix://{set_up.folder}/nobody.sock"}


def other_key(set_up: SetUp, settings: Tree) -> None:
    """The key is that of another certificate."""
    for name in ("one", "other"):
        write(set_up.folder, name)
    with_tls(set_up, settings, "one", "other")


def ended(set_up: SetUp, settings: Tree) -> None:
    """The certificate was not renewed."""
    write(set_up.folder, "ended", begins=-90, ends=-1)
    with_tls(set_up, settings, "ended")


def no_names(set_up: SetUp, settings: Tree) -> None:
    """The certificate has a common name alone."""
    write(set_up.folder, "nameless", names=())
    with_tls(set_up, settings, "nameless")


def no_peer(set_up: SetUp, _: Tree) -> None:
    """A chaincode's peer is gone."""
    _launched(set_up, "127.0.0.1:1")


def _launched(set_up: SetUp, peer: str) -> None:
    """A chaincode that is to call a peer."""
    secret = record_secrets.chaincode_secret(
        instance="peitho",
        container_id="0" * 64,
        name="lost",
        spec=ContainerSpec("mycc", ("chaincode", f"-peer.address={peer}"), (), ()),
        token="",
        created="2026-01-02T03:04:05Z",
    )
    secret["metadata"]["namespace"] = set_up.peitho.namespace
    set_up.peitho.cluster.apply(secret)


def no_chain(set_up: SetUp, settings: Tree) -> None:
    """What comes behind the certificate is not its issuer's."""
    write(set_up.folder, "issued", issuer="issuer")
    write(set_up.folder, "stranger")
    files = [set_up.folder / f"{name}.crt" for name in ("issued", "stranger")]
    (set_up.folder / "chain.crt").write_bytes(b"".join(each.read_bytes() for each in files))
    with_tls(set_up, settings, "chain", "issued")


def no_host(set_up: SetUp, _: Tree) -> None:
    """No DNS knows the name that a peer has given."""
    _launched(set_up, "peer0.no-such-org.invalid:7052")


def no_token(set_up: SetUp, settings: Tree) -> None:
    """The account's token is good no more."""
    kubeconfig = json.loads((set_up.folder / "kubeconfig").read_text())
    kubeconfig["users"][0]["user"] = {"token": "0" * 9}
    settings["k8s"]["kubeconfig"] = changed(set_up, kubeconfig)


def no_cluster(set_up: SetUp, settings: Tree) -> None:
    """Nobody listens where the API server is to be."""
    kubeconfig = json.loads((set_up.folder / "kubeconfig").read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    settings["k8s"]["kubeconfig"] = changed(set_up, kubeconfig)


def bad_template(_: SetUp, settings: Tree) -> None:
    """The cluster takes no such Pod."""
    template = {
        "spec": {"containers": [{"name": "chaincode", "env": [{"name": "A", "valueFrom": {}}]}]}
    }
    settings["chaincode"] = {"template": template}


def changed(set_up: SetUp, kubeconfig: Tree) -> str:
    """Another kubeconfig; where it is."""
    path = set_up.folder / "changed.json"
    path.write_text(json.dumps(kubeconfig))
    return str(path)


BROKEN: tuple[tuple[Callable[[SetUp, Tree], None], str, str], ...] = (
    (no_right, "rights", "may not create jobs"),
    (no_namespace, "rights", "may not create pods in no-such-namespace"),
    (root, "Pod Security", "runAsNonRoot"),
    (quota, "quota", "exceeded quota: check"),
    (limits, "LimitRange", "memory limit of 1Mi"),
    (no_directory, "storage", "cannot be written"),
    (wrong_password, "registry", "401"),
    (no_registry, "registry", "cannot be reached"),
    (no_daemon, "Docker daemon", "nobody.sock"),
    (other_key, "certificates", "the key is not that of the certificate"),
    (ended, "certificates", "has ended"),
    (no_names, "certificates", "has no names"),
    (no_peer, "peers", "127.0.0.1:1 cannot be reached"),
    (no_chain, "certificates", "not in order"),
    (no_host, "peers", "peer0.no-such-org.invalid:7052 cannot be reached"),
    (no_token, "Kubernetes", "Unauthorized"),
    (no_cluster, "Kubernetes", "cannot be reached"),
    (bad_template, "templates", "chaincode.template"),
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("breaking", "name", "said"), BROKEN, ids=[each[0].__name__ for each in BROKEN]
)
def test_what_is_broken_is_named(
    set_up: SetUp, breaking: Callable[[SetUp, Tree], None], name: str, said: str
) -> None:
    """
    In a line of its own name, with what to do; the exit status tells it, too.
    """
    settings = set_up.settings
    with mended(set_up):
        breaking(set_up, settings)
        status, found = checked(settings, set_up.folder)

    told = wrong(found)
    assert 1 == status
    assert any(name == each["name"] and said in each["said"] and each["do"] for each in told), told


@contextmanager
def mended(set_up: SetUp) -> Iterator[None]:
    """Mend what a story breaks in the cluster."""
    role = json.loads(set_up.peitho.kubectl("get", "role", "peitho", "-o", "json"))
    try:
        yield
    finally:
        set_up.apply("Role", "peitho", apiVersion=role["apiVersion"], rules=role["rules"])
        delete = ("delete", "resourcequota,limitrange,secret", "--all", "--wait=true")
        set_up.peitho.kubectl(*delete)
