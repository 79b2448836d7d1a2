import pytest

from peitho.operators.saying import say


def test_a_text_changes_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Colors, titles and the direction of lines stay as they are; lines and letters do, too.
    """
    say("b\u00e4d \x1b[31mred\x1b[0m\n\x1b]0;title\x07\u202etxt", err=True)

    assert ("", "b\u00e4d red\n ]0;title txt\n") == tuple(capsys.readouterr())
