import io
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.docker import streams
from peitho.formats.docker.streams import FrameReader
from peitho.formats.kubernetes import build_wrapper
from peitho.formats.tar import ArchiveLimits
from peitho.pod import calls, helper
from peitho.pod.calls import CallError
from tests.support.archives import archive_bytes, file
from tests.support.serving import AUTHORITY, Answer, Serving, cut_chunks, serving

OK: Answer = (200, b"")
PATHS = (
    *("CONTROL", "LACKS", "READY", "GO_CACHE"),
    *("GO", "STARTED", "STDOUT", "STDERR", "EXIT", "DONE"),
)
SOURCE = archive_bytes([file("src/main.go", b"package main")], compression="gz")


class Pod:
    """The directories that builder and helper share, and the builder's real shell."""

    def __init__(self, root: Path) -> None:
        self.control = root / "peitho"
        self.input = root / "input"
        self.output = root / "output"
        for directory in (self.control, self.input, self.output):
            directory.mkdir()

    def answers(self, *uploads: bytes, compiled: Answer | None = None) -> dict[str, list[Answer]]:
        """What Peitho answers to the helper of build `b`; also when asked for what is compiled."""
        about = {
            "uploads": [{"number": n, "path": str(self.input)} for n, _ in enumerate(uploads)],
            "output": str(self.output),
            "compiled": compiled is not None,
        }
        return {
            "/builds/b": [(200, json.dumps(about).encode())],
            **{f"/builds/b/uploads/{n}": [(200, each)] for n, each in enumerate(uploads)},
            "/builds/b/compiled": [compiled or OK],
            "/builds/b/log": [OK],
            "/builds/b/exit": [OK],
            **{f"/builds/b/result?architecture={each}": [OK] for each in ("amd64", "arm64")},
        }

    def run(self, server: Serving, command: str, *, lacks: bool = False) -> None:
        """Run a command in the builder and the helper beside it, to the end of both."""
        home, tools = self.control.with_name("home"), self.control.with_name("bin")
        home.mkdir()
        tools.mkdir()
        (tools / "go").write_text("#!/bin/sh\n")
        (tools / "go").chmod(0o755)
        path = f"{tools}:/usr/bin:/bin" if lacks else "/usr/bin:/bin"
        script = build_wrapper.WRAPPER.replace("/peitho", str(self.control))
        arguments = ["/bin/sh", "-c", script, "peitho", "/bin/sh", "-c", command]
        with subprocess.Popen(arguments, env={"PATH": path, "HOME": str(home)}) as builder:
            try:
                helper.help_build(server.client(), "b")
                builder.wait(timeout=20)
            finally:
                builder.kill()


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pod]:
    """A Pod's directories, where the helper looks for them."""
    with tempfile.TemporaryDirectory() as root:
        found = Pod(Path(root))
        monkeypatch.setattr(build_wrapper, "SHARED", "")
        for name in PATHS:
            path = getattr(build_wrapper, name).replace("/peitho", str(found.control))
            monkeypatch.setattr(build_wrapper, name, path)
        yield found


def result_of(server: Serving) -> dict[str, bytes]:
    """The files that the helper sent at the end."""
    (body,) = [body for _, path, _, body in server.requests if "/result?" in path]
    return tar.read_files(io.BytesIO(body), limits=ArchiveLimits())


def test_a_build_from_upload_to_result(pod: Pod) -> None:
    """
    Uploads are there when the command runs; its output, code and files arrive, in this order.
    """
    command = (
        f"printf 'says \\r'; printf no >&2; cat {pod.input}/src/main.go > {pod.output}/cc; exit 3"
    )
    with serving(pod.answers(SOURCE)) as server:
        pod.run(server, command)

    said = FrameReader().feed(b"".join(server.bodies("/builds/b/log")))
    assert b"says \r" == b"".join(data for stream, data in said if stream == streams.STDOUT)
    assert b"no" == b"".join(data for stream, data in said if stream == streams.STDERR)
    assert [b"3"] == server.bodies("/builds/b/exit")
    assert {"/cc": b"package main"} == result_of(server)
    assert ["/builds/b", "/builds/b/uploads/0", "/builds/b/log", "/builds/b/exit"] == [
        path for _, path, _, _ in server.requests[:4]
    ]
    assert {"Bearer t"} == {token for _, _, token, _ in server.requests}


