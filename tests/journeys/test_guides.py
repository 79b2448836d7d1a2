"""
The guides' commands, as they stand there, at a Peitho of the plain manifests.

What names a place of the reader's gets one of the lab's.  Helm renders only: a release's life, with
these flags, is in test_chart.py.
"""

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.lab import chart, deployed, images
from tests.lab import cluster as lab
from tests.lab.cluster import Cluster
from tests.lab.peitho import shipped
from tests.support import guides
from tests.support.docker_calls import BareCalls
from tests.support.guides import ROOT, Block

NAMES = {"peitho": "peitho", "chaincode": "peitho-chaincode"}
CHAINCODE = "dev-peer0-mycc-1.0"
# Namespaces that guides make beside those.
MORE = ("more-chaincode", "org1-chaincode", "org2-chaincode")
NETWORKS = "docs/guides/fabric-networks.md"
BLOCKS = [block for block in guides.shared("sh") if block.wants_cluster]
INSTALLS = "kubectl apply -f deploy/peitho.yaml"
REMOVES = "-f deploy/peitho.yaml"
INLINE = {
    command: page.name
    for page in guides.pages()
    for command in guides.inline(page)
    if guides.is_run(command)
}
# Of a port forward, which a block may begin with.
PORT = 9981
WAIT = f"\nuntil (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null; do sleep 0.1; done"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who has a cluster, and follows the guides in a folder."""

    cluster: Cluster
    folder: Path
    address: str

    def prepare(self) -> None:
        """Make the folder: manifests with this lab's places in them, and programs."""
        (self.folder / "bin").mkdir()
        shutil.copytree(ROOT / "charts", self.folder / "charts")
        shutil.copytree(ROOT / "deploy", self.folder / "deploy")
        (self.folder / "deploy/peitho.yaml").write_text(yaml.safe_dump_all(self._peitho()))
        guides.write_trail(self.folder)
        (self.folder / "values.yaml").write_text("{}")
        own = " ".join(map(str, self.cluster.kubectl))
        plugin = 'if [ "$1" = peitho ]; then shift; exec peitho "$@"; fi'
        guides.script(self.folder / "bin/kubectl", plugin, f'exec {own} "$@"')
        renders = 'case "$1" in install) shift ;; *) exit 0 ;; esac'
        helm = f"{chart.helm()} template --kube-version {chart.KUBERNETES}"
        guides.script(self.folder / "bin/helm", renders, f'exec {helm} "$@"')

    def write_settings(self) -> None:
        """Have the settings beside the reader, too, with an account and a folder of theirs."""
        path = "jsonpath={.data.peitho\\.yml}"
        said = self.cluster.run_kubectl("-n", "peitho", "get", "configmap", "peitho", "-o", path)
        tree = yaml.safe_load(said) | {"dataDir": str(self.folder / "data")}
        tree["k8s"]["kubeconfig"] = str(self.cluster.kubeconfig)
        (self.folder / "peitho.yml").write_text(yaml.safe_dump(tree))

    def _peitho(self) -> Iterator[dict[str, object]]:
        for made in shipped("peitho.yaml", **NAMES):
            if made["kind"] == "PersistentVolumeClaim":  # there is no provisioner
                made["spec"]["storageClassName"] = ""
            if made["kind"] == "Service":  # there is no DNS
                made["spec"]["clusterIP"] = self.address
            if made["kind"] == "ConfigMap":
                tree = yaml.safe_load(made["data"]["peitho.yml"])
                tree["peitho"] |= {
                    "pullerAccessAddress": f"{self.address}:8081",
                    "pullerImage": images.PEITHO,
                }
                made["data"]["peitho.yml"] = yaml.safe_dump(tree)
            if made["kind"] == "Deployment":
                (container,) = made["spec"]["template"]["spec"]["containers"]
                container["image"] = images.PEITHO
            yield made

    def follow(self, text: str, **more: str) -> str:
        """What commands print, all of which succeed."""
        ours = {
            "tcp://peitho.peitho:8080": f"tcp://{self.address}:8080",
            "service/peitho 8080 &": f"service/peitho {PORT}:8080 & {WAIT}",
            "127.0.0.1:8080": f"127.0.0.1:{PORT}",
            " --watch": "",
            "s/peitho-chaincode/NAME/": "s/peitho-chaincode/more-chaincode/",
            "NAME": CHAINCODE,
        } | more
        for theirs, place in ours.items():
            text = text.replace(theirs, place)
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig), "KUBE_EDITOR": "true"}
        ends = "trap 'kill $(jobs -p) 2>/dev/null && wait || true' EXIT\n"
        ended = guides.run_block(ends + text, self.folder, environment=environment)
        assert 0 == ended.returncode, f"{text}\n{ended.stdout}{ended.stderr}"
        return ended.stdout


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reader(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Reader]:
    """One who has followed the README, and has a chaincode that runs."""
    if not cluster.own:
        pytest.skip("the guides' namespaces may be in use in another cluster")
    address = f"10.96.201.{secrets.randbelow(250) + 1}"
    made = Reader(cluster, tmp_path_factory.mktemp("reader"), address)
    install = next(block for block in BLOCKS if INSTALLS in block.text)
    try:
        await asyncio.to_thread(deployed.discard, cluster, **NAMES)
        await asyncio.to_thread(cluster.apply, lab.volume("peitho", "peitho"))
        await asyncio.to_thread(made.prepare)
        await asyncio.to_thread(made.follow, install.text)
        wait = "kubectl -n peitho rollout status deployment/peitho --timeout=120s"
        await asyncio.to_thread(made.follow, wait)
        await asyncio.to_thread(deployed.await_answer, address)
        await asyncio.to_thread(made.write_settings)
        async with aiohttp.ClientSession(f"http://{address}:8080") as session:
            calls = BareCalls(session)
            await calls.make_image(CHAINCODE)
            # `peitho check` connects to where chaincode calls: something that listens.
            command = ["chaincode", f"-peer.address={address}:8080"]
            assert 201 == (await calls.create(CHAINCODE, CHAINCODE, command)).status
            assert 204 == (await calls.start(CHAINCODE)).status
        yield made
    finally:
        await asyncio.to_thread(deployed.discard, cluster, **NAMES)
        gone = ("--ignore-not-found", "--wait=false")
        await asyncio.to_thread(cluster.run_kubectl, "delete", "namespace", *MORE, *gone)
        kinds = "validatingadmissionpolicy,validatingadmissionpolicybinding"
        await asyncio.to_thread(cluster.run_kubectl, "delete", kinds, "peitho", *gone)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if REMOVES not in block.text],
    ids=lambda block: block.place,
)
def test_commands_of_a_block_succeed(reader: Reader, block: Block) -> None:
    """
    One after the other, in one shell.
    """
    reader.follow(block.text)


