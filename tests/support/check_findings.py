"""What checks find, as tests compare it."""

from collections.abc import AsyncIterator, Iterable

from peitho.program.checks.finding import Finding


def brief(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """The name of each line, and how it is."""
    return [(finding.name, finding.status) for finding in findings]


async def gathered(findings: AsyncIterator[Finding]) -> list[Finding]:
    """All lines of a check."""
    return [finding async for finding in findings]
