"""
The guide for an air gap, command by command: from a registry outside to one inside, and to a node.

`docker.io` is a registry of the lab, with images of two platforms that have little in them.
"""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from peitho.formats.images import oci
from tests.lab import chart, images
from tests.lab.cluster import Cluster, ctr
from tests.lab.daemon import daemon
from tests.lab.machine import program, run
from tests.lab.registry import push_for_platforms, registry
from tests.support import guides
from tests.support.guides import ROOT
from tests.support.settings_files import load

PAGE = ROOT / "docs/guides/air-gap.md"
ARCHITECTURES = ["amd64", "arm64"]
# As a reader has it whose peers are 2.5; that the whole list is right is looked at elsewhere.
NAMES = (
    "peitho/peitho:0.1.0",
    "hyperledger/fabric-ccenv:2.5",
    "hyperledger/fabric-baseos:2.5",
)
# A line of the block that compares digests.
CHECKS = '| grep "$digest"'
# Beside the node's own images, which have these names.
NODES = "air-gap"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who follows the page in a folder; `digests` are of the images outside."""

    folder: Path
    outside: str
    inside: str
    digests: dict[str, str]

    def prepare(self) -> None:
        """What the page speaks of: a clone, an archive, values, programs, and what docker.io is."""
        (self.folder / "bin").mkdir()
        shutil.copytree(ROOT / "charts", self.folder / "charts")
        (self.folder / "deploy").mkdir()
        lines = [f"docker.io/{name}\n" for name in self.digests]
        (self.folder / "deploy/images.txt").write_text("# peers 2.5\n\n" + "".join(lines))
        shutil.copy(images.pause(), self.folder / "peitho.tar")
        values = next(each for each in documents() if guides.is_values(each) and "image" in each)
        (self.folder / "values.yaml").write_text(yaml.safe_dump(values))
        settings = self.folder / ".config/containers"
        settings.mkdir(parents=True)
        (settings / "registries.conf").write_text(
            f'[[registry]]\nprefix = "docker.io"\nlocation = "{self.outside}"\ninsecure = true\n'
            f'[[registry]]\nlocation = "{self.inside}"\ninsecure = true\n'
        )
        renders = 'if [ "$1" = install ]; then shift; set -- template "$@"; fi'
        helm = f'exec {chart.helm()} "$@" --kube-version {chart.KUBERNETES}'
        packs = f'if [ "$1" = package ]; then exec {chart.helm()} "$@"; fi'
        guides.script(self.folder / "bin/helm", packs, renders, helm)
        own = " ".join(ctr()[: ctr().index("-n")])
        guides.script(self.folder / "bin/ctr", f'exec {own} "$@"')

    def follow(self, *words: str, docker: list[str] | None = None) -> str:
        """What the blocks with these words print, all of which succeed, in their order."""
        said = ""
        for block in guides.blocks(PAGE):
            if block.language != "sh" or not any(word in block.text for word in words):
                continue
            text = block.text.replace("registry.example", self.inside).replace("k8s.io", NODES)
            if docker:
                own = " ".join([str(shutil.which(docker[0])), *docker[1:]])
                guides.script(self.folder / "bin/docker", f'exec {own} "$@"')
            ended = guides.run_block(text, self.folder)
            assert 0 == ended.returncode, f"{block.place}\n{ended.stdout}{ended.stderr}"
            said += ended.stdout
        assert said or words
        return said


def documents() -> list[dict[str, Any]]:
    """The YAML of the page."""
    return [yaml.safe_load(each.text) for each in guides.blocks(PAGE) if each.language == "yaml"]


@pytest.fixture(scope="module")
def reader(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One who has carried all images to the registry inside."""
    if not cluster.own:
        pytest.skip("images would come to the nodes of somebody's cluster")
    program("skopeo", package="skopeo")
    folder = tmp_path_factory.mktemp("air-gap")
    with registry(folder / "out") as outside, registry(folder / "in") as inside:
        digests = {}
        for name in NAMES:
            repository, _, tag = name.partition(":")
            to = (outside.address, repository, tag)
            digests[name] = push_for_platforms(*to, *ARCHITECTURES)
        made = Reader(folder / "reader", outside.address, inside.address, digests)
        made.folder.mkdir()
        made.prepare()
        made.follow("> images.lock", "carried.tar", CHECKS, "peitho.tar")
        yield made


def answer(address: str, path: str) -> Any:
    """What a registry says of a manifest or a blob."""
    accepted = {"Accept": f"{oci.DOCKER_INDEX}, {oci.DOCKER_MANIFEST}"}
    asked = urllib.request.Request(f"http://{address}/v2/{path}", headers=accepted)
    with urllib.request.urlopen(asked) as answered:
        return json.loads(answered.read()), answered.headers["Docker-Content-Digest"]


