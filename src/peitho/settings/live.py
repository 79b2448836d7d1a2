"""
Live values: parts read them where they act, and their owner may replace them meanwhile.

One part owns a value as a `Replaceable`. All others hold a `Live` of it, or of something derived
from it, and cannot change it. Nobody has to be told of a change: whoever reads later reads the new
value.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Live(Generic[T_co]):
    """A value to be read at each use; `Live(value)` itself is never replaced."""

    def __init__(self, value: T_co) -> None:
        self._value = value

    @property
    def now(self) -> T_co:
        """The value at this moment; the same object until it is replaced."""
        return self._value

    def map(self, derive: Callable[[T_co], U]) -> "Live[U]":
        """Return a view that derives another value: once for each value, when it is read."""
        return _Derived(self, derive)

    def listening(self, listener: Callable[[], None]) -> AbstractContextManager[None]:
        """Call a function after each replacement, for as long as this is open."""
        del listener  # there is none
        return nullcontext()

    async def until_other(self, than: object) -> None:
        """Return once the value differs from `than`, or at once if it does now."""
        replaced = asyncio.Event()
        with self.listening(replaced.set):
            while self.now == than:
                replaced.clear()
                await replaced.wait()


class Replaceable(Live[T]):
    """A value as its owner holds it; assigning to `now` replaces it."""

    def __init__(self, value: T) -> None:
        super().__init__(value)
        self._listeners: list[Callable[[], None]] = []

    @property
    def now(self) -> T:
        """The value at this moment."""
        return self._value

    @now.setter
    def now(self, value: T) -> None:
        self._value = value
        for listener in list(self._listeners):
            listener()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call a function after each replacement, for as long as this is open."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


class _Derived(Live[U], Generic[T, U]):
    """A value derived from another one."""

    def __init__(self, source: Live[T], derive: Callable[[T], U]) -> None:
        self._source = source
        self._derive = derive
        self._last: tuple[T, U] | None = None

    @property
    def now(self) -> U:
        """The value derived from the source's present value."""
        value = self._source.now
        if self._last is None or self._last[0] is not value:
            self._last = (value, self._derive(value))
        return self._last[1]

    def listening(self, listener: Callable[[], None]) -> AbstractContextManager[None]:
        """Call a function after each replacement of the source's value."""
        return self._source.listening(listener)
