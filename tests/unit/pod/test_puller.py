import hashlib
import io
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument, PeithoError
from peitho.formats.images import layers
from peitho.formats.kubernetes import chaincode_job
from peitho.formats.tar import ArchiveLimits
from peitho.pod import calls, puller
from peitho.pod.calls import CallError
from tests.support.archives import archive, archive_bytes, file
from tests.support.serving import AUTHORITY, Answer, cut, hang_up, serving


def layer() -> bytes:
    """A chaincode's layer."""
    out = io.BytesIO()
    chaincode = archive(file("chaincode", b"elf" * 1000, mode=0o755))
    layers.write(chaincode, out, directory="/usr/local/bin", limits=ArchiveLimits())
    return out.getvalue()


LAYER = layer()
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def pull(target: Path, *answers: Answer, digest: str = DIGEST) -> None:
    """Pull a blob from a server that gives these answers."""
    with serving({f"/blobs/{digest}": list(answers)}) as server:
        puller.pull(server.client(), digest, target)


def test_a_layer_is_fetched_and_unpacked(tmp_path: Path) -> None:
    """
    The chaincode is executable where the image has it, and nothing else is left.
    """
    pull(tmp_path, (200, LAYER))

    chaincode = tmp_path / "usr/local/bin/chaincode"
    assert b"elf" * 1000 == chaincode.read_bytes()
    assert 0o755 == chaincode.stat().st_mode & 0o777
    assert ["usr"] == [path.name for path in tmp_path.iterdir()]


def test_a_layer_with_another_digest_is_not_unpacked(tmp_path: Path) -> None:
    """
    Nothing of it is left, and the error names both digests.
    """
    with pytest.raises(PeithoError, match=f"the layer is damaged: .* should be {DIGEST}"):
        pull(tmp_path, (200, LAYER[:-1] + b"x"))

    assert [] == list(tmp_path.iterdir())


def test_a_layer_that_was_cut_is_fetched_again(tmp_path: Path) -> None:
    """
    Half a layer is thrown away, and fetched again.
    """
    pull(tmp_path, cut(LAYER, at=5000), (200, LAYER))

    assert (tmp_path / "usr/local/bin/chaincode").is_file()


def test_a_token_that_does_not_open_it_is_final(tmp_path: Path) -> None:
    """
    A refusal is told as it is.
    """
    with pytest.raises(CallError, match="403 this token"):
        pull(tmp_path, (403, b"this token does not open this"))

    assert [] == list(tmp_path.iterdir())


def test_a_peitho_that_is_restarting_is_waited_for(tmp_path: Path) -> None:
    """
    What came before the right answer does not matter.
    """
    pull(tmp_path, hang_up, (500, b"x" * 50_000), (200, LAYER))

    assert (tmp_path / "usr/local/bin/chaincode").exists()


def test_a_hostile_layer_with_the_right_digest_is_refused(tmp_path: Path) -> None:
    """
    The digest says what it is, not that it is good.
    """
    target = tmp_path / "target"
    target.mkdir()
    hostile = archive_bytes([file("../evil")])

    with pytest.raises(InvalidArgument, match="leaves the target"):
        pull(target, (200, hostile), digest=f"sha256:{hashlib.sha256(hostile).hexdigest()}")

    assert ["target"] == [path.name for path in tmp_path.iterdir()]


