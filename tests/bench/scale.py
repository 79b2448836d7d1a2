"""(h) Thousands of chaincodes, on simulated nodes: memory, the loop's turns, CPU and requests."""

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.place import BenchError, Place, folder, say
from tests.bench.report import Row
from tests.bench.simulated_chaincodes import (
    NAMESPACE,
    PEERS,
    Chaincode,
    chaincode,
    filled,
    peers_that_listen,
    waits,
    write_images,
)
from tests.lab import simulated
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls
from tests.support.observe import until

CHAINCODES = 5000
HOW = (
    f"{CHAINCODES} chaincodes of {PEERS} peers, each with a Secret, a Job, a Pod and an image as "
    "Peitho makes them, in an API server and etcd of their own on this machine; kwok says that the "
    "Pods run.  Peitho is started on them: `ready` is from its process to the 200 of /readyz, `at "
    "start` is VmHWM after its first sweep, `steady` VmRSS after the second, in MB of 10^6 bytes.  "
    "A turn of the loop is all that is done between two looks at the sockets, by a selector with a "
    "clock; where others use the machine, its CPU time is what counts.  CPU is of /proc/PID/stat, "
    "user and system.  Requests are those of Peitho's account in the API server's audit log, "
    "watches left out, while one chaincode is launched as a peer does it: stop, kill, remove, "
    "create, upload, start and wait.  It is launched a second time after its Pod was deleted (`a "
    "crash` counts what notes its end), and a third time while it runs."
)

_SWEEP_SECONDS = 30.0
_IDLE_SECONDS = 60.0
_ASKED = 5
_TURN_MILLISECONDS = 50.0
_QUIET_SECONDS = 2.0
_MEGABYTE = 1_000_000
_TICKS = os.sysconf("SC_CLK_TCK")


async def measure(place: Place) -> list[Row]:
    """Rows for the goals of the simulated set-up."""
    del place  # the nodes are simulated
    return await measured(CHAINCODES)


async def measured(count: int) -> list[Row]:
    """The same for a number of chaincodes."""
    cluster = await asyncio.to_thread(simulated.up)
    with folder() as path, peers_that_listen() as peers:
        async with filled(cluster, path, count, peers):
            observed = await _observed(cluster, path, count, peers)
    return [_row(count, *each) for each in observed]


def _row(count: int, what: str, unit: str, value: float, at_most: float | None) -> Row:
    return Row("h", f"{count} chaincodes: {what}", unit, (round(value, 4),), at_most=at_most)


async def _observed(
    cluster: Cluster, path: Path, count: int, peers: list[str]
) -> list[tuple[Any, ...]]:
    turns = path / "turns"
    program = ("-m", "tests.bench.turns", str(turns))
    peitho = await asyncio.to_thread(Peitho, cluster, NAMESPACE, path, settings={})
    began = time.monotonic()
    await peitho.begin(program=program)
    ready = time.monotonic() - began
    try:
        async with Calls.to(peitho) as calls:
            await until(lambda: _all_shown(calls, count), seconds=120)
        shown = time.monotonic() - began
        rows: list[tuple[Any, ...]] = [
            ("ready", "s", ready, 3.0),
            ("docker ps has all of them", "s", shown, None),
        ]
        await asyncio.sleep(_SWEEP_SECONDS / 2)
        rows += [
            ("resident at start", "MB", _memory(peitho, "VmHWM"), 200 * 2**20 / _MEGABYTE),
            *_turns(turns, "at start"),
        ]
        await asyncio.sleep(_SWEEP_SECONDS)
        rows.append(("resident, steady", "MB", _memory(peitho, "VmRSS"), 150 * 2**20 / _MEGABYTE))
        idle = await _cpu_of(peitho, lambda: asyncio.sleep(_IDLE_SECONDS))
        rows += [
            ("CPU of an idle minute", "s", idle, None),
            *_turns(turns, "while idle"),
        ]
        _show(rows)
        async with Calls.to(peitho) as calls:
            rows += await _asked(calls, turns)
            rows += await _requests(calls, chaincode(count, peers), turns)
            rows += await _waits(calls, count, peers, turns)
        _show(rows)
    except BaseException as error:
        error.add_note(peitho.log.read_text()[-3000:])
        raise
    finally:
        await peitho.end()
    return rows


async def _all_shown(calls: Calls, count: int) -> bool:
    answer = await calls.call("GET", "/containers/json")
    return answer.status == 200 and len(answer.body) >= count


def _show(rows: list[tuple[Any, ...]]) -> None:
    for what, unit, value, _ in rows:
        say(f"(h) {what}: {value:.3f} {unit}")


