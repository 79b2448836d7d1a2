"""The lines of `/readyz?verbose`, beside those of what is outside: one for each part."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from peitho.clients.authority import DeliveryCertificate
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.record_watch import RecordWatch
from peitho.clients.tls import CertificateFiles
from peitho.core.surroundings import STALE_SECONDS

# Yields whole lines, as `good`, `warning` and `bad` make them.
Lines = Callable[[], Iterable[str]]

# Who renews certificates by itself does it earlier (cert-manager: at two thirds of their life).
_SOON_SECONDS = 14 * 86400.0


def good(part: str) -> str:
    """Return the line of a part with which all is well."""
    return f"[+]{part} ok"


def warning(part: str, cause: str) -> str:
    """Return the line of a part that somebody should look at."""
    return f"[!]{part}: {cause}"


def bad(part: str, cause: str) -> str:
    """Return the line of a part that does not do its work."""
    return f"[-]{part}: {cause}"


def listeners(servers: Mapping[str, asyncio.Server]) -> Iterator[str]:
    """Yield a line for each listener, by its name."""
    for name, server in servers.items():
        part = f"{name} listener"
        yield good(part) if server.is_serving() else bad(part, "it takes no new connections")


def pod_watch(watch: PodWatch, *, tenant: str = "") -> Iterator[str]:
    """Yield the line of the watch of Pods, by which starts and ends are seen."""
    part = f"pod watch of {tenant}" if tenant else "pod watch"
    seconds = watch.age_seconds
    if seconds <= STALE_SECONDS:
        yield good(part)
    elif math.isinf(seconds):
        yield bad(part, "it has told nothing yet")
    else:
        yield bad(part, f"it has told nothing for {seconds:.0f} s")


def record_watch(watch: RecordWatch, *, tenant: str = "") -> Iterator[str]:
    """Yield the line of the watch of records; without it they are listed, which takes longer."""
    part = f"record watch of {tenant}" if tenant else "record watch"
    is_behind = "it is behind or not permitted, and records are listed: see the log"
    yield good(part) if watch.is_live else warning(part, is_behind)


def certificates(files: CertificateFiles | DeliveryCertificate) -> Iterator[str]:
    """Yield a line for each certificate, with the time until it expires where that is short."""
    for name, expires_at in files.expiries().items():
        part = f"{name} certificate"
        left_seconds = expires_at - time.time()
        day = datetime.fromtimestamp(expires_at, UTC).date()
        if left_seconds <= 0:
            yield bad(part, f"it expired on {day}")
        elif left_seconds < _SOON_SECONDS:
            yield warning(part, f"it expires on {day}, in {left_seconds / 86400:.0f} days")
        else:
            yield good(part)
