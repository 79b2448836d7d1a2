"""What packages contain besides files with plain names: it is there when the chaincode runs."""

import tarfile
from pathlib import Path

import pytest

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.pairs import PODS, REGISTRY, Pair
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import Running
from tests.support.archives import (
    Member,
    archive_bytes,
    directory,
    file,
    hardlink,
    special,
    symlink,
)
from tests.support.docker_calls import Calls, context
from tests.support.observe import until

DOCKERFILE = """FROM hyperledger/fabric-nodeenv:2.5
ADD binpackage.tar /usr/local/src
LABEL org.hyperledger.fabric.chaincode.type="NODE" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16
"""
PLAIN = [file("package.json", b"{}"), file("sub/a", b"1")]
LATIN1 = "caf\udce9"

pytestmark = pytest.mark.usefixtures("peitho_log")


@beside
@pytest.mark.parametrize(
    ("name", "members", "script", "said"),
    [
        (
            "absolute",
            [symlink("sub/python3", "/bin/sh")],
            "sub/python3 -c 'echo it runs'",
            "it runs",
        ),
        ("dangling", [symlink("config.json", "prod.json")], "readlink config.json", "prod.json"),
        ("inside", [symlink("link", "sub")], "cat link/a", "1"),
        (
            "latin1",
            [file(f"{LATIN1}.js", b"yes"), directory(LATIN1), file(f"{LATIN1}/b", b"also")],
            "cat *.js caf?/b || cat $(printf 'caf\\351.js caf\\351/b')",
            "yesalso",
        ),
        (
            "fifo",
            [special("pipe", tarfile.FIFOTYPE)],
            "(echo through > pipe &); cat pipe",
            "through",
        ),
        ("hard", [hardlink("sub/b", "sub/a")], "[ sub/a -ef sub/b ] && echo one", "one"),
        ("odd", [file("a:b $(x)", b"odd")], "cat a:b*", "odd"),
        (
            "many",
            [file(f"f{n}", b"") for n in range(40)],
            "echo new > own; cat own; ls | wc -l",
            "43",
        ),
        ("written", [], "echo x >> sub/a; mkdir more && mv sub/a more/; cat more/a", "1x"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_it_is_there_when_the_chaincode_runs(
    calls: Calls, name: str, members: list[Member], script: str, said: str
) -> None:
    """
    As on dockerd; and chaincode may write in its own folder.
    """
    package = archive_bytes([*PLAIN, *members])
    built = await calls.build(f"image-{name}", context(package, DOCKERFILE))
    assert 200 == built.status, built
    command = ["/bin/sh", "-c", f"cd /usr/local/src; {script}; sleep 9"]
    await calls.create(f"package-{name}", f"image-{name}", command)
    started = await calls.start(f"package-{name}")
    assert 204 == started.status, started

    async def heard() -> bool:
        path = f"/v1.47/containers/package-{name}/logs"
        answer = await calls.call("GET", path, params={"stdout": "1", "stderr": "1"})
        return said in str(answer.body)

    await until(heard)
    await calls.remove(f"package-{name}")


async def test_it_is_in_an_image_of_a_registry_too(
    cluster: Cluster, registry: Running, tmp_path: Path
) -> None:
    """
    All of it in one layer, which the node unpacks; and chaincode may write there.
    """
    members = [
        symlink("sub/sh", "/bin/sh"),
        symlink("config.json", "prod.json"),
        file(f"{LATIN1}.js", b"latin1"),
        special("pipe", tarfile.FIFOTYPE),
        hardlink("sub/b", "sub/a"),
        file("a:b $(x)", b"odd"),
        file(f"{'deep/' * 60}end", b"long"),
        file("private", b"own", mode=0o600),
        *(file(f"f{number}", b"") for number in range(40)),
    ]
    script = (
        "cd /usr/local/src; sub/sh -c 'readlink config.json'; cat caf*.js sub/b a:b* "
        f"{'deep/' * 60}end private; [ -p pipe ] && [ sub/a -ef sub/b ] && echo all; "
        f"echo new > own; echo x >> sub/a; echo y > {'deep/' * 60}new;"
        "busybox mkdir more && busybox mv sub/a more/; cat own more/a; sleep 9"
    )
    dockerfile = DOCKERFILE.replace("nodeenv", "baseos")
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, **Pair(PODS, REGISTRY).settings(registry)) as peitho,
        Calls.to(peitho) as calls,
    ):
        package = archive_bytes([*PLAIN, *members])
        built = await calls.build("image-registry", context(package, dockerfile))
        assert 200 == built.status, built
        await calls.create("package-registry", "image-registry", ["/bin/sh", "-c", script])
        started = await calls.start("package-registry")
        assert 204 == started.status, started

        async def heard() -> bool:
            path = "/v1.47/containers/package-registry/logs"
            answer = await calls.call("GET", path, params={"stdout": "1", "stderr": "1"})
            return "latin11oddlongownall\nnew\n1x" in str(answer.body)

        await until(heard)
        await calls.remove("package-registry")