@pytest.mark.parametrize("command", INLINE)
def test_a_command_of_a_sentence_succeeds(reader: Reader, command: str) -> None:
    """
    What a page says to look at can be looked at; whether `grep` finds something is another matter.
    """
    reader.follow(command.partition(" | grep ")[0])


PEITHO = "tcp://peitho.peitho:8080"


def test_peers_of_other_networks_hear_of_peitho(networks: Reader) -> None:
    """
    The commands change what a peer reads in each of them, and nothing else.
    """
    for block in guides.all_blocks("sh"):
        if block.place.startswith(NETWORKS):
            networks.follow(block.text, **{PEITHO: PEITHO})

    for peer in PEERS:
        deployment = _object(networks, f"test-network/deployment/{peer}")
        main, couchdb = deployment["spec"]["template"]["spec"]["containers"]
        assert _variables(f"{peer}.test-network:7052") == main["env"]
        assert {"image", "envFrom"} <= main.keys()
        assert "env" not in couchdb
    fabric_peer = _object(networks, "fabric/fabricpeer/org1-peer0")
    assert _variables("org1-peer0.fabric:7052") == fabric_peer["spec"]["env"]
    assert "" == fabric_peer["spec"]["dockerSocketPath"]
    assert {
        "vm": {"endpoint": PEITHO},
        "peer": {
            "chaincodeAddress": "org1-peer1-chaincode.fabric:7052",
            "keepalive": {"minInterval": "61s"},
        },
    } == _object(networks, "fabric/ibppeer/org1-peer1")["spec"]["configoverride"]


