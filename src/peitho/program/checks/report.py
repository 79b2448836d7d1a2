"""What `peitho check` prints: a line for each finding as it comes, or all of them as JSON."""

import json
from collections.abc import Callable
from dataclasses import asdict

from peitho.formats.readable import plain
from peitho.program.checks import all as checks
from peitho.program.checks.all import PodChecks
from peitho.program.checks.finding import Finding, Status
from peitho.settings.models import Settings

_MARKS: dict[Status, str] = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  "}
_NAME_CHARACTERS = 13


async def told(
    settings: Settings,
    *,
    output: str,
    tell: Callable[[str], object],
    asked: PodChecks | None = None,
    with_peers: bool = True,
) -> int:
    """Make all checks and tell what they find; return the exit status: 1 if anything is wrong."""
    found: list[Finding] = []
    async for finding in checks.findings(settings, asked, with_peers=with_peers):
        found.append(finding)
        if output == "text":
            tell(_line(finding))
    if output == "json":
        tell(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        tell(_summary(found))
    return 1 if any(finding.status == "wrong" for finding in found) else 0


def _line(finding: Finding) -> str:
    line = f"{_MARKS[finding.status]}  {finding.name:<{_NAME_CHARACTERS}}  {plain(finding.said)}"
    if not finding.do:
        return line
    return f"{line}\n{'':9}{'':{_NAME_CHARACTERS}}  -> {plain(finding.do)}"


def _summary(found: list[Finding]) -> str:
    counts = {status: sum(each.status == status for each in found) for status in _MARKS}
    return f"{counts['ok']} ok, {counts['warning']} to look at, {counts['wrong']} wrong"
