"""
Java chaincode, whose image keeps all it has in root's home: a user of 0, in a `baseline` namespace.

`fabric-javaenv` is a double for the layout: its `build.sh` copies, its `start` waits.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import until

BUILDER = "hyperledger/fabric-javaenv:2.5"
DOCKERFILE = f"""FROM {BUILDER}
ADD binpackage.tar /root/chaincode-java/chaincode
LABEL org.hyperledger.fabric.chaincode.type="JAVA" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16
"""
AS_ROOT = {"users": {"*fabric-javaenv*": 0}}


@asynccontextmanager
async def calls_in(cluster: Cluster, folder: Path, level: str) -> AsyncIterator[Calls]:
    """A Peitho that gives javaenv the user 0, in a namespace of a level."""
    async with (
        namespace(cluster, level=level) as name,
        Peitho.start(cluster, name, folder, builder=AS_ROOT, chaincode=AS_ROOT) as peitho,
        Calls.to(peitho) as calls,
    ):
        yield calls


async def test_java_is_built_and_started_from_its_own_directory(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    What `./build.sh` made is where `start` looks for it, beside what the image has there.
    """
    async with calls_in(cluster, tmp_path, "baseline") as calls:
        build = await calls.create_build("./build.sh", image=BUILDER)
        await calls.put(build, archive({"src/build/libs/chaincode.jar": (0o644, b"a jar")}))
        await calls.start(build)
        assert 0 == await calls.wait(build)
        url = f"{calls.peitho.http}/containers/{build}/archive?path=/chaincode/output/."
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            package = await response.read()
        await calls.remove(build)

        assert 200 == (await calls.build("java-image", context(package, DOCKERFILE))).status
        script = "cat chaincode/build/libs/chaincode.jar; exec ./start --peerAddress 10.0.0.1:7052"
        await calls.create("java", "java-image", ["/bin/sh", "-c", script])
        started = await calls.start("java")
        assert 204 == started.status, started

        async def said() -> bool:
            answer = await calls.call(
                "GET", "/v1.47/containers/java/logs", params={"stdout": "1", "stderr": "1"}
            )
            return "a jarjava double" in str(answer.body)

        await until(said)
        await calls.remove("java")


async def test_what_pod_security_forbids_is_told(cluster: Cluster, tmp_path: Path) -> None:
    """
    In a restricted namespace the user 0 is refused, in the cluster's words: build and launch.
    """
    async with calls_in(cluster, tmp_path, "restricted") as calls:
        build = await calls.start(await calls.create_build("./build.sh", image=BUILDER))
        package = archive({"chaincode.jar": (0o644, b"a jar")})
        await calls.build("java-image", context(package, DOCKERFILE))
        await calls.create("java", "java-image")
        launch = await calls.start("java")

        for answer in (build, launch):
            assert 500 == answer.status
            assert 'violates PodSecurity "restricted:latest"' in answer.message
            assert "runAsNonRoot" in answer.message
        await calls.remove("java")