def test_much_output_arrives_whole(pod: Pod) -> None:
    """
    More than the helper reads at once, and nothing of it twice.
    """
    with serving(pod.answers()) as server:
        pod.run(server, "head -c 1000000 /dev/zero | tr '\\0' x; echo end")

    said = FrameReader().feed(b"".join(server.bodies("/builds/b/log")))
    assert b"x" * 1_000_000 + b"end\n" == b"".join(data for _, data in said)


def test_a_later_upload_lies_over_an_earlier_one(pod: Pod) -> None:
    """
    In the order in which the peer sent them.
    """
    second = archive_bytes([file("src/main.go", b"second"), file("more", b"more")])
    with serving(pod.answers(SOURCE, second)) as server:
        result = helper.fetch(server.client(), "b")

    assert pod.output == result
    assert b"second" == (pod.input / "src/main.go").read_bytes()
    assert b"more" == (pod.input / "more").read_bytes()
    assert [] == list(pod.control.iterdir())


def test_a_fetch_that_failed_begins_anew(pod: Pod) -> None:
    """
    What came of it before it broke off does not stay in the archive.
    """
    answers = pod.answers(SOURCE)
    answers["/builds/b/uploads/0"].insert(0, cut_chunks(b"x" * 300_000))
    with serving(answers) as server:
        helper.fetch(server.client(), "b")

    assert b"package main" == (pod.input / "src/main.go").read_bytes()


def test_what_was_compiled_before_is_there_when_the_command_runs(pod: Pod) -> None:
    """
    Go is told where.
    """
    cache = archive_bytes([file("00/00-d", b"compiled")])
    with serving(pod.answers(SOURCE, compiled=(200, cache))) as server:
        pod.run(server, f"cat $GOCACHE/00/00-d > {pod.output}/cc", lacks=True)

    assert {"/cc": b"compiled"} == result_of(server)


@pytest.mark.parametrize(
    "answer",
    [(404, b"none"), (403, b"gone"), (400, b"no"), (200, b"no archive"), (200, SOURCE[:-20])],
    ids=["none", "gone", "refused", "no archive", "cut"],
)
def test_a_build_can_do_without_what_was_compiled_before(pod: Pod, answer: Answer) -> None:
    """
    Whatever is wrong with it: none of it stays, and Go keeps to its own place.
    """
    with serving(pod.answers(SOURCE, compiled=answer)) as server:
        pod.run(server, f"echo -n ${{GOCACHE-unset}} > {pod.output}/cc", lacks=True)

    assert {"/cc": b"unset"} == result_of(server)
    assert [] == list(pod.control.glob("compiled/*"))


def test_an_image_that_lacks_nothing_is_given_nothing(pod: Pod) -> None:
    """
    Peitho is not asked for it.
    """
    with serving(pod.answers(SOURCE, compiled=(404, b"none"))) as server:
        pod.run(server, "true")

    assert "/builds/b/compiled" not in [path for _, path, _, _ in server.requests]


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_an_image_says_that_it_lacks_is_read_from_a_file_alone(pod: Pod, kind: str) -> None:
    """
    The shell is the image's own: what it writes could be a link to what the helper alone can read.
    """
    lacks = Path(build_wrapper.LACKS)
    if kind == "link":
        lacks.symlink_to("/proc/self/environ")
    elif kind == "fifo":
        os.mkfifo(lacks)
    else:
        lacks.mkdir()
    Path(build_wrapper.READY).touch()
    with serving(pod.answers(compiled=OK)) as server, pytest.raises((OSError, InvalidArgument)):
        helper.fetch(server.client(), "b")


