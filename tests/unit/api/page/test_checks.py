from peitho.api.page import checks
from peitho.api.page.checks import Checked, Found


def test_the_worst_is_in_the_sentence() -> None:
    """
    Of the parts and of the checks together.
    """
    found = Checked([Found("a", "ok", ""), Found("b", "wrong", "")])

    assert "Checks: nothing is wrong" == checks.summary(["[+]a ok"], Checked())
    assert "Checks: 2 wrong, 1 to look at" == checks.summary(["[-]a: b", "[!]c: d"], found)


def test_a_part_is_told_with_its_cause() -> None:
    """
    Those with a problem come first.
    """
    shown = checks.parts(["[+]data directory ok", "[-]cluster: not heard"]).source

    assert shown.index("not heard") < shown.index("data directory")