def _variables(address: str) -> list[dict[str, str]]:
    """What a peer hears of Peitho, and of itself."""
    both = {"CORE_VM_ENDPOINT": PEITHO, "CORE_PEER_CHAINCODEADDRESS": address}
    return [{"name": name, "value": value} for name, value in both.items()]


def _object(reader: Reader, place: str) -> dict[str, Any]:
    namespace, kind, name = place.split("/")
    found = reader.cluster.run_kubectl("-n", namespace, "get", kind, name, "-o", "json")
    made: dict[str, Any] = json.loads(found)
    return made


@pytest.fixture
def networks(reader: Reader) -> Iterator[Reader]:
    """A reader whose cluster has peers of other projects, which do not run."""
    kubectl = reader.cluster.run_kubectl
    place = {"namespace": "fabric"}
    gone = ("--ignore-not-found", "--timeout=60s")
    made = list(yaml.safe_load_all((ROOT / "tests/support/fabric_networks.yaml").read_text()))
    (peer,) = (each for each in made if each["kind"] == "Deployment")
    likes = [peer | {"metadata": peer["metadata"] | {"name": name}} for name in PEERS]
    try:
        kubectl("delete", "namespace", "test-network", "fabric", *gone)
        reader.cluster.apply(*made, *likes)
        kubectl("wait", "--for=condition=Established", "crd", *CRDS, "--timeout=30s")
        reader.cluster.apply(
            {
                "apiVersion": "hlf.kungfusoftware.es/v1alpha1",
                "kind": "FabricPeer",
                "metadata": {"name": "org1-peer0"} | place,
                "spec": {},
            },
            {
                "apiVersion": "ibp.com/v1beta1",
                "kind": "IBPPeer",
                "metadata": {"name": "org1-peer1"} | place,
                "spec": {"configoverride": {"peer": {"keepalive": {"minInterval": "61s"}}}},
            },
        )
        yield reader
    finally:
        kubectl("delete", "crd", *CRDS, *gone)
        kubectl(
            "delete", "namespace", "test-network", "fabric", "--ignore-not-found", "--wait=false"
        )


PEERS = ("org1-peer1", "org1-peer2", "org2-peer1", "org2-peer2")
CRDS = ("fabricpeers.hlf.kungfusoftware.es", "ibppeers.ibp.com")


@pytest.mark.parametrize("block", guides.all_blocks("yaml"), ids=lambda block: block.place)
def test_the_api_server_takes_objects_and_the_chart_values(reader: Reader, block: Block) -> None:
    """
    As a dry run with strict fields; settings are looked at without a cluster.
    """
    file = reader.folder / "quoted.yaml"
    file.write_text(block.text)
    for document in yaml.safe_load_all(block.text):
        if guides.is_object(document):
            document["metadata"].pop("namespace", None)
            strict = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
            reader.cluster.run_kubectl(*strict, stdin=json.dumps(document))
        elif guides.is_values(document) and not guides.is_settings(document):
            chart.rendered("--values", str(file))


@pytest.mark.timeout(120)
def test_all_is_gone_when_it_was_removed(reader: Reader) -> None:
    """
    As the guide removes it.
    """
    (remove,) = (block for block in BLOCKS if REMOVES in block.text and "delete" in block.text)

    reader.follow(remove.text)

    found = reader.cluster.run_kubectl("get", "namespace", *NAMES.values(), "--ignore-not-found")
    assert "" == found
