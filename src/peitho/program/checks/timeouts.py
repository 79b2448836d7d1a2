"""Time-outs, against what peers wait for by default (core.yaml of Fabric 1.4 to 3.1)."""

from collections.abc import Iterator
from dataclasses import dataclass

from peitho.program.checks.finding import Finding, ok, warning
from peitho.settings.models import Settings

# chaincode.startuptimeout and, from 2.0 on, chaincode.installTimeout.
_PEER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Patience:
    """A patience of Peitho's, that of the peer behind it, and what is if the peer's ends first."""

    ours: str
    seconds: float
    theirs: str
    then: str = "reads no cause"


def timeouts(settings: Settings) -> Iterator[Finding]:
    """Tell whether Peitho gives up, and says why, before a peer does."""
    for each in _patiences(settings):
        said = f"{each.ours} {each.seconds:g} s"
        if each.seconds < _PEER_SECONDS:
            yield ok("time-outs", f"{said}, less than {_PEER_SECONDS:g} of a peer's {each.theirs}")
        else:
            yield warning(
                "time-outs",
                f"{said}: a peer gives up after {_PEER_SECONDS:g} s by default, and {each.then}",
                f"set it lower, or chaincode.{each.theirs} of all peers higher",
            )


def _patiences(settings: Settings) -> Iterator[_Patience]:
    builder, chaincode = settings.builder, settings.chaincode
    # A start is answered once the process has run for a moment.
    yield _Patience(
        "chaincode.startTimeoutSeconds, with settleSeconds, is",
        chaincode.start_timeout_seconds + chaincode.settle_seconds,
        "startuptimeout",
    )
    yield _Patience(
        "builder.startTimeoutSeconds is", builder.start_timeout_seconds, "installTimeout"
    )
    # A peer's build goes on after its installTimeout, which ends the call alone; one that succeeds
    # is installed all the same (Fabric 2.5.16, core/chaincode/lifecycle/lifecycle.go).
    yield _Patience(
        "builder.deadlineSeconds is",
        builder.deadline_seconds,
        "installTimeout",
        "reads no cause of a longer build, which goes on",
    )
