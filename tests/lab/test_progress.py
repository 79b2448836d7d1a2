from pathlib import Path

from tests.lab.progress import Progress

KNOWN = {"build": 60.0, "run": 30.0, "clean": 10.0}


class Clock:
    """A time that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_is_what_the_steps_are_known_to_take(tmp_path: Path) -> None:
    """
    Less what the one that runs has taken; one that takes longer has nothing left.
    """
    clock = Clock()
    progress = Progress(KNOWN, tmp_path / "seconds.json", clock)

    progress.begin("build")
    clock.now = 50
    assert "[##########..........] 50 s, about 50 s left" == progress.bar()
    clock.now = 90
    assert progress.bar().endswith("90 s, about 40 s left")


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
    assert second.bar().endswith("about 45 s left")
    second.begin("clean")
    second.end()
    assert "[####################] 0 s, about 0 s left" == second.bar()


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    """
    The known seconds are used.
    """
    memory = tmp_path / "seconds.json"
    memory.write_text("[1")

    assert Progress(KNOWN, memory, Clock()).bar().endswith("about 100 s left")