def test_the_registry_inside_has_every_image_for_both_platforms(reader: Reader) -> None:
    """
    Under the digest that it has outside, down to the last layer.
    """
    for name, digest in reader.digests.items():
        repository, _, tag = name.partition(":")
        if repository == "peitho/peitho":
            tag = digest  # the tag is of the archive since
        index, found = answer(reader.inside, f"{repository}/manifests/{tag}")
        assert digest == found
        platforms = [each["platform"]["architecture"] for each in index["manifests"]]
        assert ARCHITECTURES == platforms
        for each in index["manifests"]:
            manifest, _ = answer(reader.inside, f"{repository}/manifests/{each['digest']}")
            for blob in (manifest["config"], *manifest["layers"]):
                url = f"http://{reader.inside}/v2/{repository}/blobs/{blob['digest']}"
                asked = urllib.request.Request(url, method="HEAD")
                with urllib.request.urlopen(asked) as answered:
                    assert blob["size"] == int(answered.headers["Content-Length"])


def test_what_is_not_as_it_was_outside_is_noticed(reader: Reader) -> None:
    """
    By the list that was reviewed: Peitho's image is now the one of an archive.
    """
    (block,) = (each for each in guides.blocks(PAGE) if CHECKS in each.text)
    text = block.text.replace("registry.example", reader.inside)
    lock = (reader.folder / "carried/images.lock").read_text()
    assert [f"docker.io/{name} {digest}" for name, digest in reader.digests.items()] == (
        lock.splitlines()
    )

    ended = guides.run_block(text, reader.folder)

    assert 1 == ended.returncode, ended.stdout + ended.stderr


def test_the_chart_is_installed_from_its_file(reader: Reader) -> None:
    """
    With the images of the registry inside, and no other.
    """
    made = list(yaml.safe_load_all(reader.follow("helm install")))

    (pod,) = (each["spec"]["template"] for each in made if each["kind"] == "Deployment")
    (container,) = pod["spec"]["containers"]
    (settings,) = (
        yaml.safe_load(each["data"]["peitho.yml"])
        for each in made
        if each["kind"] == "ConfigMap" and "peitho.yml" in each["data"]
    )
    # The values name it as the page does: its host is not of the commands.
    assert "registry.example/peitho/peitho:0.1.0" == container["image"]
    assert container["image"] == settings["peitho"]["pullerImage"]
    assert {"hyperledger/*": "registry.example/hyperledger/*"} == settings["images"]["rewrite"]


def test_images_are_named_by_digest_where_tags_may_move(reader: Reader, tmp_path: Path) -> None:
    """
    The lines that are printed are settings.
    """
    said = reader.follow("sed -nE")

    rewrite = load(tmp_path, f"images:\n    rewrite:\n{said}").images.rewrite
    expected = {
        name: f"{reader.inside}/{name.partition(':')[0]}@{digest}"
        for name, digest in reader.digests.items()
        if name.startswith("hyperledger/")
    }
    assert expected == dict(rewrite)


def test_docker_carries_one_platform(reader: Reader) -> None:
    """
    By its own archive: from outside, and to the registry inside.
    """
    lock = reader.folder / "images.lock"
    theirs = lock.read_text()
    lock.write_text(theirs.replace("docker.io", reader.outside))
    try:
        with daemon() as docker:
            reader.follow("docker save", docker=docker)
            names = [f"{reader.inside}/{name}" for name in NAMES]
            run([*docker, "rmi", "-f", *names])
            reader.follow("docker load", docker=docker)
            run([*docker, "rmi", "-f", *names])
    finally:
        lock.write_text(theirs)

    for name in NAMES:
        repository, _, tag = name.partition(":")
        manifest, _ = answer(reader.inside, f"{repository}/manifests/{tag}")
        config, _ = answer(reader.inside, f"{repository}/blobs/{manifest['config']['digest']}")
        assert "amd64" == config["architecture"]


def test_a_node_without_a_registry_takes_archives(reader: Reader) -> None:
    """
    Under the names that peers say.
    """
    node = ctr()[: ctr().index("-n")]
    try:
        reader.follow("--override-arch", "images import")
        said = run([*node, "-n", NODES, "images", "list", "-q"]).split()
    finally:
        for name in NAMES:
            run([*node, "-n", NODES, "images", "rm", "--sync", f"docker.io/{name}"])

    assert sorted(f"docker.io/{name}" for name in NAMES) == sorted(said)
