"""
The guides' commands, as they stand there, at a Peitho of the plain manifests.

What names a place of the reader's gets one of the lab's.  Helm renders only: a release's life, with
these flags, is in test_chart.py.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

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
BLOCKS = [block for block in guides.all_blocks("sh") if block.wants_cluster]
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
        ours = more | {
            "tcp://peitho.peitho:8080": f"tcp://{self.address}:8080",
            "service/peitho 8080 &": f"service/peitho {PORT}:8080 & {WAIT}",
            "127.0.0.1:8080": f"127.0.0.1:{PORT}",
            " --watch": "",
            "s/peitho-chaincode/NAME/": "s/peitho-chaincode/more-chaincode/",
            "NAME": CHAINCODE,
        }
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


@pytest.mark.timeout(120)
def test_all_is_gone_when_it_was_removed(reader: Reader) -> None:
    """
    As the guide removes it.
    """
    (remove,) = (block for block in BLOCKS if REMOVES in block.text and "delete" in block.text)

    reader.follow(remove.text)

    found = reader.cluster.run_kubectl("get", "namespace", *NAMES.values(), "--ignore-not-found")
    assert "" == found
