"""How far a run of several steps is, and how long is left: as long as its steps took last time."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_CHARACTERS = 20


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

    def bar(self) -> str:
        """What is done of all, and about how long is left."""
        spent = self._clock() - self._step_began
        left = sum(self._seconds[name] for name in self._left[1:])
        if self._left:
            left += max(0.0, self._seconds[self._left[0]] - spent)
        gone = self._clock() - self._began
        done = round(_CHARACTERS * gone / (gone + left)) if gone + left else _CHARACTERS
        marks = "#" * done + "." * (_CHARACTERS - done)
        return f"[{marks}] {gone:.0f} s, about {left:.0f} s left"


def _read(memory: Path) -> dict[str, float]:
    try:
        kept = json.loads(memory.read_text())
        return {str(name): float(seconds) for name, seconds in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
