import asyncio
import time
import typing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from peitho.api import health, readiness
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.tls import CertificateFiles
from tests.support.in_process import listening, running
from tests.support.observe import until

DAY_SECONDS = 86400


class Files(CertificateFiles):
    """Certificate files that expire when a test says."""

    def expiries(self) -> dict[str, float]:
        """What was told to `what`."""
        return {"docker api": time.time() + float(self.what)}


@pytest.mark.parametrize(
    ("left_seconds", "line"),
    [
        (90 * DAY_SECONDS, "[+]docker api certificate ok"),
        (3 * DAY_SECONDS + 9, "[!]docker api certificate: it expires on "),
        (-1, "[-]docker api certificate: it expired on "),
    ],
)
def test_a_certificate_is_told_before_it_expires(left_seconds: float, line: str) -> None:
    """
    With the day, two weeks ahead.
    """
    (told,) = readiness.certificates(Files(str(left_seconds)))

    assert told.startswith(line)
    assert ("in 3 days" in told) == (left_seconds == 3 * DAY_SECONDS + 9)


@pytest.mark.parametrize(
    ("age_seconds", "line"),
    [
        (1.0, "[+]pod watch of org1 ok"),
        (70.0, "[-]pod watch of org1: it has told nothing for 70 s"),
        (float("inf"), "[-]pod watch of org1: it has told nothing yet"),
    ],
)
def test_a_watch_that_is_silent_is_told(age_seconds: float, line: str) -> None:
    """
    Of each tenant by itself.
    """
    watch = typing.cast("PodWatch", SimpleNamespace(age_seconds=age_seconds))

    assert [line] == list(readiness.pod_watch(watch, tenant="org1"))


async def test_each_part_has_its_line(tmp_path: Path) -> None:
    """
    A listener that stopped is told, and so is a watch of records that is not permitted.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.watch.synced.wait()
        peitho.cluster.refuse_to_tell_of_secrets()
        await until(lambda: not peitho.parts.record_watch.is_live)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        stopped = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        stopped.close()
        lines = [
            partial(readiness.pod_watch, peitho.services.watch),
            partial(readiness.record_watch, peitho.parts.record_watch),
            partial(readiness.listeners, {"docker api": server, "delivery": stopped}),
        ]
        application = health.application(peitho.services, lines=lines)
        async with (
            listening(application) as url,
            peitho.http.get(f"{url}/readyz?verbose") as response,
        ):
            told = (await response.text()).splitlines()
        server.close()

    assert [
        "[+]data directory ok",
        "[+]cluster ok",
        "[+]pod watch ok",
        "[!]record watch: it is behind or not permitted, and records are listed: see the log",
        "[+]docker api listener ok",
        "[-]delivery listener: it takes no new connections",
        "ready",
    ] == told
