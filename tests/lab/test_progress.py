import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.progress import Progress

ROOT = Path(__file__).parents[2]
TWO = f"lab: {'two ' * 20}is being made"
# Says two lines, of which one is wider than the terminal; each look at its clock takes 10 seconds
# of the 10000 that all is known to take.
STORY = """
import itertools, sys
from pathlib import Path
from rich.console import Console
from tests.lab.progress import Progress, shown

seconds = itertools.count(0, 10)
known = {"build": 6000.0, "run": 4000.0}
progress = Progress(known, Path(sys.argv[1]), lambda: float(next(seconds)))
with shown(progress, Console(highlight=False, soft_wrap=True), every_seconds=0.01):
    progress.begin("build")
    print("lab: one is being made")
    print("lab: " + "two " * 20 + "is being made", flush=True)
    sys.stdin.read()
print("over")
"""
KNOWN = {"build": 60.0, "run": 30.0, "clean": 10.0}


class Clock:
    """A time that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_is_what_the_steps_are_known_to_take(tmp_path: Path) -> None:
    """
    Less what the one that runs has taken; with one that takes longer, nobody can tell.
    """
    clock = Clock()
    progress = Progress(KNOWN, tmp_path / "seconds.json", clock)

    progress.begin("build")
    clock.now = 50
    assert "[##########..........] 50 s, about 50 s left" == progress.line()
    clock.now = 90
    assert progress.line().endswith("90 s, more than 40 s left")


def test_a_run_goes_by_the_one_before(tmp_path: Path) -> None:
    """
    Step by step, also one that was cut off.
    """
    clock = Clock()
    first = Progress(KNOWN, tmp_path / "cache" / "seconds.json", clock)
    first.begin("build")
    clock.now = 5
    assert 5.0 == first.end()

    second = Progress(KNOWN, tmp_path / "cache" / "seconds.json", clock)
    assert second.line().endswith("about 45 s left")
    second.begin("clean")
    second.end()
    assert "[####################] 0 s, about 0 s left" == second.line()


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    """
    The known seconds are used.
    """
    memory = tmp_path / "seconds.json"
    memory.write_text("[1")

    assert Progress(KNOWN, memory, Clock()).line().endswith("about 100 s left")


def test_the_last_step_may_take_longer(tmp_path: Path) -> None:
    """
    Then nothing is known to be left.
    """
    clock = Clock()
    progress = Progress(KNOWN, tmp_path / "seconds.json", clock)
    progress.begin("clean")
    clock.now = 11

    assert "[####################] 11 s, nearly done" == progress.line()


def test_a_long_time_is_told_in_minutes(tmp_path: Path) -> None:
    """
    Nobody reads hundreds of seconds.
    """
    progress = Progress({"build": 660.0}, tmp_path / "seconds.json", Clock())

    assert "0 s, about 11 min left" == progress.told()


class TestWhatIsShown:
    def test_a_terminal_has_a_bar_that_moves_below_what_is_printed(self, tmp_path: Path) -> None:
        """
        It is drawn again and again on one line, and gone in the end.
        """
        ours, theirs = os.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "60"}  # noqa: TID251  the terminal
        with subprocess.Popen(
            [sys.executable, "-c", STORY, str(tmp_path / "seconds.json")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            said = read_until(ours, 4)
            process.communicate(b"")
            said += b"".join(pieces(ours))
        os.close(ours)

        text = said.decode()
        assert 0 == process.returncode, text
        for line in ("lab: one is being made\r\n", f"{TWO}\r\n"):
            assert 1 == text.count(line), text
        lefts = [int(each) for each in re.findall(r"about (\d+) min left", text)]
        assert lefts == sorted(lefts, reverse=True)
        assert len(set(lefts)) > 1
        assert "\u2501" in text
        erased = "\x1b[2K"
        assert text.count(erased) >= text.count("left")
        assert text.endswith("over\r\n")

    def test_elsewhere_there_are_plain_lines(self, tmp_path: Path) -> None:
        """
        As in a log of CI, where nothing is drawn anew.
        """
        ours, theirs = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-c", STORY, str(tmp_path / "seconds.json")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            said = read_until(ours, 4)
            process.communicate(b"")
            said += b"".join(pieces(ours))
        os.close(ours)

        lines = said.decode().splitlines()
        assert 0 == process.returncode, lines
        assert ["lab: one is being made", TWO] == lines[:2]
        assert "over" == lines[-1]
        for line in lines[2:-1]:
            assert re.fullmatch(r"  \[[#.]{20}\] \d+ (?:s|min), about \d+ (?:s|min) left", line)


def read_until(descriptor: int, times: int) -> bytes:
    """What is written until it has said so often how long is left."""
    said = b""
    for piece in pieces(descriptor):
        said += piece
        if said.count(b"left") >= times:
            return said
    pytest.fail(f"it ended before: {said!r}")


def pieces(descriptor: int) -> Iterator[bytes]:
    """What is written, until the other end is closed: a terminal then has an error."""
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:
            return
        if not piece:
            return
        yield piece
