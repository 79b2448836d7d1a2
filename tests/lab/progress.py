"""How far a run of several steps is, and how long is left: as long as its steps took last time."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

_CHARACTERS = 20
_MOVES_A_SECOND = 4
# Longer than this is told in minutes.
_LONG_SECONDS = 180


class Progress:
    """Steps in their order with the seconds that they take, which are kept for the next run."""

    def __init__(
        self,
        known: Mapping[str, float],
        memory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = dict(known)
        self._memory = memory
        self._clock = clock
        kept = _read(memory)
        self._seconds |= {name: kept[name] for name in known if name in kept}
        self._left = list(known)
        self._began = self._step_began = clock()

    @property
    def first(self) -> str:
        """The step that is next."""
        return self._left[0]

    def begin(self, name: str) -> None:
        """A step begins; those before it are over."""
        self._left = self._left[self._left.index(name) :]
        self._step_began = self._clock()

    def end(self) -> float:
        """The step is over; its seconds, which are kept."""
        seconds = self._clock() - self._step_began
        name = self._left.pop(0)
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        self._memory.write_text(json.dumps(_read(self._memory) | {name: round(seconds, 1)}))
        self._step_began = self._clock()
        return seconds

    @property
    def share(self) -> float:
        """What is done of all, from 0 to 1, by time."""
        gone, left = self._clock() - self._began, self._seconds_left()[0]
        return gone / (gone + left) if gone + left else 1.0

    def told(self) -> str:
        """How long it runs, and about how long is left; at least, where a step takes longer."""
        left, is_late = self._seconds_left()
        gone = _duration(self._clock() - self._began)
        if is_late and not left:
            return f"{gone}, nearly done"
        return f"{gone}, {'more than' if is_late else 'about'} {_duration(left)} left"

    def line(self) -> str:
        """All of it in one line of plain text."""
        done = round(_CHARACTERS * self.share)
        return f"[{'#' * done}{'.' * (_CHARACTERS - done)}] {self.told()}"

    def _seconds_left(self) -> tuple[float, bool]:
        """What all steps still take, and whether the one that runs is over its time."""
        left = sum(self._seconds[name] for name in self._left[1:])
        if not self._left:
            return left, False
        of_step = self._seconds[self._left[0]] - (self._clock() - self._step_began)
        return left + max(0.0, of_step), of_step < 0


def is_bar_shown(console: Console) -> bool:
    """Whether it is a terminal on which a bar can move."""
    return console.file.isatty() and not console.is_dumb_terminal


@contextmanager
def shown(progress: Progress, console: Console, *, every_seconds: float = 5.0) -> Iterator[None]:
    """
    Show how far all is, meanwhile.

    On a terminal it is a bar that moves, below whatever is printed; elsewhere it is a line every
    few seconds.
    """
    with _bar(progress, console) if is_bar_shown(console) else _lines(progress, every_seconds):
        yield


@contextmanager
def _bar(progress: Progress, console: Console) -> Iterator[None]:
    def drawn() -> Table:
        row = Table.grid(expand=True, padding=(0, 1))
        row.add_column(ratio=1)
        row.add_column(no_wrap=True, justify="right")
        row.add_row(ProgressBar(total=1.0, completed=progress.share), progress.told())
        return row

    with Live(
        get_renderable=drawn,
        console=console,
        refresh_per_second=_MOVES_A_SECOND,
        transient=True,
    ):
        yield


@contextmanager
def _lines(progress: Progress, every_seconds: float) -> Iterator[None]:
    over = threading.Event()

    def show() -> None:
        while not over.wait(every_seconds):
            print(f"  {progress.line()}", flush=True)

    showing = threading.Thread(target=show, name="progress", daemon=True)
    showing.start()
    try:
        yield
    finally:
        over.set()
        showing.join()


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= _LONG_SECONDS else f"{seconds:.0f} s"


def _read(memory: Path) -> dict[str, float]:
    try:
        kept = json.loads(memory.read_text())
        return {str(name): float(seconds) for name, seconds in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
