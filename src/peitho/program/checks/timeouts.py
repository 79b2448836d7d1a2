"""Time-outs, against what peers wait for by default (core.yaml of Fabric 1.4 to 3.1)."""

from collections.abc import Iterator

from peitho.program.checks.finding import Finding, ok, warning
from peitho.settings.models import Settings

# chaincode.startuptimeout and, from 2.0 on, chaincode.installTimeout.
_PEER_SECONDS = 300.0


def timeouts(settings: Settings) -> Iterator[Finding]:
    """Tell whether Peitho gives up, and says why, before a peer does."""
    for key, seconds, theirs in (
        (
            "chaincode.startTimeoutSeconds",
            settings.chaincode.start_timeout_seconds,
            "startuptimeout",
        ),
        ("builder.startTimeoutSeconds", settings.builder.start_timeout_seconds, "installTimeout"),
    ):
        said = f"{key} is {seconds:g} s"
        if seconds < _PEER_SECONDS:
            yield ok("time-outs", f"{said}, less than {_PEER_SECONDS:g} of a peer's {theirs}")
        else:
            yield warning(
                "time-outs",
                f"{said}: a peer gives up after {_PEER_SECONDS:g} s by default, and reads no cause",
                f"set it lower, or chaincode.{theirs} of all peers higher",
            )
