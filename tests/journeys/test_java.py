"""
Java chaincode on Fabric's own shim: built by Gradle or Maven, and run from root's home.

`fabric-javaenv` keeps all it has in `/root`, which nobody but the user 0 may enter.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peitho.clients.registry.api import Registry
from tests.journeys.peers import lives_and_comes_back
from tests.lab import images
from tests.lab import registry as lab
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.javaenv import CHAINCODE
from tests.lab.peer import Peer
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import Running
from tests.support.attached import built
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import builds, pods, until

BUILDER = "hyperledger/fabric-javaenv:2.5"
DOCKERFILE = f"""FROM {BUILDER}
ADD binpackage.tar /root/chaincode-java/chaincode
LABEL org.hyperledger.fabric.chaincode.type="JAVA" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16
"""
# build.sh takes Gradle where there is something for it.
NOT_OF = {"gradle": ["pom.xml"], "maven": ["*.gradle"]}
AS_ROOT = {"users": {"*fabric-javaenv*": 0}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """A registry on the node's loopback that has javaenv, for anybody."""
    del cluster  # its images, which are mirrored, are made by then
    image = images.find(f"docker.io/{BUILDER}")
    with lab.registry(tmp_path_factory.mktemp("registry")) as running:
        async with Registry.connect(running.endpoint, lambda: None) as client:
            for name in image.tags:
                repository, _, tag = name.removeprefix("docker.io/").rpartition(":")
                await lab.push(client, image, repository, tag)
        yield running


def registry_mode(registry: Running) -> dict[str, Any]:
    """Settings with which chaincode's image is put on javaenv, and pulled."""
    name = BUILDER.partition(":")[0]
    return {
        "builder": AS_ROOT,
        "chaincode": AS_ROOT,
        "peitho": {"imageMode": "registry"},
        "images": {"rewrite": {f"{name}*": f"{registry.address}/{name}*"}},
        "docker": {"registry": {"server-address": registry.address, "insecure": True}},
    }


@asynccontextmanager
async def peitho_in(
    cluster: Cluster, folder: Path, level: str, *, version: str = "latest"
) -> AsyncIterator[Peitho]:
    """A Peitho that gives javaenv the user 0, in a namespace of a level of Pod Security."""
    async with namespace(cluster, level=level) as name:
        of_version = f"pod-security.kubernetes.io/enforce-version={version}"
        cluster.run_kubectl("label", "--overwrite", "namespace", name, of_version)
        async with Peitho.start(
            cluster, name, folder, builder=AS_ROOT, chaincode=AS_ROOT
        ) as peitho:
            yield peitho


@beside
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "which", [("gradle", "2.5.16", "restricted"), ("maven", "3.1.5", "baseline")], ids=str
)
async def test_java_chaincode_is_built_registers_crashes_and_comes_back(
    cluster: Cluster, registry: Running, tmp_path: Path, which: tuple[str, str, str]
) -> None:
    """
    A Java package is built in a Pod, offline, and Fabric's own shim registers over TLS.

    In a `restricted` namespace its user 0 is that of a user namespace. What was built for delivery
    is pushed to a registry when the settings say so, and lives as well as one image.
    """
    tool, release, level = which
    source = tmp_path / tool
    shutil.copytree(CHAINCODE, source, ignore=shutil.ignore_patterns(*NOT_OF[tool]))
    async with (
        peitho_in(cluster, tmp_path, level) as peitho,
        Peer.start(release, endpoint=peitho.url, host_address=cluster.host_address) as peer,
    ):
        package = await peer.install(source, language="java")
        await lives_and_comes_back(peer, package, peitho)
        mapped = (await peer.invoke(package, "file", "/proc/self/uid_map")).payload.split()
        assert ["0", "0"] != mapped[:2] if level == "restricted" else ["0", "0"] == mapped[:2]
        await peer.stop(package)

        await peitho.end()
        peitho.configure(registry_mode(registry))
        await peitho.begin()
        await peer.launch(package)
        assert "blue" == (await peer.invoke(package, "get", "asset")).payload
        (image,) = {
            each["spec"]["containers"][0]["image"] for each in pods(peitho, package.container)
        }
        assert image.startswith(f"{registry.address}/")
        await peer.stop(package)


# What the image has is the registry here; another home has nothing of it.  Without a network, and
# without that registry, Maven has what it was given and nothing else.
_HOME = ["HOME=/tmp", "MAVEN_OPTS=-Duser.home=/tmp"]
_MAVEN = """
mirror="<mirror><id>m</id><mirrorOf>*</mirrorOf><url>file://$1</url></mirror>"
echo "<settings><mirrors>$mirror</mirrors></settings>" > /tmp/settings.xml
cd /chaincode/input
mvn -q -B -s /tmp/settings.xml compile > /tmp/said 2>&1 || { cat /tmp/said; exit 1; }
find /tmp/.m2/repository -name '*.jar' | wc -l
"""
_REGISTRY = "/root/.m2/repository"


@beside
@pytest.mark.timeout(300)
async def test_what_maven_downloaded_is_there_for_the_next_build(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    It needs no registry any more; what a build that fails left changes nothing.
    """
    settings = AS_ROOT | {"cache": {"packages": True}}

    async with (
        namespace(cluster, level="baseline") as name,
        Peitho.start(cluster, name, tmp_path, builder=settings) as peitho,
        Calls.to(peitho) as calls,
    ):

        async def build(number: int, command: str, *words: str) -> tuple[int, str]:
            shell = ["/bin/sh", "-c", command, "sh", *words]
            created = await calls.create("", BUILDER, shell, _HOME)
            made = str(created.body["Id"])
            await calls.put(made, _source(number))
            code, said = await built(calls, made)
            await calls.remove(made)
            await until(lambda: not builds(peitho))
            return code, said.decode()

        code, jars = await build(1, _MAVEN, _REGISTRY)
        assert 0 == code, jars
        kept = peitho.data_dir / "builds"
        await until(lambda: len(list(kept.glob("*/about.json"))) == 2)

        poison = 'for jar in $(find /tmp -name "*.jar"); do echo no > "$jar"; done; exit 3'
        assert (3, "") == await build(2, poison)

        assert (0, jars) == await build(3, _MAVEN, "/nowhere")
        assert int(jars) > 20


def _source(number: int) -> bytes:
    """The chaincode with a comment of its own."""
    files = {"pom.xml": (CHAINCODE / "pom.xml").read_bytes()}
    for path in (CHAINCODE / "src").rglob("*.java"):
        said = path.read_bytes() + f"\n// {number}\n".encode()
        files[str(path.relative_to(CHAINCODE))] = said
    return archive({name: (0o644, content) for name, content in files.items()})


@beside
async def test_what_pod_security_forbids_is_told(cluster: Cluster, tmp_path: Path) -> None:
    """
    Before its version 1.35, `restricted` refuses the user 0 in any case: build and launch.
    """
    async with (
        peitho_in(cluster, tmp_path, "restricted", version="v1.34") as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.start(await calls.create_build("./build.sh", image=BUILDER))
        package = archive({"chaincode.jar": (0o644, b"a jar")})
        await calls.build("java-image", context(package, DOCKERFILE))
        await calls.create("java", "java-image")
        launch = await calls.start("java")

        for answer in (build, launch):
            assert 500 == answer.status
            assert 'violates PodSecurity "restricted:v1.34"' in answer.message
            assert "runAsNonRoot" in answer.message
            assert "Kubernetes 1.35" in answer.message
        await calls.remove("java")
