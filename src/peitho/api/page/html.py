"""
HTML, made of elements: a text becomes markup only here, and is escaped on its way.

All that is shown is somebody else's: peers choose names, and chaincode and builds their words.
"""

import html
from collections.abc import Iterable
from dataclasses import dataclass

from peitho.formats.readable import plain_lines

# Elements without content have no end (HTML, 13.1.2).
_VOID = frozenset({"link", "meta"})


@dataclass(frozen=True, slots=True)
class Html:
    """Markup, which is written as it is."""

    source: str


Content = Html | str

NOTHING = Html("")


def element(name: str, /, *content: Content, **attributes: str | bool) -> Html:
    """
    Return an element; of an attribute's name, `_` at the end is left out, and others are `-`.

    An attribute that is True has no value, and one that is False is not there.
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(content).source}</{name}>")


def joined(content: Iterable[Content]) -> Html:
    """Return one piece of markup after the other."""
    return Html("".join(_markup(each) for each in content))


def encoded(page: Html) -> bytes:
    """Return it as bytes; what is no character in UTF-8 is shown as a question mark."""
    return page.source.encode(errors="replace")


def _markup(content: Content) -> str:
    return content.source if isinstance(content, Html) else html.escape(plain_lines(content))


def _attribute(key: str, value: str | bool) -> str:  # noqa: FBT001  a value of either kind
    name = key.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return f" {name}" if value else ""
    return f' {name}="{html.escape(plain_lines(value))}"'
