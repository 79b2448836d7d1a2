import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peitho.formats.kubernetes import build_wrapper

NOBODY = 65534


@pytest.fixture
def control() -> Iterator[Path]:
    """What `/peitho` is in a build's Pod; any user may write to it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def start(
    control: Path, *command: str, home: str | None = "/tmp", user: int | None = None
) -> subprocess.Popen[bytes]:
    """The wrapper around a command, under the real shell."""
    script = build_wrapper.WRAPPER.replace(build_wrapper.CONTROL, str(control))
    environment = {"PATH": "/usr/bin:/bin"} | ({} if home is None else {"HOME": home})
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "peitho", *command],
        env=environment,
        user=user,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(control: Path, *command: str, home: str | None = "/tmp", user: int | None = None) -> int:
    """Run a command to its end, with the word to go there already; the wrapper's exit code."""
    (control / "go").touch()
    with start(control, *command, home=home, user=user) as process:
        said, _ = process.communicate(timeout=20)
    assert b"" == said
    return process.returncode


def test_stdout_and_stderr_are_kept_apart_byte_for_byte(control: Path) -> None:
    """
    What the command says is in two files, and nowhere else.
    """
    code = run(control, "/bin/sh", "-c", r"printf 'out\0\r\n'; printf 'err' >&2")

    assert 0 == code
    assert b"out\0\r\n" == (control / "stdout").read_bytes()
    assert b"err" == (control / "stderr").read_bytes()


@pytest.mark.parametrize("code", [0, 1, 3, 137, 255])
def test_the_exit_code_is_the_commands_own(control: Path, code: int) -> None:
    """
    It is written down, and the wrapper ends with it.
    """
    assert code == run(control, "/bin/sh", "-c", f"exit {code}")

    assert f"{code}\n" == (control / "exit").read_text()
    assert (control / "started").exists()
    assert (control / "done").exists()


def test_a_command_that_is_not_there_is_127(control: Path) -> None:
    """
    The shell's own code and words, in the file of stderr.
    """
    assert 127 == run(control, "no-such-command")

    assert "no-such-command: not found" in (control / "stderr").read_text()


def test_a_killed_command_is_128_and_its_signal(control: Path) -> None:
    """
    As Docker has it.
    """
    assert 137 == run(control, "/bin/sh", "-c", "kill -9 $$")

    assert "137\n" == (control / "exit").read_text()


def test_the_command_is_run_unchanged(control: Path) -> None:
    """
    Words with spaces, quotes, dollars and stars arrive as they are.
    """
    words = ["a b", "'\"", "$HOME $(id) `id`", "*", "", "-n"]

    run(control, sys.executable, "-c", "import sys; print(sys.argv[1:])", *words)

    assert f"{words!r}\n" == (control / "stdout").read_text()


def test_nothing_runs_before_the_word_to_go(control: Path) -> None:
    """
    Uploads are fetched meanwhile.
    """
    with start(control, "/bin/sh", "-c", f"test -e {control}/go && echo after") as process:
        assert not (control / "started").exists()
        (control / "go").touch()
        assert 0 == process.wait(timeout=20)

    assert "after\n" == (control / "stdout").read_text()


class TestWhatTheImageLacks:
    @pytest.fixture
    def run_in(self, control: Path) -> Callable[..., str]:
        """Run the wrapper in an image that has a Go; what GOCACHE is for the command."""
        (control / "bin").mkdir()
        (control / "bin/go").write_text("#!/bin/sh\n")
        (control / "bin/go").chmod(0o755)
        (control / "go").touch()

        def run_with(path: str = f"{control}/bin:/usr/bin:/bin", **env: str) -> str:
            script = build_wrapper.WRAPPER.replace(build_wrapper.CONTROL, str(control))
            command = ["/bin/sh", "-c", script, "peitho", "/bin/sh", "-c", "echo ${GOCACHE-unset}"]
            subprocess.run(
                command, env={"PATH": path, "HOME": str(control)} | env, timeout=20, check=True
            )
            assert (control / "ready").exists()
            return (control / "stdout").read_text().strip()

        return run_with

    def test_an_image_with_go_and_nothing_compiled(
        self, control: Path, run_in: Callable[..., str]
    ) -> None:
        """
        Go has its own place, unless the helper brought something.
        """
        assert "unset" == run_in()
        assert "go\n" == (control / "lacks").read_text()

        (control / "compiled/go").mkdir(parents=True)
        assert f"{control}/compiled/go" == run_in()

    @pytest.mark.parametrize("place", [".cache", "xdg"])
    def test_an_image_that_has_something_compiled(
        self, control: Path, run_in: Callable[..., str], place: str
    ) -> None:
        """
        It lacks nothing, wherever its cache is.
        """
        (control / place / "go-build").mkdir(parents=True)
        (control / place / "go-build/README").touch()

        assert "unset" == run_in(
            **({"XDG_CACHE_HOME": str(control / "xdg")} if place == "xdg" else {})
        )
        assert "" == (control / "lacks").read_text()

    def test_a_cache_that_the_image_or_the_peer_names(
        self, control: Path, run_in: Callable[..., str]
    ) -> None:
        """
        Is left alone.
        """
        assert "/own" == run_in(GOCACHE="/own")
        assert "" == (control / "lacks").read_text()

    def test_an_image_without_go(self, control: Path, run_in: Callable[..., str]) -> None:
        """
        Lacks nothing.
        """
        assert "unset" == run_in(path="/usr/bin:/bin")
        assert "" == (control / "lacks").read_text()


