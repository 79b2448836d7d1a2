from peitho.api.page import builds
from peitho.api.page.builds import AllBuilds


def test_the_sentence_says_that_nothing_is_under_way() -> None:
    """
    How rows and logs are shown is told by test_pages.py.
    """
    assert "No build is under way" == builds.summary(AllBuilds([], []))
