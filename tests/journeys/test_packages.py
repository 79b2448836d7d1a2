"""What packages contain besides files with plain names: it is there when the chaincode runs."""

import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.lab import native
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.daemon import Daemon
from tests.lab.pairs import DELIVERY, PODS, REGISTRY, Pair, mirror, rewrite
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
    with_headers,
)
from tests.support.docker_calls import Calls, context
from tests.support.observe import until

DOCKERFILE = """FROM hyperledger/fabric-nodeenv:2.5
ADD binpackage.tar /usr/local/src
LABEL org.hyperledger.fabric.chaincode.type="NODE" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16
"""
BASEOS = DOCKERFILE.replace("nodeenv", "baseos")
PLAIN = [file("package.json", b"{}"), file("sub/a", b"1")]
LATIN1 = "caf\udce9"
LONG = "/".join(["d" * 194] * 20)
MIB = 1024**2
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"

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
        ("inside", [symlink("link", "sub")], "cat link/a", "1"),
        (
            "latin1",
            [file(f"{LATIN1}.js", b"yes"), directory(LATIN1), file(f"{LATIN1}/b", b"also")],
            "cat *.js caf?/b || cat $(printf 'caf\\351.js caf\\351/b')",
            "yesalso",
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


# What a package may contain (docs/reference/packages.md): entries, a command, and what that says.
TAKEN: dict[str, tuple[list[Member], str, str]] = {
    "absolute link": ([symlink("sub/sh", "/bin/sh")], "sub/sh -c 'echo runs'", "runs"),
    "dangling link": ([symlink("config", "prod")], "readlink config", "prod"),
    "link out, not used": (
        [symlink("out", "../../../../none")],
        "readlink out",
        "../../../../none",
    ),
    "link out, used by chaincode": (
        [symlink("up/etc", "../../../../etc")],
        "[ up/etc/passwd -ef /etc/passwd ] && echo followed",
        "followed",
    ),
    "entry below a link": ([symlink("in", "sub"), file("in/c", b"below")], "cat sub/c", "below"),
    "hard link": ([hardlink("sub/b", "sub/a")], "[ sub/a -ef sub/b ] && echo one", "one"),
    "hard link to a link": ([hardlink("again", "config")], "readlink again", "prod"),
    "hard link by a link": ([hardlink("by", "in/a")], "[ by -ef sub/a ] && echo one", "one"),
    "fifo": ([special("pipe", tarfile.FIFOTYPE)], "[ -p pipe ] && echo pipe", "pipe"),
    "latin1 name": ([file(f"{LATIN1}.js", b"latin1")], "cat caf*.js", "latin1"),
    "odd name": ([file("a:b $(x)", b"odd")], "cat a:b*", "odd"),
    "name of 255": ([file("n" * 255, b"long")], "cat nnn*", "long"),
    "path of 3900": ([file(f"{LONG}/end", b"deep")], f"cat {LONG}/end", "deep"),
    "setuid bits": (
        [file("u", mode=0o4755), file("g", mode=0o2755), directory("t", mode=0o1777)],
        "busybox stat -c %a u g t | busybox tr '\\n' ' '",
        "4755 2755 1777",
    ),
    "extended attributes": (
        [with_headers(file("x", b"kept"), **{"SCHILY.xattr.user.a": "b"})],
        "cat x",
        "kept",
    ),
    "PAX header of nearly 1 MiB": (
        [with_headers(file("pax", b"large"), comment="c" * (MIB - 1000))],
        "cat pax",
        "large",
    ),
    "own file": ([file("private", b"mine", mode=0o600)], "cat private", "mine"),
    "more than 16": ([file(f"many/{n}", b"") for n in range(40)], "ls many | busybox wc -l", "40"),
    "write": ([], "echo new > own; cat own", "new"),
    "write below": (
        [file("w/a", b"1")],
        "echo x >> w/a; busybox mkdir m && busybox mv w/a m/; cat m/a",
        "1x",
    ),
}
REFUSED: dict[str, tuple[list[Member], str]] = {
    "link out, used in the package": ([symlink("l", "/tmp"), file("l/x")], "below the link 'l'"),
    "hard link to outside": ([hardlink("h", "../../../etc/passwd")], "'h' leaves the target"),
    "absolute hard link": ([hardlink("h", "/etc/passwd")], "'h' is a link to 'etc/passwd', which"),
    "hard link to nothing": ([hardlink("h", "none")], "'h' is a link to 'none', which is no file"),
    "name of 256": ([file("n" * 256)], "'nnn"),
    "path of more than 4096": ([file(f"{LONG}/{LONG}")], "is too long"),
    "link of 4096": ([symlink("l", "t" * 4096)], "'l' is a link to"),
}
# These a daemon takes in a way of its own.
REFUSED_BY_PEITHO: dict[str, tuple[list[Member], str]] = {
    "device": ([special("null", tarfile.CHRTYPE)], "'null' is neither a file, a directory nor"),
    "link up, used in the package": ([symlink("l", ".."), file("l/x")], "below the link 'l'"),
    "name above": ([file("../x")], "'../x' leaves the target"),
    "PAX header above 1 MiB": (
        [with_headers(file("pax"), comment="c" * MIB)],
        "a name or header is too long",
    ),
}


def everything() -> tuple[bytes, str, list[str]]:
    """A package of all of it, a script that looks, and what that says."""
    members = [member for each, _, _ in TAKEN.values() for member in each]
    lines = [f'echo "{name}: "$({command})' for name, (_, command, _) in TAKEN.items()]
    script = "cd /usr/local/src; " + "; ".join(lines)
    return (
        archive_bytes([*PLAIN, *members]),
        script,
        [f"{name}: {said}" for name, (_, _, said) in TAKEN.items()],
    )


@asynccontextmanager
async def calls_in(
    mode: str, calls: Calls, cluster: Cluster, registry: Running, folder: Path
) -> AsyncIterator[Calls]:
    """Calls to a Peitho of a mode: the file's own delivers."""
    if mode == DELIVERY:
        yield calls
        return
    settings = Pair(PODS, mode).settings(registry)
    settings["images"] = {"rewrite": rewrite(registry, "baseos", "nodeenv")}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **settings) as peitho,
        Calls.to(peitho) as made,
    ):
        yield made