async def _asked(calls: Calls, turns: Path) -> list[tuple[Any, ...]]:
    """What the lists cost that people ask for."""
    rows: list[tuple[Any, ...]] = []
    for what, path in (
        ("docker info", "/info"),
        ("docker ps", "/containers/json"),
        ("docker ps -a --filter", '/containers/json?all=1&filters={"name":["mycc7"]}'),
        ("docker images", "/images/json"),
    ):

        async def ask(path: str = path) -> None:
            for _ in range(_ASKED):
                answer = await calls.call("GET", path)
                if answer.status != 200:
                    raise BenchError(f"{path}: {answer}")

        cpu = await _cpu_of(calls.peitho, ask) / _ASKED
        rows += [
            (f"CPU of {what}", "ms", cpu * 1000, None),
            *_turns(turns, f"in {what}"),
        ]
    return rows


async def _requests(calls: Calls, one: Chaincode, turns: Path) -> list[tuple[Any, ...]]:
    """What a launch asks of the API server."""
    peitho, name = calls.peitho, one.name
    await asyncio.to_thread(write_images, peitho.data_dir, [one])
    rows: list[tuple[Any, ...]] = []

    async def count(what: str, work: Callable[[], Awaitable[object]], most: float | None) -> None:
        await asyncio.sleep(_QUIET_SECONDS)
        log = simulated.RUN / "log" / "audit.log"
        before = log.stat().st_size
        began = time.monotonic()
        await work()
        took = time.monotonic() - began
        await asyncio.sleep(_QUIET_SECONDS)
        with log.open() as file:
            file.seek(before)
            found = Counter(_requests_in(file))
        say(f"(h) {what}: {dict(found)}, {took:.2f} s")
        rows.append((f"API requests of {what}", "", found.total(), most))

    async def launch() -> None:
        answer = await calls.launch(name, one.image.name)
        if answer.status != 204:
            raise BenchError(f"not launched: {answer}")

    async with asyncio.TaskGroup() as group:
        for what, most in (("a launch", 6.0), ("a relaunch after a crash", 6.0)):

            async def launch_and_wait(what: str = what) -> None:
                await launch()
                group.create_task(calls.wait(name), name=what)

            await count(what, launch_and_wait, most)
            if what == "a launch":
                await count("a crash", lambda: _crash(calls, name), None)

        async def relaunch() -> None:
            await launch()
            group.create_task(calls.wait(name), name="wait")

        await count("a relaunch while it runs", relaunch, None)
        await calls.remove(name)
    return [*rows, *_turns(turns, "in launches")]


def _requests_in(lines: Any) -> Iterator[str]:
    for line in lines:
        event = json.loads(line)
        if event["verb"] != "watch":
            about = event["objectRef"]
            yield f"{event['verb']} {about['resource']}"


async def _crash(calls: Calls, name: str) -> None:
    details = await calls.inspect(name)
    label = f"peitho/container={details['Id'][:32]}"
    delete = ("delete", "pod", "--force", "--grace-period=0", "-l", label)
    await asyncio.to_thread(calls.peitho.kubectl, *delete)

    async def is_over() -> bool:
        return bool((await calls.inspect(name))["State"]["Status"] == "exited")

    await until(is_over)


async def _waits(calls: Calls, count: int, peers: list[str], turns: Path) -> list[tuple[Any, ...]]:
    """Memory while a peer waits for each of them."""
    peitho = calls.peitho
    async with waits(calls, [chaincode(number, peers).name for number in range(count)]):
        await asyncio.sleep(_QUIET_SECONDS)
        cpu = await _cpu_of(peitho, lambda: asyncio.sleep(_IDLE_SECONDS))
        return [
            ("resident, and a wait for each", "MB", _memory(peitho, "VmRSS"), None),
            ("CPU of a minute with a wait for each", "s", cpu, None),
            *_turns(turns, "with a wait for each"),
        ]


def _memory(peitho: Peitho, what: str) -> float:
    status = Path(f"/proc/{peitho.pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    if not found:
        raise BenchError(f"no {what} of Peitho")
    return int(found[1]) * 1024 / _MEGABYTE


async def _cpu_of(peitho: Peitho, work: Callable[[], Awaitable[object]]) -> float:
    before = _cpu_seconds(peitho)
    await work()
    return _cpu_seconds(peitho) - before


def _cpu_seconds(peitho: Peitho) -> float:
    fields = Path(f"/proc/{peitho.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _turns(turns: Path, what: str) -> list[tuple[Any, ...]]:
    """Rows for the longest turn since the last time that this was asked."""
    _, seconds, cpu_seconds = turns.read_text().splitlines()[-1].split()
    turns.unlink()
    return [
        (f"longest turn {what}", "ms", float(seconds) * 1000, None),
        (f"longest turn {what}, CPU", "ms", float(cpu_seconds) * 1000, _TURN_MILLISECONDS),
    ]


if __name__ == "__main__":
    asyncio.run(measured(int(sys.argv[1]) if len(sys.argv) > 1 else CHAINCODES))