class TestTheProgram:
    @pytest.fixture(autouse=True)
    def _in_a_pod(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.delenv("PEITHO_WORD", raising=False)
        monkeypatch.setattr(calls, "_TERMINATION_LOG", tmp_path / "termination-log")
        monkeypatch.setenv("PEITHO_TOKEN", "t")
        monkeypatch.setenv("PEITHO_CA", AUTHORITY.pem)
        monkeypatch.setenv("PEITHO_BLOB", DIGEST)
        monkeypatch.setenv("PEITHO_TARGET", str(tmp_path / "layer"))
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)

    def test_it_ends_with_0_when_the_layer_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The main container may start.
        """
        with serving({f"/blobs/{DIGEST}": [(200, LAYER)]}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 0 == puller.main()

        assert (tmp_path / "layer/usr/local/bin/chaincode").exists()

    def test_it_ends_with_1_and_the_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The peer reads it in the error of its start; what lies below the file cannot be mounted.
        """
        with serving({}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 1 == puller.main()

        assert (tmp_path / "layer").is_file()
        said = (tmp_path / "termination-log").read_text()
        assert said.startswith("the chaincode's layer could not be fetched from Peitho: GET /blobs")
        assert "404 nothing here" in said

    def test_a_layer_that_is_whole_is_not_fetched_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A Pod's puller may run a second time; what chaincode has written since then stays.
        """
        with serving({f"/blobs/{DIGEST}": [(200, LAYER)]}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 0 == puller.main()
            (tmp_path / "layer/written").touch()
            assert 0 == puller.main()
            assert 1 == len(server.requests)

        assert ["usr", "written"] == sorted(each.name for each in (tmp_path / "layer").iterdir())
        assert not (tmp_path / ".part").exists()

    def test_a_directory_that_no_puller_made_is_no_layer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A kubelet that went on to chaincode made it, for what is mounted of the layer.
        """
        (tmp_path / "layer/usr/local/bin").mkdir(parents=True)
        with serving({f"/blobs/{DIGEST}": [(200, LAYER)]}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert [1, 1] == [puller.main(), puller.main()]

        assert [] == list((tmp_path / "layer/usr/local/bin").iterdir())
        said = (tmp_path / "termination-log").read_text()
        assert "there is a directory in its place: chaincode was begun without it" in said

    @pytest.mark.parametrize("ended", ["in the middle", "before the layer had its name"])
    def test_what_a_puller_left_is_fetched_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: str
    ) -> None:
        """
        Nobody knows how much of it is there.
        """
        left = tmp_path / ".part/usr/local/bin"
        left.mkdir(parents=True)
        (left / "chaincode").write_bytes(b"half")
        if ended == "in the middle":
            (tmp_path / "layer").touch()
        with serving({f"/blobs/{DIGEST}": [(200, LAYER)]}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 0 == puller.main()

        assert b"elf" * 1000 == (tmp_path / "layer/usr/local/bin/chaincode").read_bytes()
        assert not (tmp_path / ".part").exists()

    def test_a_puller_that_failed_can_run_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        As where a template has a Pod's containers restarted.
        """
        answers: list[Answer] = [(404, b"not yet"), (200, LAYER)]
        with serving({f"/blobs/{DIGEST}": answers}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert [1, 0] == [puller.main(), puller.main()]

        assert (tmp_path / "layer/usr/local/bin/chaincode").is_file()

    def test_a_puller_that_cannot_even_ask_leaves_nothing_that_could_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The file is there before anything else is tried, and nobody is told that the layer is.
        """
        monkeypatch.setenv("PEITHO_URL", "https://127.0.0.1:1")
        monkeypatch.setenv("PEITHO_CA", "")
        monkeypatch.setenv("PEITHO_WORD", str(tmp_path / "no/word"))

        assert 1 == puller.main()

        assert (tmp_path / "layer").is_file()

    def test_a_word_that_cannot_be_said_is_no_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The layer is there: chaincode may have begun on it.
        """
        word = tmp_path / "word"
        word.symlink_to(tmp_path / "nowhere")
        monkeypatch.setenv("PEITHO_WORD", str(word))
        with serving({f"/blobs/{DIGEST}": [(200, LAYER)]}) as server:
            monkeypatch.setenv("PEITHO_URL", server.url)
            assert 0 == puller.main()

        assert (tmp_path / "layer/usr/local/bin/chaincode").exists()

    def test_it_says_when_the_layer_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        To the process that the kubelet waits for, whichever is first, and ends after it.
        """
        word = tmp_path / "word"
        monkeypatch.setenv("PEITHO_WORD", str(word))
        wait = [sys.executable, *chaincode_job.WAIT[1:]]
        code = chaincode_job.WAITING.replace(chaincode_job.WORD, str(word))
        found = f'"$@" && [ -d {tmp_path}/layer/usr ] && echo whole'
        for is_late in (False, True):
            shutil.rmtree(tmp_path / "layer", ignore_errors=True)
            word.unlink(missing_ok=True)
            with serving({f"/blobs/{DIGEST}": [(200, LAYER)]}) as server:
                monkeypatch.setenv("PEITHO_URL", server.url)
                shell = f"sleep 0.1; {found}" if is_late else found
                with subprocess.Popen(
                    ["/bin/sh", "-c", shell, "sh", *wait, code], stdout=subprocess.PIPE, text=True
                ) as waiting:
                    assert 0 == puller.main()
                    assert "whole\n" == waiting.communicate(timeout=10)[0]
                    assert 0 == waiting.returncode

    def test_a_word_that_nobody_waits_for_is_not_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The puller ends in any case.
        """
        monkeypatch.setattr(puller, "_HEARD_SECONDS", 0.05)
        fifo = tmp_path / "word"
        puller.make_fifo(str(fifo))

        puller.say("whole", str(fifo))

        assert fifo.is_fifo()