class TestWhatIsDownloaded:
    @pytest.fixture
    def home(self, control: Path) -> Path:
        """The home of the image, which has a file of a repository of its own."""
        home = control / "home"
        (home / ".m2/repository/own").mkdir(parents=True)
        (home / ".m2/repository/own/own-1.jar").touch()
        return home

    def packed(self, control: Path) -> list[str]:
        """The names of what the wrapper packed."""
        with tarfile.open(control / "packed") as archive:
            return sorted(archive.getnames())

    def test_what_is_new_in_the_caches_is_packed(self, control: Path, home: Path) -> None:
        """
        What a build was given counts as new; settings, locks and what is newest do not.
        """
        (control / "keep").touch()
        (control / "packages/.m2/repository/given").mkdir(parents=True)
        (control / "packages/.m2/repository/given/given-1.jar").write_text("given")
        made = (
            *(".m2/settings.xml", ".m2/repository/a/1/a-1.jar", ".m2/repository/a/1/a-1.jar.part"),
            *(".m2/repository/a/1/a-1.pom.lastUpdated", ".m2/repository/a/maven-metadata-x.xml"),
            *(".m2/repository/a/2-SNAPSHOT/a-2-1.jar", ".m2/repository/resolver-status.properties"),
            *(".m2/wrapper/dists/maven/bin/mvn", ".gradle/wrapper/dists/gradle/gradle.zip.lck"),
            *(".gradle/caches/modules-2/files-2.1/b", ".gradle/caches/modules-2/modules-2.lock"),
            *(".gradle/caches/8.5/c", ".gradle/init.d/d", ".gradle/gradle.properties", ".npm/e"),
        )
        make = 'cat .m2/repository/given/given-1.jar; for file in "$@"; do '
        make += 'mkdir -p "${file%/*}"; : > "$file"; done'

        command = ("/bin/sh", "-c", f"cd {home}; {make}", "sh", *made)
        assert 0 == run(control, *command, home=str(home))

        assert "given" == (control / "stdout").read_text()
        assert [
            ".gradle/caches/modules-2/files-2.1/b",
            ".m2/repository/a/1/a-1.jar",
            ".m2/repository/given/given-1.jar",
            ".m2/wrapper/dists/maven/bin/mvn",
        ] == self.packed(control)

    def test_a_build_without_any_packs_nothing(self, control: Path) -> None:
        """
        An archive that has nothing in it.
        """
        (control / "keep").touch()

        assert 0 == run(control, "true", home=str(control))

        assert [] == self.packed(control)

    @pytest.mark.parametrize(("code", "kept"), [(3, True), (0, False)])
    def test_nothing_is_packed_of_a_build_that_fails_or_that_nobody_asked(
        self, control: Path, home: Path, code: int, *, kept: bool
    ) -> None:
        """
        And the exit code is the command's own.
        """
        if kept:
            (control / "keep").touch()

        command = ("/bin/sh", "-c", f": > {home}/.m2/repository/new.jar; exit {code}")
        assert code == run(control, *command, home=str(home))

        assert not (control / "packed").exists()


def test_what_the_kubelet_adds_to_the_variables_is_not_there(control: Path) -> None:
    """
    A daemon's container has none of it.
    """
    script = build_wrapper.WRAPPER.replace(build_wrapper.CONTROL, str(control))
    (control / "go").touch()
    added = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_PORT_443_TCP_ADDR": "10.0.0.1"}
    subprocess.run(
        ["/bin/sh", "-c", script, "peitho", "env"],
        env={"PATH": "/usr/bin:/bin", "MINE": "1"} | added,
        timeout=20,
        check=True,
    )

    assert "KUBERNETES" not in (control / "stdout").read_text()
    assert "MINE=1\n" in (control / "stdout").read_text()


HOME = ("/bin/sh", "-c", "echo ${HOME-unset}")


def test_a_home_with_a_warm_cache_is_left_alone(control: Path) -> None:
    """
    A writable home may hold a compiler's cache.
    """
    run(control, *HOME, home=str(control))

    assert f"{control}\n" == (control / "stdout").read_text()


def test_a_home_that_is_not_there_becomes_tmp(control: Path) -> None:
    """
    A user that the image does not know has none.
    """
    run(control, *HOME, home="/no/such/home")

    assert "/tmp\n" == (control / "stdout").read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("home", ["/", "/root", None])
def test_a_home_that_is_not_writable_becomes_tmp(control: Path, home: str | None) -> None:
    """
    For a user without a home it is `/`, and npm fails on it.
    """
    run(control, *HOME, home=home, user=NOBODY)

    assert "/tmp\n" == (control / "stdout").read_text()
