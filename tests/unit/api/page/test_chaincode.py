from peitho.api.page import chaincode
from peitho.api.page.chaincode import AllChaincode


def test_the_sentence_counts_what_there_is() -> None:
    """
    By phase, what somebody should look at first; how rows are shown is told by test_pages.py.
    """
    assert "No chaincode" == chaincode.summary(AllChaincode([], {}, is_behind=False))
