from hypothesis import given
from hypothesis import strategies as st

from peitho.api.page.html import element, encoded, joined


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    """
    Neither as content nor as the value of an attribute.
    """
    source = element("p", text, title=text).source

    inner = source.removeprefix('<p title="').removesuffix("</p>")
    assert 1 == inner.count('"')
    assert 1 == inner.count(">")
    assert "<" not in inner


def test_attributes_are_written_as_html_has_them() -> None:
    """
    True has no value, and False is not there.
    """
    made = element("a", "x", class_="y", aria_label="z", hidden=True, defer=False)

    assert '<a class="y" aria-label="z" hidden>x</a>' == made.source
    assert '<meta charset="utf-8">' == element("meta", charset="utf-8").source


def test_what_is_no_character_is_sent_all_the_same() -> None:
    """
    JSON may have half a character.
    """
    assert b"<b>?</b>" == encoded(joined([element("b", "\ud800")]))