async def lines(calls: Calls, name: str) -> list[str]:
    """What a chaincode has said so far."""
    path = f"/v1.47/containers/{name}/logs"
    answer = await calls.call("GET", path, params={"stdout": "1", "stderr": "1"})
    return str(answer.body).splitlines()


async def says(calls: Calls, name: str, expected: list[str]) -> bool:
    """Whether a chaincode has said exactly this."""
    return expected == await lines(calls, name)


@beside
@pytest.mark.parametrize("mode", [DELIVERY, REGISTRY])
async def test_all_that_a_package_may_contain_is_as_on_a_daemon(
    calls: Calls, cluster: Cluster, registry: Running, tmp_path: Path, mode: str
) -> None:
    """
    In a volume of the Pod, and in a layer that the node unpacks.
    """
    package, script, expected = everything()
    name = f"table-{mode}"
    async with calls_in(mode, calls, cluster, registry, tmp_path) as made:
        built = await made.build(name, context(package, BASEOS))
        assert 200 == built.status, built
        command = ["/bin/sh", "-c", f"{script}; echo that is all; sleep 60"]
        await made.create(name, name, command)
        started = await made.start(name)
        assert 204 == started.status, started

        async def said_all() -> bool:
            return (await lines(made, name))[-1:] == ["that is all"]

        await until(said_all)
        assert [*expected, "that is all"] == await lines(made, name)
        await made.remove(name)

        for refused, (members, message) in (REFUSED | REFUSED_BY_PEITHO).items():
            bad = context(archive_bytes([*PLAIN, *members]), BASEOS)
            answer = await made.build("refused", bad)
            assert (refused, 400) == (refused, answer.status), answer
            assert message in answer.message


@beside
async def test_a_native_module_of_npm_8_is_built_and_runs(
    calls: Calls, cluster: Cluster, registry: Running, tmp_path: Path
) -> None:
    """
    Its link to Python, outside of the package, is kept from the build to the chaincode.
    """
    await mirror(registry, name="nodeenv")
    build = await calls.create_build(native.BUILD, image="hyperledger/fabric-nodeenv:2.5")
    assert 200 == (await calls.put(build, native.upload())).status
    assert 204 == (await calls.start(build)).status
    assert 0 == await calls.wait(build)
    result = await calls.download(build, "/chaincode/output/.")
    await calls.remove(build)
    look = "readlink native/build/node_gyp_bins/python3; node index.js; echo x > index.js; sleep 60"

    for mode in (DELIVERY, REGISTRY):
        async with calls_in(mode, calls, cluster, registry, tmp_path) as made:
            name = f"native-{mode}"
            built = await made.build(name, context(result, DOCKERFILE))
            assert 200 == built.status, built
            await made.create(name, name, ["/bin/sh", "-c", f"cd /usr/local/src; {look}"])
            started = await made.start(name)
            assert 204 == started.status, started
            await until(partial(says, made, name, ["/usr/bin/python3", "native says 42"]))
            await made.remove(name)


def test_a_daemon_does_the_same(daemon: Daemon) -> None:
    """
    What is taken is there, and what is refused is no package there either.
    """
    package, script, expected = everything()
    _docker(daemon, "build", "-q", "-t", "table", "-", given=context(package, BASEOS))
    run = ["run", "--rm", "--network=none", "--user=0", "table", "/bin/sh", "-c", script]

    assert expected == _docker(daemon, *run).splitlines()

    for name, (members, _) in REFUSED.items():
        bad = context(archive_bytes([*PLAIN, *members]), BASEOS)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            _docker(daemon, "build", "-q", "-", given=bad)
        assert "failed to copy files" in caught.value.stderr.decode(), name


def _docker(daemon: Daemon, *words: str, given: bytes = b"") -> str:
    return subprocess.run(
        [*daemon.client, *words],
        input=given,
        capture_output=True,
        check=True,
        env={"DOCKER_BUILDKIT": "0", "PATH": PATH, "HOME": str(daemon.folder)},
    ).stdout.decode()
