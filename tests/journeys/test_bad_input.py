"""What comes in from outside is hostile until parsed: refused with 400, and nothing is kept."""

import asyncio
import gzip
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Answer, Calls, archive, context
from tests.support.observe import until

pytestmark = pytest.mark.usefixtures("peitho_log")


def _entry(name: str, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def _packed(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as target:
        for member in members:
            target.addfile(member, io.BytesIO(b"\0" * member.size))
    return out.getvalue()


HOSTILE = {
    "climbs": (_entry("src/../../evil"), "src/../../evil"),
    "climbs by a link": (_entry("a/up", type=tarfile.SYMTYPE, linkname="../../x"), "a/up"),
    "hard link out": (_entry("hard", type=tarfile.LNKTYPE, linkname="../../etc/passwd"), "hard"),
    "character device": (_entry("dev/null", type=tarfile.CHRTYPE), "dev/null"),
    "block device": (_entry("dev/sda", type=tarfile.BLKTYPE), "dev/sda"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_an_archive_that_leaves_its_target_is_refused(case: str, calls: Calls) -> None:
    """
    The entry is named, and the build does not see any of it.
    """
    member, named = HOSTILE[case]
    build = await calls.create_build("ls /chaincode/input | wc -l")

    answer = await calls.put(build, _packed(_entry("good"), member))

    assert 400 == answer.status
    assert repr(named) in answer.message
    await calls.remove(build)


async def test_what_lies_below_a_link_of_the_same_archive_is_refused(calls: Calls) -> None:
    """
    A link first, then a file through it: neither is written.
    """
    build = await calls.create_build("true")
    members = [_entry("l", type=tarfile.SYMTYPE, linkname="."), _entry("l/x")]

    answer = await calls.put(build, _packed(*members))

    assert 400 == answer.status
    assert "'l/x' lies below the link 'l'" in answer.message
    await calls.remove(build)


async def test_a_link_out_is_taken_and_nothing_below_it(calls: Calls) -> None:
    """
    As by a daemon: it is followed in the container alone.
    """
    build = await calls.create_build("true")
    out = _entry("out", type=tarfile.SYMTYPE, linkname="/etc")
    pipe = _entry("pipe", type=tarfile.FIFOTYPE)

    taken = await calls.put(build, _packed(out, pipe))
    refused = await calls.put(build, _packed(out, _entry("out/passwd")))

    assert 200 == taken.status
    assert (400, True) == (refused.status, "'out/passwd' lies below" in refused.message)
    await calls.remove(build)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Calls]:
    """A Peitho that takes a mebibyte unpacked, and a thousand entries."""
    limits = {"archiveBytes": 1 << 20, "archiveEntries": 1000}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path_factory.mktemp("strict"), limits=limits) as peitho,
        Calls.to(peitho) as made,
    ):
        yield made


async def test_a_bomb_and_a_flood_are_refused(strict: Calls) -> None:
    """
    A few kilobytes that unpack to more than the limit, and more entries than it.
    """
    build = await strict.create_build("true")

    bomb = await strict.put(build, _packed(_entry("zeros", size=2 << 20)))
    flood = await strict.put(build, _packed(*[_entry(f"f{n}") for n in range(1001)]))

    assert (400, "the archive unpacks to more than 1048576 bytes, at 'zeros'") == (
        bomb.status,
        bomb.message,
    )
    assert (400, "the archive has more than 1000 entries, at 'f1000'") == (
        flood.status,
        flood.message,
    )


async def test_a_million_entries_are_refused_by_default(calls: Calls) -> None:
    """
    The default limit is reached long before the million, and told.
    """
    block = _entry("e").tobuf()
    packed = gzip.compress(block * 1_000_000, compresslevel=1)
    build = await calls.create_build("true")

    answer = await calls.put(build, packed)

    assert (400, "the archive has more than 200000 entries, at 'e'") == (
        answer.status,
        answer.message,
    )
    await calls.remove(build)


@pytest.mark.parametrize("cut", [0, 1, 10, 600, -1])
async def test_an_archive_that_is_cut_is_no_archive(calls: Calls, cut: int) -> None:
    """
    However much of it came, 400 says that it is not whole.
    """
    packed = archive({"src/main.go": (0o644, hashlib.shake_256(b"x").digest(4096))})
    build = await calls.create_build("true")

    answer = await calls.put(build, packed[:cut])

    assert 400 == answer.status
    assert "not a whole tar archive" in answer.message
    await calls.remove(build)


async def _broken_off(calls: Calls, method: str, target: str, content: bytes) -> None:
    """Send the head and part of a chunked body, then hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", calls.peitho.port)
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"%x\r\n%s\r\n" % (len(content), content))
    await writer.drain()
    writer.close()
    await reader.read()


async def test_a_body_cut_in_the_middle_is_never_used(calls: Calls, peitho: Peitho) -> None:
    """
    The peer hung up: no image of that name, no upload in the build, no file left.
    """
    whole = context(archive({"chaincode": (0o755, b"x" * 100_000)}))
    build = await calls.create_build("ls /chaincode/input")

    await _broken_off(calls, "POST", "/build?t=cut-image", whole)
    target = f"/containers/{build}/archive?path=/chaincode/input"
    await _broken_off(calls, "PUT", target, archive({"a": (0o644, b"x")}))

    await until(lambda: not _spooled(peitho.data_dir))
    assert 404 == (await calls.call("GET", "/images/cut-image/json")).status
    await calls.remove(build)


def _spooled(data_dir: Path) -> list[Path]:
    return [path for path in (data_dir / "spool").rglob("*") if path.is_file() and _is_upload(path)]


def _is_upload(path: Path) -> bool:
    return path.name.startswith(("upload-", "context"))


DOCKERFILES: dict[str, tuple[str, str]] = {
    "RUN": ("FROM a\nADD binpackage.tar /x\nRUN rm -rf /\n", "Dockerfile line 3: `RUN rm -rf /`"),
    "two ADDs": ("FROM a\nADD binpackage.tar /x\nADD b /y\n", "Dockerfile line 3"),
    "no FROM": ("ADD binpackage.tar /x\n", "Dockerfile line 1"),
    "USER": ("FROM a\n\n# c\nUSER root\nADD binpackage.tar /x\n", "Dockerfile line 4"),
    "climbing": ("FROM a\nADD binpackage.tar /x/../../etc\n", "Dockerfile line 2"),
    "nothing": ("", "Dockerfile"),
}


@pytest.mark.parametrize("case", DOCKERFILES)
async def test_a_dockerfile_of_another_shape_is_refused(calls: Calls, case: str) -> None:
    """
    The line is named, and what is wrong with it.
    """
    text, said = DOCKERFILES[case]

    answer = await calls.build("shape", context(archive({"c": (0o755, b"x")}), text))

    assert 400 == answer.status
    assert said in answer.message
    assert 404 == (await calls.call("GET", "/images/shape/json")).status


REQUESTS: dict[str, Callable[[Calls], object]] = {
    "no JSON": lambda calls: calls.call("POST", "/containers/create?name=x", data=b"{"),
    "no image": lambda calls: calls.call("POST", "/containers/create?name=x", json={}),
    "a number": lambda calls: calls.call(
        "POST", "/containers/create?name=x", json={"Image": "a", "Cmd": 5}
    ),
    "a bad name": lambda calls: calls.create("../x", "a"),
    "a bad image name": lambda calls: calls.build("UPPER CASE", b""),
    "no name to build": lambda calls: calls.call("POST", "/build"),
    "no image to pull": lambda calls: calls.call("POST", "/images/create"),
    "a huge request": lambda calls: calls.call(
        "POST", "/containers/create?name=x", data=b" " * (2 << 20)
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_a_request_that_makes_no_sense_is_told_so(calls: Calls, case: str) -> None:
    """
    400 with a sentence, as Docker's JSON error.
    """
    answer = await REQUESTS[case](calls)  # type: ignore[misc]  # each is a coroutine of an Answer

    assert isinstance(answer, Answer)
    assert 400 == answer.status
    assert answer.message
    assert "application/json" == answer.headers["Content-Type"]


async def test_files_too_large_for_a_secret_are_refused(calls: Calls) -> None:
    """
    A chaincode's upload is TLS files, kilobytes; a mebibyte is told to be too much.
    """
    await calls.make_image("image-large")
    await calls.create("large", "image-large")

    answer = await calls.put("large", archive({"/etc/x": (0o644, b"\0" * (1 << 20))}), path="/")

    assert 400 == answer.status
    assert "524288 bytes" in answer.message
    await calls.remove("large")
