from contextlib import aclosing

import pytest

from peitho.errors import Unavailable
from peitho.operators import watching


async def seen(*texts: str | Exception, count: int) -> list[str]:
    """What is shown of what is there, look after look."""
    left = list(texts)

    async def look() -> str:
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, Exception):
            raise now
        return now

    shown: list[str] = []
    async with aclosing(watching.changes(look)) as changes:
        async for each in changes:
            shown.append(each)
            if len(shown) == count:
                break
    return shown


async def test_it_is_shown_whenever_it_has_changed() -> None:
    """
    And not for as long as it stays.
    """
    assert ["a", "b", "a"] == await seen("a", "a", "b", "b", "b", "a", count=3)


async def test_a_cluster_that_is_away_for_a_moment_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    It is told beside what is shown.
    """
    assert ["a", "b"] == await seen("a", Unavailable("away"), "a", "b", count=2)
    assert "away; trying again\n" == capsys.readouterr().err


async def test_what_cannot_be_looked_at_first_is_an_error() -> None:
    """
    As without `--watch`.
    """
    with pytest.raises(Unavailable, match=r"^away$"):
        await seen(Unavailable("away"), count=1)


def test_where_there_is_no_terminal_texts_follow_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Nothing is cleared.
    """
    watching.redraw("a\n", is_document=False)
    watching.redraw("b\n", is_document=True)

    assert "a\nb\n" == capsys.readouterr().out
