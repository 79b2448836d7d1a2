"""`peitho rehearse` against a Peitho on a real cluster."""

import asyncio
import json
import sys
from typing import Any

import pytest

from tests.lab.cluster import Cluster
from tests.lab.peitho import PROJECT, Peitho
from tests.support.observe import until

BASEOS = "hyperledger/fabric-baseos:2.5"


async def rehearse(peitho: Peitho, cluster: Cluster, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peitho", "rehearse", peitho.url, "--output", "json"),
        *("--listen", f"{cluster.host_address}:0", *words),
        cwd=PROJECT / "src",
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, json.loads(said)


@pytest.mark.timeout(180)
async def test_every_generation_of_peers_is_rehearsed(peitho: Peitho, cluster: Cluster) -> None:
    """
    Compiled, launched, called, crashed and called again, and nothing is left.
    """
    builder = ("--builder", "hyperledger/fabric-ccenv:2.5")

    status, told = await rehearse(peitho, cluster, "--runtime", BASEOS, *builder)

    assert [] == [step for step in told["steps"] if step["problem"]]
    assert (0, True) == (status, told["ok"])
    assert ["1.4"] * 9 + ["2.5"] * 9 + ["3.1"] * 9 == [step["peer"] for step in told["steps"]]
    await until(lambda: not peitho.objects("jobs") and not peitho.objects("secrets"))


@pytest.mark.timeout(120)
async def test_what_is_wrong_is_named_by_its_step(peitho: Peitho, cluster: Cluster) -> None:
    """
    A peer's address that leads nowhere is told with it, and nothing is left.
    """
    nowhere = f"{cluster.host_address}:1"
    words = ("--generation", "2.5", "--runtime", BASEOS, "--peer-address", nowhere)

    status, told = await rehearse(peitho, cluster, *words)

    *_, failed, cleaned = told["steps"]
    assert (1, False) == (status, told["ok"])
    assert "launch and register" == failed["step"]
    assert "connection refused" in failed["problem"]
    assert "" == cleaned["problem"]