def test_the_word_to_go_is_not_given_when_an_upload_cannot_be_had(pod: Pod) -> None:
    """
    The command does not run on half of its files.
    """
    answers = pod.answers(SOURCE)
    answers["/builds/b/uploads/0"] = [(404, b"No such upload: 0")]
    with serving(answers) as server, pytest.raises(CallError, match="No such upload"):
        helper.help_build(server.client(), "b")

    assert not Path(build_wrapper.GO).exists()


def test_what_goes_wrong_while_packing_is_raised(tmp_path: Path) -> None:
    """
    An output directory that is gone is no empty result.
    """
    with pytest.raises(FileNotFoundError):
        list(helper.packed(tmp_path / "gone"))


@pytest.mark.parametrize(
    "harm", ["rm -f {0}; ln -s {1} {0}", "rm -f {0}; mkfifo {0}", "rm -f {0}; mkdir {0}"]
)
def test_what_a_build_puts_in_place_of_its_output_is_not_read(tmp_path: Path, harm: str) -> None:
    """
    A link leads to what only the helper can read, and a fifo keeps it waiting for ever.
    """
    secret = tmp_path / "secret"
    secret.write_bytes(b"the helper's token")
    path = str(tmp_path / "stdout")
    subprocess.run(["/bin/sh", "-c", harm.format(path, secret)], check=True)

    with pytest.raises((OSError, InvalidArgument)):
        helper.opened(path)


def test_links_in_a_result_are_packed_as_links(tmp_path: Path) -> None:
    """
    Neither a file nor a directory outside the result is in it, and a fifo keeps nobody waiting.
    """
    outside, result = tmp_path / "outside", tmp_path / "result"
    outside.mkdir()
    result.mkdir()
    (outside / "secret").write_bytes(b"the helper's token")
    (result / "file").symlink_to(outside / "secret")
    (result / "directory").symlink_to(outside)
    os.mkfifo(result / "fifo")

    packed = b"".join(helper.packed(result))

    assert b"the helper's token" not in packed
    assert {"": "dir", "file": "symlink", "directory": "symlink", "fifo": "fifo"} == {
        entry.name: entry.kind for entry in tar.scan(io.BytesIO(packed), limits=ArchiveLimits())
    }


class TestTheProgram:
    @pytest.fixture(autouse=True)
    def _in_a_pod(self, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(calls, "_TERMINATION_LOG", pod.control / "termination-log")
        monkeypatch.setenv("PEITHO_TOKEN", "t")
        monkeypatch.setenv("PEITHO_CA", AUTHORITY.pem)
        monkeypatch.setenv("PEITHO_BUILD", "b")
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_build_that_was_removed_is_no_failure(
        self, pod: Pod, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        """
        The helper goes without a word.
        """
        with serving({"/builds/b": [(status, b"gone")]}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 0 == helper.main()

        assert not (pod.control / "termination-log").exists()

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ((400, b"not an exit code"), "Peitho did not take part: GET /builds/b: 400 not an"),
            ((200, archive_bytes([file("../evil")])), "InvalidArgument: the entry '../evil'"),
        ],
        ids=["refused", "hostile upload"],
    )
    def test_a_failure_is_told_with_its_reason(
        self, pod: Pod, monkeypatch: pytest.MonkeyPatch, answer: Answer, message: str
    ) -> None:
        """
        Where the cluster shows it, and Peitho reads it.
        """
        answers = pod.answers(SOURCE)
        refused = isinstance(answer, tuple) and answer[0] == 400
        answers["/builds/b" if refused else "/builds/b/uploads/0"] = [answer]
        with serving(answers) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 1 == helper.main()

        assert (pod.control / "termination-log").read_text().startswith(message)
