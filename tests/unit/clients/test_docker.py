"""
The client against a double of a daemon: what it sends, and faults a real one cannot be made to do.

Whole builds in a real daemon are told by tests/journeys.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from peitho.clients.docker import DaemonTlsFiles, Docker, DockerError
from peitho.errors import Conflict, InvalidArgument, NotFound, PeithoError, Unavailable
from peitho.formats.docker.streams import FrameReader
from tests.support.docker_double import Dockerd, always, breaks, refusal
from tests.support.loopback import listening_with_tls

BODY = {"Image": "ccenv", "Labels": {"a": "1", "b": "2"}}


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[Dockerd, Docker]]:
    """A double of a daemon, and the client of it."""
    async with Dockerd.start(path) as daemon, daemon.client() as docker:
        yield daemon, docker


class TestVersion:
    @pytest.mark.parametrize(
        ("theirs", "spoken"),
        [(None, "1.24"), ("1.24", "1.24"), ("1.41", "1.41"), ("1.51", "1.51"), ("2.0", "1.51")],
    )
    async def test_the_daemons_own_version_is_spoken(
        self, tmp_path: Path, theirs: str | None, spoken: str
    ) -> None:
        """
        Up to the newest that we know; a daemon that says none is of the oldest kind.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.api_version = theirs
            await docker.create("a", BODY)
            await docker.start("a")

            assert {spoken} == daemon.versions
            assert 1 == len(daemon.asked("GET", "/_ping"))

    @pytest.mark.parametrize("version", ["1.23", "0.9", "", "one", "1.2.3"])
    async def test_a_daemon_that_is_too_old_is_told(self, tmp_path: Path, version: str) -> None:
        """
        As is one whose version is no version.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.api_version = version or " "
            with pytest.raises(DockerError, match=r"speaks API .*; 1.24 is the least"):
                await docker.ping()

    async def test_the_version_is_asked_for_anew_after_the_daemon_was_away(
        self, tmp_path: Path
    ) -> None:
        """
        It may have been upgraded meanwhile, or the other way.
        """
        async with connected(tmp_path) as (daemon, docker):
            await docker.find({})
            daemon.script("GET", "/containers/json", breaks(b"["))
            with pytest.raises(Unavailable):
                await docker.find({})
            daemon.api_version = "1.30"
            await docker.find({})

            assert {"1.41", "1.30"} == daemon.versions


class TestAway:
    async def test_no_daemon_is_told_with_its_endpoint(self, tmp_path: Path) -> None:
        """
        Whatever was asked.
        """
        async with Docker.connect(f"unix://{tmp_path}/none", tls=DaemonTlsFiles()) as docker:
            message = f"The Docker daemon at unix://{tmp_path}/none cannot be reached: "
            with pytest.raises(Unavailable, match=message):
                await docker.ping()
            with pytest.raises(Unavailable, match=message):
                await docker.create("a", BODY)

    async def test_a_daemon_that_does_not_answer_is_not_waited_for_by_a_ping(
        self, tmp_path: Path
    ) -> None:
        """
        The kubelet would not either.
        """

        async def silent(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        async with connected(tmp_path) as (daemon, docker):
            daemon.script("GET", "/_ping", silent)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await docker.ping()

    async def test_a_daemon_that_is_not_well_is_away(self, tmp_path: Path) -> None:
        """
        With its own words.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.script("GET", "/_ping", always(lambda: refusal(500, "no containerd")))
            with pytest.raises(Unavailable, match="is not well: no containerd"):
                await docker.ping()

    async def test_a_daemon_that_dies_in_the_middle_is_away(self, tmp_path: Path) -> None:
        """
        While it is waited for, and while an archive comes.
        """
        async with connected(tmp_path) as (daemon, docker):
            await docker.create("a", BODY)
            daemon.script("POST", "/wait", breaks())
            with pytest.raises(Unavailable):
                await docker.wait("a")
            daemon.script("GET", "/archive", breaks(b"part"))
            with pytest.raises(Unavailable):
                async with docker.get_archive("a", "/o") as chunks:
                    assert b"part" == b"".join([each async for each in chunks])

    async def test_an_endpoint_of_another_kind_is_refused(self) -> None:
        """
        Before anything is opened.
        """
        with pytest.raises(InvalidArgument):
            async with Docker.connect("ssh://host:22", tls=DaemonTlsFiles()):
                pass


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, InvalidArgument), (404, NotFound), (409, Conflict), (500, DockerError)],
    )
    async def test_the_daemons_words_are_kept(
        self, tmp_path: Path, status: int, kind: type[PeithoError]
    ) -> None:
        """
        Its status is the kind of error.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.script("POST", "/create", always(lambda: refusal(status, "its words")))
            with pytest.raises(kind, match=r"^its words$"):
                await docker.create("a", BODY)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"<html>bad gateway</html>", "^<html>bad gateway</html>$"),
            (b"", "^status 502$"),
            (b"[1]", r"^\[1\]$"),
            (b"\xff" * 90000, "^\ufffd{500}$"),
        ],
        ids=["html", "empty", "no object", "binary"],
    )
    async def test_an_answer_that_is_none_of_a_daemons_is_an_error_all_the_same(
        self, tmp_path: Path, body: bytes, message: str
    ) -> None:
        """
        A proxy may stand between.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.script("POST", "/start", always(lambda: web.Response(status=502, body=body)))
            with pytest.raises(DockerError, match=message):
                await docker.start("a")

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"StatusCode": "x"}'])
    async def test_a_wait_without_a_code_is_an_error(self, tmp_path: Path, body: bytes) -> None:
        """
        As is one in which the daemon says what went wrong.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.script("POST", "/wait", always(lambda: web.Response(body=body)))
            with pytest.raises(DockerError):
                await docker.wait("a")

    async def test_a_wait_that_went_wrong_is_told(self, tmp_path: Path) -> None:
        """
        With the daemon's reason.
        """
        body = b'{"StatusCode": -1, "Error": {"Message": "context canceled"}}'
        async with connected(tmp_path) as (daemon, docker):
            daemon.script("POST", "/wait", always(lambda: web.Response(body=body)))
            with pytest.raises(DockerError, match="context canceled"):
                await docker.wait("a")


class TestContainers:
    async def test_a_container_lives(self, tmp_path: Path) -> None:
        """
        Created, filled, attached, started, read to its end, waited for, emptied, removed.
        """
        upload = tmp_path / "upload"
        upload.write_bytes(b"x" * 300_000)
        async with connected(tmp_path) as (daemon, docker):
            await docker.create("a", BODY)
            await docker.put_archive("a", "/chaincode/input", upload)
            async with docker.attach("a") as chunks:
                await docker.start("a")
                said = FrameReader().feed(b"".join([each async for each in chunks]))
            code = await docker.wait("a")
            async with docker.get_archive("a", "/chaincode/output/.") as chunks:
                result = b"".join([each async for each in chunks])

            assert ([(1, b"out\n"), (2, b"err\n")], 0, b"the result") == (said, code, result)
            container = daemon.containers["a"]
            assert BODY == container.body
            assert [("/chaincode/input", b"x" * 300_000)] == container.uploads
            assert await docker.remove("a")
            assert not await docker.remove("a")

    async def test_containers_are_found_by_all_their_labels(self, tmp_path: Path) -> None:
        """
        Not by one of them.
        """
        async with connected(tmp_path) as (_, docker):
            await docker.create("a", BODY)
            await docker.create("b", BODY | {"Labels": {"a": "1"}})

            assert ["a"] == [each["Id"] for each in await docker.find({"a": "1", "b": "2"})]

    async def test_a_progress_that_never_ends_its_line_is_an_error(self, tmp_path: Path) -> None:
        """
        It is not kept in memory.
        """
        async with connected(tmp_path) as (daemon, docker):
            daemon.script(
                "POST", "/images/create", always(lambda: web.Response(body=b"x" * 1_000_000))
            )
            with pytest.raises(DockerError, match="progress"):
                await docker.pull("a", "1", auth="")


class TestTls:
    async def test_both_sides_show_their_certificates(self, certificates: Path) -> None:
        """
        The daemon's is checked against the CA file, ours is asked for.
        """
        folder = certificates / "ours"
        async with listening_with_tls(folder) as endpoint:
            ours = DaemonTlsFiles(folder / "ca.crt", folder / "admin.crt", folder / "admin.key")
            async with Docker.connect(endpoint, tls=ours) as docker:
                await docker.ping()
            async with Docker.connect(endpoint, tls=DaemonTlsFiles(ca=folder / "ca.crt")) as docker:
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await docker.ping()

    async def test_the_certificate_of_another_is_refused(self, certificates: Path) -> None:
        """
        Nothing is said to whoever shows it.
        """
        async with listening_with_tls(certificates / "others") as endpoint:
            files = DaemonTlsFiles(ca=certificates / "ours" / "ca.crt")
            async with Docker.connect(endpoint, tls=files) as docker:
                with pytest.raises(Unavailable, match="certificate verify failed"):
                    await docker.ping()

    async def test_a_file_that_changes_is_read_anew(
        self, tmp_path: Path, certificates: Path
    ) -> None:
        """
        Certificates are renewed, and Peitho stays; a file that is missing is named.
        """
        ca = tmp_path / "ca.crt"
        async with (
            listening_with_tls(certificates / "ours", client=ssl.CERT_NONE) as endpoint,
            Docker.connect(endpoint, tls=DaemonTlsFiles(ca=ca)) as docker,
        ):
            with pytest.raises(Unavailable, match=f"TLS files .*{ca}"):
                await docker.ping()
            ca.write_bytes((certificates / "others/ca.crt").read_bytes())
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await docker.ping()
            ca.unlink()
            ca.write_bytes((certificates / "ours/ca.crt").read_bytes())
            await docker.ping()

    async def test_a_certificate_that_is_renewed_is_shown(
        self, tmp_path: Path, certificates: Path
    ) -> None:
        """
        With its key, at the next call: that of another authority is refused until then.
        """
        ours, others = certificates / "ours", certificates / "others"
        shown = DaemonTlsFiles(ours / "ca.crt", tmp_path / "cert", tmp_path / "key")
        _copy(others, tmp_path)
        async with (
            listening_with_tls(ours) as endpoint,
            Docker.connect(endpoint, tls=shown) as docker,
        ):
            with pytest.raises(Unavailable, match="cannot be reached"):
                await docker.ping()
            _copy(ours, tmp_path)
            await docker.ping()


def _copy(folder: Path, target: Path) -> None:
    """Have a folder's certificate and key as `cert` and `key`."""
    (target / "cert").write_bytes((folder / "admin.crt").read_bytes())
    (target / "key").write_bytes((folder / "admin.key").read_bytes())
