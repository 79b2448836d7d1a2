"""
Patterns of Docker's filters: regular expressions for names, globs for references of images.

A pattern comes from a caller, and Python's own matcher may take for ever over one.  So only single
characters with `*`, `+` and `?` are known here, and a text is read once, character by character.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from peitho.errors import Unsupported

Accepts = Callable[[str], bool]

LONGEST_CHARACTERS = 500
_NOT_KNOWN = frozenset("()[]{}|\\")
_ANY: Accepts = lambda _: True  # noqa: E731  reads as the others do


@dataclass(frozen=True, slots=True)
class Part:
    """One character of a pattern: which it takes, and how often."""

    accepts: Accepts
    optional: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """Parts that a text has one after the other; at its start, at its end, or anywhere."""

    parts: tuple[Part, ...]
    at_start: bool
    at_end: bool

    def matches(self, text: str) -> bool:
        """Whether the pattern is in the text."""
        reached = self._onward({0})
        for character in text:
            if len(self.parts) in reached and not self.at_end:
                return True
            taken = set() if self.at_start else {0}
            for place in reached:
                if place < len(self.parts) and self.parts[place].accepts(character):
                    taken |= {place, place + 1} if self.parts[place].repeated else {place + 1}
            reached = self._onward(taken)
        return len(self.parts) in reached

    def _onward(self, places: Iterable[int]) -> set[int]:
        """Return places, and those that are reached from them without a character."""
        reached: set[int] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place not in reached:
                reached.add(place)
                if place < len(self.parts) and self.parts[place].optional:
                    waiting.append(place + 1)
        return reached


def regular_expression(text: str) -> Pattern:
    """
    Read a regular expression as Docker's filters of containers have it.

    Raises Unsupported for one with groups, classes or counts.
    """
    body = _checked(text, text.replace("\\.", ""))
    at_start, at_end = body.startswith("^"), body.endswith("$")
    parts: list[Part] = []
    characters = iter(body[at_start : len(body) - at_end])
    for character in characters:
        if character in "*+?":
            parts = _quantified(text, parts, character)
        elif character in "^$":
            raise _not_known(text)
        elif character == ".":
            parts.append(Part(_ANY))
        else:
            literal = next(characters) if character == "\\" else character
            parts.append(Part(literal.__eq__))
    return Pattern(tuple(parts), at_start, at_end)


def glob(text: str) -> Pattern:
    """
    Read a glob as Docker's filter of images has it: `*` and `?` stand for anything but a slash.

    Raises Unsupported for one with classes.
    """
    parts = []
    for character in _checked(text, text):
        if character == "*":
            parts.append(Part("/".__ne__, optional=True, repeated=True))
        else:
            parts.append(Part("/".__ne__ if character == "?" else character.__eq__))
    return Pattern(tuple(parts), at_start=True, at_end=True)


def _checked(text: str, plain: str) -> str:
    if len(text) > LONGEST_CHARACTERS or _NOT_KNOWN & set(plain):
        raise _not_known(text)
    return text


def _not_known(text: str) -> Unsupported:
    return Unsupported(
        f"the pattern {text[:100]!r} of a filter is not part of what Peitho does: single "
        "characters with *, + and ? are"
    )


def _quantified(text: str, parts: list[Part], sign: str) -> list[Part]:
    if not parts or parts[-1].optional or parts[-1].repeated:
        raise _not_known(text)
    last = Part(parts[-1].accepts, optional=sign in "*?", repeated=sign in "*+")
    return [*parts[:-1], last]
