import inspect
import re

import pytest

from peitho import errors
from peitho.errors import PeithoError

# `├── NotFound           404   why`
LINE = re.compile(r"^(?:[├└]── )?([A-Z]\w+) +(\d{3})(?:   .*)?$", re.MULTILINE)
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PeithoError) and kind.__module__ == errors.__name__
]


def test_the_tree_at_the_top_is_the_tree_below() -> None:
    """
    Every kind is in it, with its status, and no other is.
    """
    told = {name: int(status) for name, status in LINE.findall(errors.__doc__ or "")}

    assert {kind.__name__: kind.status for kind in KINDS} == told
    assert 13 == len(told)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_one_of_ours_and_has_a_sentence(kind: type[PeithoError]) -> None:
    """
    One catch takes them all; the message is what is told.
    """
    assert kind is PeithoError or (PeithoError,) == kind.__bases__
    assert (kind.__doc__ or "").endswith(".")
    assert "why" == str(kind("why"))
