"""(i) Peers that speak TLS and show a certificate, and a wait for each chaincode."""

import asyncio
from pathlib import Path

from tests.bench import pings
from tests.bench.load import client_tls
from tests.bench.place import Place, folder, say
from tests.bench.report import Row
from tests.bench.simulated_chaincodes import (
    NAMESPACE,
    chaincode,
    filled,
    peers_that_listen,
    waits,
)
from tests.lab import pki, simulated
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls

PEERS = 200
CHAINCODES = 1000
HOW = (
    f"{CHAINCODES} chaincodes on nodes that kwok simulates, and a Peitho that wants certificates.  "
    "A wait for each is open over a TLS connection of its own, and over further connections "
    f"{PEERS} peers ask `GET /_ping` once a second each, from a process of its own: the time from "
    "the request to its answer.  VmRSS is read at the end of it, in MB of 10^6 bytes."
)

_SECONDS = 20
_PAUSE_SECONDS = 1.0
_MEGABYTE = 1_000_000
_MOST_BYTES = 200 * 2**20
_MOST_MILLISECONDS = 20.0


async def measure(place: Place) -> list[Row]:
    """Rows for memory and for the answers."""
    cluster = await asyncio.to_thread(simulated.up)
    with folder() as path, peers_that_listen() as peers:
        await asyncio.to_thread(pki.certificates, path / "pki", host="127.0.0.1", node="node")
        async with filled(cluster, path, CHAINCODES, peers):
            return await _measured(cluster, path, peers, place.runs)


async def _measured(cluster: Cluster, path: Path, peers: list[str], runs: int) -> list[Row]:
    certificates = path / "pki"
    server = {
        "tls": {
            "cert-file": str(certificates / "apiserver.crt"),
            "key-file": str(certificates / "apiserver.key"),
            "client-ca-file": str(certificates / "ca.crt"),
        }
    }
    names = [chaincode(number, peers).name for number in range(CHAINCODES)]
    how = (str(_PAUSE_SECONDS), str(certificates))
    p50s, p99s, resident = [], [], []
    async with (
        Peitho.start(cluster, NAMESPACE, path, server=server) as peitho,
        Calls.to(peitho, tls=client_tls(certificates)) as calls,
        waits(calls, names),
    ):
        for number in range(1, runs + 1):
            p50, p99, _ = await pings.load(peitho.port, PEERS, PEERS * _SECONDS, *how)
            p50s.append(p50)
            p99s.append(p99)
            resident.append(peitho.resident_bytes / _MEGABYTE)
            say(f"(i) run {number}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {resident[-1]:.1f} MB")
    what = f"{PEERS} TLS peers, {CHAINCODES} waits"
    return [
        Row("i", f"{what}: resident", "MB", tuple(resident), at_most=_MOST_BYTES / _MEGABYTE),
        Row("i", f"{what}: _ping p50", "ms", tuple(p50s)),
        Row("i", f"{what}: _ping p99", "ms", tuple(p99s), at_most=_MOST_MILLISECONDS),
    ]
