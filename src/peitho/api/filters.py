"""
Filters of lists, as `docker ps --filter` and `docker images --filter` send them.

Several values of a filter are alternatives, but of labels each must be there.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

from peitho.api import queries
from peitho.core.container import Summary
from peitho.core.images.store import tagged
from peitho.errors import InvalidArgument, NotFound, Unsupported
from peitho.formats.docker import patterns
from peitho.formats.docker.patterns import Pattern
from peitho.formats.images import references
from peitho.formats.images.image_record import Image

Filters = Mapping[str, tuple[str, ...]]
T = TypeVar("T")

_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEXADECIMAL = frozenset("0123456789abcdef")
_YES = ("1", "true")
_NO = ("0", "false")


@dataclass(frozen=True, slots=True)
class Known:
    """The filters of a list, as words in one text; `refused` are Docker's, and left out."""

    obeyed: str
    refused: str


CONTAINERS = Known(
    "ancestor before exited id label name since status",
    refused="expose health is-task isolation network publish volume",
)
IMAGES = Known("before dangling label reference since", refused="until")


def parse(text: str, known: Known) -> Filters:
    """
    Read the filters of a request: `{"label": ["a=b"]}`, or `{"label": {"a=b": true}}`.

    Raises InvalidArgument for an unknown filter, Unsupported for one that is left out.
    """
    try:
        parsed = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid filters: {error}") from error
    if not isinstance(parsed, dict):
        raise InvalidArgument("invalid filters: not a JSON object")
    filters = {str(name): _values(str(name), values) for name, values in parsed.items()}
    for name in filters:
        if name in known.refused.split():
            raise Unsupported(f"the filter {name!r} is not part of what Peitho does")
        if name not in known.obeyed.split():
            raise InvalidArgument(f"invalid filter {name!r}")
    return {name: values for name, values in filters.items() if values}


def _values(name: str, values: object) -> tuple[str, ...]:
    if isinstance(values, dict):
        if not all(isinstance(is_set, bool) for is_set in values.values()):
            raise InvalidArgument(f"invalid filter {name!r}: its values are true or false")
        values = list(values)  # dockerd does not look whether one is false
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidArgument(f"invalid filter {name!r}: not a list of texts")
    return tuple(values)


@dataclass(frozen=True, slots=True)
class ContainerFilters:
    """Which containers are asked for; an empty field means any."""

    ids: tuple[Pattern, ...] = ()
    names: tuple[Pattern, ...] = ()
    labels: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()
    ancestors: tuple[str, ...] = ()
    before: str = ""
    since: str = ""

    @classmethod
    def of(cls, filters: Filters, *, before: str = "", since: str = "") -> Self:
        """Read the values. Raises InvalidArgument that names a wrong one."""
        return cls(
            ids=_read("id", filters, patterns.regular_expression),
            names=_read("name", filters, patterns.regular_expression),
            labels=filters.get("label", ()),
            statuses=_read("status", filters, _status),
            exit_codes=_read("exited", filters, queries.whole_number),
            ancestors=filters.get("ancestor", ()),
            before=_single("before", filters) or before,
            since=_single("since", filters) or since,
        )

    def select(self, summaries: Sequence[Summary], images: Iterable[Image]) -> list[Summary]:
        """
        Return what is asked for of all containers, the newest first.

        Raises NotFound if the one of `before` or `since` is not there.
        """
        first = _position(self.before, summaries) + 1 if self.before else 0
        end = _position(self.since, summaries) if self.since else len(summaries)
        known = {image.name: image for image in images}
        return [summary for summary in summaries[first:end] if self._has(summary, known)]

    def _has(self, container: Summary, images: Mapping[str, Image]) -> bool:
        state = container.state
        names = (container.name, f"/{container.name}")
        return (
            _any(self.ids, lambda pattern: pattern.matches(container.id))
            and _any(self.names, lambda pattern: any(map(pattern.matches, names)))
            and has_labels(container.shown_labels, self.labels)
            and (not self.statuses or state.status in self.statuses)
            and (
                not self.exit_codes
                or (state.status == "exited" and state.exit_code in self.exit_codes)
            )
            and _any(self.ancestors, lambda name: _comes_from(container.image, name, images))
        )


