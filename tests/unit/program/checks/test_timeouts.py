from peitho.program.checks.timeouts import timeouts
from peitho.settings.models import Settings
from tests.support.check_findings import brief


def test_peitho_has_to_give_up_before_a_peer_does() -> None:
    """
    Else nobody reads why.
    """
    assert [("time-outs", "ok")] * 2 == brief(timeouts(Settings()))

    late = {"chaincode": {"startTimeoutSeconds": 300}, "builder": {"startTimeoutSeconds": 400}}
    found = list(timeouts(Settings.model_validate(late)))
    assert [("time-outs", "warning")] * 2 == brief(found)
    assert ["startuptimeout" in found[0].do, "installTimeout" in found[1].do] == [True, True]
