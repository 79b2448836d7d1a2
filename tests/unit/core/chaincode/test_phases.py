from dataclasses import replace

from peitho import metrics
from peitho.core.chaincode.phases import LaunchPhases
from peitho.formats.kubernetes.pod_status import PodStatus, Termination, read
from peitho.formats.records import CHAINCODE
from tests.support.measured import sample


def counted() -> dict[str, float]:
    """How often each phase was measured so far."""
    name = "peitho_launch_phase_duration_seconds_count"
    return {phase: sample(name, phase=phase) for phase in metrics.LAUNCH_PHASES}


def seen(*pods: PodStatus) -> list[str]:
    """The phases that a launch has measured, after these sightings of its Pod."""
    before = counted()
    phases = LaunchPhases(0.0)
    phases.end("created")
    for pod in pods:
        phases._see(pod)  # noqa: SLF001  what `follow` does with each
    phases.end("running")
    return [phase for phase, count in counted().items() if count > before[phase]]


def pod(node: str = "", *, puller: int | None = None, is_running: bool = False) -> PodStatus:
    """A Pod, its node, and how its puller ended."""
    status = {
        "initContainerStatuses": [{"name": "puller", "state": {"running": {}}}] if node else [],
        "containerStatuses": [
            {"name": CHAINCODE, "state": {"running": {}} if is_running else {"waiting": {}}}
        ],
    }
    found = read({"metadata": {"name": "p"}, "spec": {"nodeName": node}, "status": status})
    assert isinstance(found, PodStatus)
    if puller is None:
        return found
    end = Termination(puller, "", "", "")
    containers = tuple(
        replace(each, termination=end, is_running=False) if each.is_init else each
        for each in found.containers
    )
    return replace(found, containers=containers)


def test_each_phase_is_measured_where_it_shows() -> None:
    """
    The node, then what the puller brings, then the process.
    """
    sightings = [pod(), pod("n"), pod("n", puller=0), pod("n", puller=0, is_running=True)]

    assert ["created", "scheduled", "pulled", "running"] == seen(*sightings)


def test_what_comes_together_is_one_phase() -> None:
    """
    No phase is made up.
    """
    assert ["created", "running"] == seen(pod("n", puller=0, is_running=True))
    assert ["created", "pulled", "running"] == seen(pod("n", puller=0))


def test_a_puller_that_failed_has_brought_nothing() -> None:
    """
    So the phase is not over.
    """
    assert ["created", "scheduled", "running"] == seen(pod("n", puller=1))
