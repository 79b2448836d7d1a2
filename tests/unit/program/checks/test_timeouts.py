import pytest

from peitho.program.checks.timeouts import timeouts
from peitho.settings.models import Settings
from tests.support.check_findings import brief


def test_peitho_has_to_give_up_before_a_peer_does() -> None:
    """
    Else nobody reads why.
    """
    soon = {"builder": {"deadlineSeconds": 299}}
    assert [("time-outs", "ok")] * 3 == brief(timeouts(Settings.model_validate(soon)))


@pytest.mark.parametrize(
    ("late", "key", "theirs"),
    [
        ({"chaincode": {"startTimeoutSeconds": 300}}, "chaincode.startTimeout", "startuptimeout"),
        (
            {"chaincode": {"startTimeoutSeconds": 280, "settleSeconds": 30}},
            "settleSeconds, is 310 s",
            "startuptimeout",
        ),
        (
            {"builder": {"startTimeoutSeconds": 400, "deadlineSeconds": 9}},
            "builder.startTimeout",
            "installTimeout",
        ),
        ({"builder": {"deadlineSeconds": 300}}, "builder.deadlineSeconds is", "installTimeout"),
    ],
)
def test_each_that_a_peer_does_not_wait_for_is_named(
    late: dict[str, object], key: str, theirs: str
) -> None:
    """
    With the peers' setting that has to be higher, or itself lower.
    """
    tree = {"builder": {"deadlineSeconds": 200}} | late
    [found] = [each for each in timeouts(Settings.model_validate(tree)) if each.status != "ok"]

    assert "warning" == found.status
    assert [True, True] == [key in found.said, f"chaincode.{theirs}" in found.do]


def test_a_build_longer_than_a_peer_waits_goes_on_by_default() -> None:
    """
    It is installed all the same, but of one that hangs nobody reads why.
    """
    [found] = [each for each in timeouts(Settings()) if each.status != "ok"]

    assert "builder.deadlineSeconds is 1800 s" in found.said
    assert "which goes on" in found.said
