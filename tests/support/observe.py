"""What the cluster shows of a container: looked up at the API server, past Peitho."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from peitho.formats.records import CHAINCODE
from tests.lab.peitho import Peitho

_LOOK_SECONDS = 0.1


def pods(peitho: Peitho, name: str) -> list[dict[str, Any]]:
    """The Pods of a chaincode container, by its name for the peer."""
    return [
        pod
        for pod in peitho.objects("pods")
        if pod["metadata"].get("annotations", {}).get("peitho/name") == name
    ]


def alive(peitho: Peitho, name: str) -> list[str]:
    """The names of its Pods whose process runs, or may yet come."""
    return [
        pod["metadata"]["name"]
        for pod in pods(peitho, name)
        if not any("terminated" in each["state"] for each in _statuses(pod, CHAINCODE))
    ]


def restarts(peitho: Peitho, name: str) -> set[int]:
    """How often the cluster started a process of it again."""
    return {each["restartCount"] for pod in pods(peitho, name) for each in _statuses(pod)}


def builds(peitho: Peitho) -> list[str]:
    """The names of all that builds have in the cluster."""
    found = [*peitho.objects("pods"), *peitho.objects("secrets")]
    names = [each["metadata"]["name"] for each in found]
    return [name for name in names if name.startswith("build-")]


async def open_waits(peitho: Peitho) -> int:
    """How many peers wait, by Peitho's own gauge."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{peitho.operations}/metrics") as response,
    ):
        text = await response.text()
    found = re.search(r"^peitho_open_waits (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 20.0) -> None:
    """Return once a condition holds; TimeoutError if it does not come to."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _statuses(pod: dict[str, Any], container: str = "") -> list[dict[str, Any]]:
    """The statuses of its containers, or of the one of that name."""
    found = pod["status"].get("containerStatuses", [])
    return [each for each in found if container in ("", each["name"])]
