"""(c) `_ping` over 50 connections that are kept open."""

import asyncio
import json
import sys

from tests.bench.place import BenchError, Place, running, say
from tests.bench.report import Row
from tests.lab.peitho import PROJECT

CONNECTIONS = 50
REQUESTS = 20_000
HOW = (
    f"{REQUESTS} `GET /_ping` on loopback from a process of its own over {CONNECTIONS} connections "
    "that are kept open, each with one request under way at any time: as fast as Peitho answers, "
    "so the median is about 50 by the rate.  The load's process shares the machine."
)


async def measure(place: Place) -> list[Row]:
    """Median and 99th percentile of a request, and the rate."""
    found = []
    async with running(place.cluster) as peitho:
        for number in range(1, place.runs + 1):
            found.append(await load(peitho.port, CONNECTIONS, REQUESTS))
            p50, p99, rate = found[-1]
            say(f"(c) run {number}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {rate:.0f} a second")
    p50s, p99s, rates = zip(*found, strict=True)
    return [
        Row("c", f"_ping p50, {CONNECTIONS} connections", "ms", p50s),
        Row("c", f"_ping p99, {CONNECTIONS} connections", "ms", p99s),
        Row("c", f"_ping, {CONNECTIONS} connections", "1/s", rates),
    ]


async def load(port: int, connections: int, requests: int, *how: str) -> tuple[float, float, float]:
    """Return p50 and p99 in milliseconds, and the rate; `how` is the pause and the certificates."""
    words = (str(port), str(connections), str(requests), *how)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load", *words),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise BenchError(f"the load ended with {process.returncode}: {err.decode()[-1000:]}")
    answer = json.loads(out)
    return answer["p50_ms"], answer["p99_ms"], answer["per_second"]