@dataclass(frozen=True, slots=True)
class ImageFilters:
    """Which images are asked for; an empty field means any."""

    references: tuple[Pattern, ...] = ()
    labels: tuple[str, ...] = ()
    dangling: bool | None = None
    before: str = ""
    since: str = ""

    @classmethod
    def of(cls, filters: Filters) -> Self:
        """Read the values. Raises InvalidArgument that names a wrong one."""
        dangling = _read("dangling", filters, _boolean)
        return cls(
            references=_read("reference", filters, patterns.glob),
            labels=filters.get("label", ()),
            dangling=dangling[0] if dangling else None,
            before=_single("before", filters),
            since=_single("since", filters),
        )

    def select(self, images: Sequence[Image]) -> list[Image]:
        """
        Return what is asked for of all images; each has a name, so none is dangling.

        Raises NotFound if the one of `before` or `since` is not there.
        """
        before = _image(self.before, images).created if self.before else None
        since = _image(self.since, images).created if self.since else None
        return [
            image
            for image in images
            if not self.dangling
            and (before is None or image.created < before)
            and (since is None or image.created > since)
            and has_labels(image.labels, self.labels)
            and _any(self.references, partial(_is_named, image))
        ]


def has_labels(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Whether there is each wanted label: `KEY` with any value, `KEY=VALUE` with that one."""
    pairs = (label.partition("=") for label in wanted)
    return all(
        key in labels and (not separator or labels[key] == value) for key, separator, value in pairs
    )


def is_image(image: Image, name: str) -> bool:
    """Whether a name, an ID or the beginning of an ID means an image."""
    return image.name == name.removesuffix(":latest") or _is_id(image, name)


def _is_id(image: Image, name: str) -> bool:
    digits = name.removeprefix("sha256:")
    if not digits or not set(digits) <= _HEXADECIMAL:
        return False
    return image.id.removeprefix("sha256:").startswith(digits)


def _comes_from(used: str, ancestor: str, images: Mapping[str, Image]) -> bool:
    """Whether an image is another one, or has been put onto it."""
    image = images.get(used.removesuffix(":latest"))
    if image and (is_image(image, ancestor) or _is_same(image.runtime, ancestor)):
        return True
    return _is_same(used, ancestor)


def _is_same(image: str, other: str) -> bool:
    try:
        return references.parse(image).full() == references.parse(other).full()
    except InvalidArgument:
        return False


def _is_named(image: Image, pattern: Pattern) -> bool:
    """Whether a pattern is of an image's name, with its tag or without."""
    reference = references.parse(image.name)
    familiar = reference.familiar()
    return pattern.matches(familiar) or pattern.matches(familiar.removesuffix(reference.version))


def _position(name: str, summaries: Sequence[Summary]) -> int:
    bare = name.removeprefix("/")
    for position, summary in enumerate(summaries):
        if summary.name == bare or (bare and summary.id.startswith(bare)):
            return position
    raise NotFound(f"No such container: {name}")


def _image(name: str, images: Sequence[Image]) -> Image:
    for image in images:
        if is_image(image, name):
            return image
    raise NotFound(f"No such image: {tagged(name)}")


def _any(wanted: Sequence[T], holds: Callable[[T], bool]) -> bool:
    return not wanted or any(holds(value) for value in wanted)


def _read(name: str, filters: Filters, read: Callable[[str], T]) -> tuple[T, ...]:
    values = []
    for text in filters.get(name, ()):
        try:
            values.append(read(text))
        except ValueError as error:
            raise InvalidArgument(f"invalid filter '{name}={text[:100]}'") from error
    return tuple(values)


def _single(name: str, filters: Filters) -> str:
    values = filters.get(name, ("",))
    if len(values) > 1:
        raise InvalidArgument(f"invalid filter {name!r}: more than one value")
    return values[0]


def _status(text: str) -> str:
    if text not in _STATUSES:
        raise ValueError(text)
    return text


def _boolean(text: str) -> bool:
    lower = text.lower()
    if lower not in _YES + _NO:
        raise ValueError(text)
    return lower in _YES
