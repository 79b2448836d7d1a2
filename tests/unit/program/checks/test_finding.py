from peitho.program.checks import finding
from peitho.program.checks.finding import Finding


def test_what_is_wrong_comes_with_what_to_do() -> None:
    """
    And what is well needs nothing.
    """
    assert Finding("a", "ok", "b", "") == finding.ok("a", "b")
    assert Finding("a", "warning", "b", "c") == finding.warning("a", "b", "c")
    assert Finding("a", "wrong", "b", "c") == finding.wrong("a", "b", "c")
