"""The admission policy in deploy/: what Peitho may not write, though its account has the rights."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import pytest_asyncio
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from tests.journeys import hostile_writes, whole_life
from tests.journeys.hostile_writes import FOREIGN, HONEST, HOSTILE, Write
from tests.lab import admission
from tests.lab.asked import granted, right_of
from tests.lab.cluster import Cluster
from tests.lab.pairs import DELIVERY, PODS, REGISTRY, Pair
from tests.lab.peitho import Peitho, account_kubeconfig, namespace
from tests.lab.registry import Running
from tests.support.observe import until

GROUPS = {
    "jobs": "apis/batch/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "rolebindings": "apis/rbac.authorization.k8s.io/v1",
}
BOUND = next(each for each in HOSTILE if each.what == "a foreign image")
SHIPPED_IMAGES = ("*/fabric-*", "docker.io/peitho/peitho")


@dataclass(frozen=True, slots=True)
class Thief:
    """Somebody with Peitho's token, and with all rights besides: no refusal is RBAC's."""

    client: httpx.Client
    namespace: str
    elsewhere: str

    def is_in_the_role(self, write: Write) -> bool:
        """Whether the Role that is shipped would let it pass."""
        path = f"/{self._path(write)}".partition("?")[0]
        return not write.elsewhere and right_of(write.method, path, {}) in granted()

    def _path(self, write: Write) -> str:
        space = self.elsewhere if write.elsewhere else self.namespace
        group = GROUPS.get(write.path.partition("/")[0], "api/v1")
        return f"{group}/namespaces/{space}/{write.path}"

    def attempt(self, write: Write) -> tuple[int, str]:
        """The status and the words that a write gets, as a dry run where that can be."""
        space = self.elsewhere if write.elsewhere else self.namespace
        kind = "merge-patch+json" if write.method == "PATCH" else "json"
        text = json.dumps(write.body).replace("NAMESPACE", space) if write.body else ""
        answer = self.client.request(
            write.method,
            self._path(write),
            params=None if "?" in write.path else {"dryRun": "All"},
            content=text.encode(),
            headers={"Content-Type": f"application/{kind}"},
        )
        return answer.status_code, answer.text

    def is_bound(self) -> bool:
        """Whether the policy is in force: API servers follow it a moment later."""
        return "ValidatingAdmissionPolicy" in self.attempt(BOUND)[1]


@contextmanager
def having(kubeconfig: Path) -> Iterator[httpx.Client]:
    """A client with the credentials of a file."""
    config = KubeConfig.from_file(kubeconfig).get()
    assert config is not None
    with Client(config, ConnectionParams()) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def thief(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Thief]:
    """A thief in a namespace without Pod Security, where objects of others are, too."""
    folder = tmp_path_factory.mktemp("thief")
    async with (
        namespace(cluster, level="privileged") as own,
        namespace(cluster, level="privileged") as other,
    ):
        path = await asyncio.to_thread(account_kubeconfig, cluster, own, folder)
        await asyncio.to_thread(_furnish, cluster, own, other)
        with having(path) as client:
            yield Thief(client, own, other)


def _furnish(cluster: Cluster, own: str, other: str) -> None:
    cluster.run_kubectl("label", "namespace", other, "peitho/chaincode-")
    admin = ("--clusterrole=cluster-admin", f"--serviceaccount={own}:peitho")
    for space in (own, other):
        cluster.run_kubectl("-n", space, "create", "rolebinding", "all", *admin)
    labels = hostile_writes.secret()["metadata"]["labels"]
    nowhere = {
        "nodeSelector": {"there": "is-none"},
        "automountServiceAccountToken": False,
        "containers": [{"name": "x", "image": "x"}],
    }
    cluster.apply(
        _object("Secret", FOREIGN, own),
        _object("Secret", "own", own, labels=labels, type="peitho/build"),
        _object("ServiceAccount", FOREIGN, own),
        _object("Pod", FOREIGN, own, spec=nowhere),
        _object("Pod", "own", own, labels=labels, spec=nowhere),
    )


def _object(
    kind: str, name: str, namespace: str, *, labels: Mapping[str, str] | None = None, **fields: Any
) -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata} | fields


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def without_policy(thief: Thief) -> dict[str, tuple[int, str]]:
    """What each hostile write gets before the policy is there."""
    return {each.what: await asyncio.to_thread(thief.attempt, each) for each in HOSTILE}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def with_policy(
    thief: Thief, cluster: Cluster, without_policy: dict[str, tuple[int, str]]
) -> AsyncIterator[None]:
    """The policy as it is shipped, in force."""
    assert without_policy
    async with admission.policy(cluster, thief.namespace):
        await until(thief.is_bound)
        yield


@pytest.mark.usefixtures("with_policy")
@pytest.mark.parametrize("write", HOSTILE, ids=lambda each: each.what)
def test_a_hostile_write_is_refused_by_the_policy_alone(
    thief: Thief,
    without_policy: dict[str, tuple[int, str]],
    write: Write,
) -> None:
    """
    Neither RBAC nor Pod Security refuses it, and the policy says what is wrong with it.
    """
    code, words = thief.attempt(write)

    assert 422 == code, words
    assert f"ValidatingAdmissionPolicy '{thief.namespace}'" in words
    assert write.words in words
    before, said = without_policy[write.what]
    assert "ValidatingAdmissionPolicy" not in said
    assert before in (200, 201) or write.what in NOT_DRY, (before, said)


# A command is run or not, and this Pod has no process; a node of choice is not there.
NOT_DRY = ("a command in a Pod",)


def test_most_of_them_are_within_the_rights_of_the_role(thief: Thief) -> None:
    """
    So that with the Role alone they would be admitted; the others RBAC refuses as well.
    """
    within = [write.what for write in HOSTILE if thief.is_in_the_role(write)]

    assert (52, 41) == (len(HOSTILE), len(within)), within


@pytest.mark.usefixtures("with_policy")
@pytest.mark.parametrize("write", HONEST, ids=lambda each: each.what)
def test_what_peitho_writes_is_admitted(thief: Thief, write: Write) -> None:
    """
    And what the operator's patterns allow.
    """
    code, words = thief.attempt(write)

    assert code in (200, 201), words


async def test_the_operators_lists_allow_more(cluster: Cluster, tmp_path: Path) -> None:
    """
    User 0 for an image of rootImages alone, and the kinds of volumes that templates add.
    """
    lists = {
        "rootImages": ["*/fabric-javaenv"],
        "volumes": ["configMap", "projected"],
        "images": [
            "docker.io/peitho/peitho",
            "hyperledger/*",
            "harbor.example/chaincode/*",
            "pinned:1",
        ],
        "serviceAccounts": ["default", "chaincode"],
    }
    as_root = {"runAsUser": 0, "runAsNonRoot": False}
    images = hostile_writes.image
    admitted = {
        "root java": hostile_writes.of_containers(
            images("hyperledger/fabric-javaenv:2.5"), securityContext=as_root
        ),
        "a digest in the registry": images(f"harbor.example/chaincode/x@sha256:{'0' * 64}"),
        "a pinned one": images("pinned:1"),
        "a volume": hostile_writes.volume(configMap={"name": "x"}),
        "an account": hostile_writes.pod(serviceAccountName="chaincode"),
    }
    refused = {
        "root go": hostile_writes.of_containers(
            images("hyperledger/fabric-baseos:2.5"), securityContext=as_root
        ),
        "another project": images("harbor.example/other/x:1"),
        "another tag": images("pinned:2"),
        "another host": images("harbor-example/chaincode/x:1"),
        "a token": hostile_writes.volume(
            projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}
        ),
        "an account": hostile_writes.pod(serviceAccountName="other"),
    }
    async with namespace(cluster, level="privileged") as name:
        path = await asyncio.to_thread(account_kubeconfig, cluster, name, tmp_path)
        for account in ("chaincode", "other"):
            create = ("-n", name, "create", "serviceaccount", account)
            await asyncio.to_thread(cluster.run_kubectl, *create)
        with having(path) as client:
            thief = Thief(client, name, name)
            async with admission.policy(cluster, name, **lists):
                await until(thief.is_bound)
                answers = {
                    what: await asyncio.to_thread(
                        thief.attempt, Write(what, "", "POST", "pods", body)
                    )
                    for what, body in (
                        admitted | {f"not {key}": refused[key] for key in refused}
                    ).items()
                }

    assert dict.fromkeys(admitted, 201) | {f"not {what}": 422 for what in refused} == {
        what: code for what, (code, _) in answers.items()
    }, answers


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", [DELIVERY, REGISTRY])
async def test_a_whole_life_passes_under_the_policy(
    cluster: Cluster, registry: Running, tmp_path: Path, mode: str
) -> None:
    """
    With the policy as it is shipped but for the template's volume and the registry of the test.
    """
    settings = Pair(PODS, mode).settings(registry) | whole_life.SETTINGS
    pushed = [f"{registry.address}/chaincode/*"] if mode == REGISTRY else []
    lists = {"images": [*SHIPPED_IMAGES, *pushed], "volumes": ["configMap"]}
    async with (
        namespace(cluster) as name,
        admission.policy(cluster, name, **lists),
        Peitho.start(cluster, name, tmp_path, **settings) as peitho,
    ):
        with having(tmp_path / "kubeconfig") as client:
            thief = Thief(client, name, name)
            await until(thief.is_bound)
        await whole_life.live(peitho)
        log = peitho.log.read_text()

    assert "ValidatingAdmissionPolicy" not in log
    assert "runtime image not tried" not in log
