"""Versions of the Docker API, against those that peers' clients take."""

from collections.abc import Iterator

from peitho.api.middleware import API_VERSION, MINIMUM_API_VERSION
from peitho.program.checks.finding import Finding, ok, wrong

# What the clients of peers take: 2.5.15 and later 2.5, and 3.1.4, have 1.44 as their oldest, and
# none is older than 1.24 (vendor/github.com/moby/moby/client and fsouza/go-dockerclient).
_PEERS_WANT = (1, 44)


def versions() -> Iterator[Finding]:
    """Tell which version of the Docker API is told to peers."""
    said = f"the Docker API is told as {API_VERSION}, and taken from {MINIMUM_API_VERSION} on"
    if _numbers(API_VERSION) >= _PEERS_WANT:
        yield ok("API versions", f"{said}: peers of 1.4 to 3.1 take that")
    else:
        yield wrong(
            "API versions", f"{said}: peers of 2.5.15 and 3.1.4 refuse that", "upgrade Peitho"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
