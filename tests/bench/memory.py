"""(d) Resident memory of Peitho: idle, during a large upload, and with many chaincodes waiting."""

import asyncio
import os
import statistics
import tarfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from peitho.clients.kubernetes.api import Kubernetes
from tests.bench import starts
from tests.bench.place import BenchError, Place, Stopwatch, folder, running, say
from tests.bench.report import Row
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls
from tests.support.observe import open_waits, pods, until

UPLOAD_BYTES = 300_000_000
CHAINCODES = 100
MOST_MEGABYTES = 30.0
HOW = (
    "VmRSS and VmHWM of /proc/PID/status, in MB of 10^6 bytes.  Idle and upload: a new process "
    "each run, idle 3 s after it is ready; then a gzip'd tar of 300 MB that does not compress is "
    "PUT to a build container in chunks of 64 KiB, as peers send it; the kernel's own high-water "
    "mark, set back before, is the peak.  Waiting: chaincodes of a shell script are started 8 at a "
    "time and waited for, each over a connection of its own, with `chaincode.settleSeconds: 0`, as "
    "a start waits for that as well.  As many bare Pods of the same image "
    "are then made, 8 at a time, each at once when one of its 8 runs."
)

_IMAGE = "bench-memory"
_SETTLE_SECONDS = 3.0
_CHUNK_BYTES = 64 << 10
_MEMBER_BYTES = 10_000_000
_AT_ONCE = 8
# A node that is full fails the starts that it has no room for after this.
_START_SECONDS = 90
_WAIT_SECONDS = 30.0
_SAMPLES = 20
_MEGABYTE = 1_000_000


async def measure(place: Place) -> list[Row]:
    """Rows for the three states."""
    settings = {"chaincode": {"startTimeoutSeconds": _START_SECONDS, "settleSeconds": 0}}
    async with running(place.cluster, **settings) as peitho:
        with folder() as work:
            path = work / "upload.tar.gz"
            await asyncio.to_thread(_write_incompressible, path)
            found = []
            for number in range(1, place.runs + 1):
                await peitho.end()
                await peitho.begin()
                found.append(await _upload(peitho, path))
                idle, peak = found[-1]
                say(f"(d) run {number}: idle {idle:.1f} MB, at most {peak:.1f} MB in the upload")
        await peitho.end()
        await peitho.begin()
        async with (
            Calls.to(peitho) as calls,
            Kubernetes.connect(
                kubeconfig=place.cluster.kubeconfig, namespace=peitho.namespace
            ) as kubernetes,
        ):
            waiting = await _waiting(calls, kubernetes)
    return [*_upload_rows(found), *waiting]


def _upload_rows(found: list[tuple[float, float]]) -> list[Row]:
    idle, peak = zip(*found, strict=True)
    more = tuple(high - low for low, high in found)
    what = "resident, upload of 300 MB"
    return [
        Row("d", "resident, idle", "MB", idle),
        Row("d", f"{what}, peak", "MB", peak),
        Row("d", f"{what}, peak minus idle", "MB", more, at_most=MOST_MEGABYTES),
    ]


async def _upload(peitho: Peitho, path: Path) -> tuple[float, float]:
    """Megabytes before an upload to a build container, and the most while it lasts."""
    async with Calls.to(peitho) as calls:
        await asyncio.sleep(_SETTLE_SECONDS)
        idle = peitho.resident_bytes / _MEGABYTE
        build = await calls.create_build("true")
        _forget_peak(peitho)
        answer = await calls.put(build, _chunks(path))
        if answer.status != 200:
            raise BenchError(f"the upload was refused: {answer}")
        peak = _peak_bytes(peitho) / _MEGABYTE
        await calls.remove(build)
    return idle, peak


def _forget_peak(peitho: Peitho) -> None:
    # 5 sets the high-water mark back to what is resident now (proc(5)).
    Path(f"/proc/{peitho.pid}/clear_refs").write_text("5")


def _peak_bytes(peitho: Peitho) -> int:
    status = Path(f"/proc/{peitho.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


def _write_incompressible(path: Path) -> None:
    member = path.with_suffix(".random")
    with tarfile.open(path, "w:gz", compresslevel=1) as target:
        for number in range(UPLOAD_BYTES // _MEMBER_BYTES):
            member.write_bytes(os.urandom(_MEMBER_BYTES))
            target.add(member, arcname=f"src/{number}")
    member.unlink()


async def _waiting(calls: Calls, kubernetes: Kubernetes) -> list[Row]:
    """Memory with many chaincodes started and waited for, and how long their starts took."""
    await calls.make_image(_IMAGE, body="exec sleep 3600")
    started = await _start_many(calls)
    pod = pods(calls.peitho, next(iter(started)))[0]
    taken = max(started.values())
    say(f"(d) {len(started)} chaincodes started in {taken:.0f} s")
    async with asyncio.TaskGroup() as tasks:
        for name in started:
            tasks.create_task(calls.wait(name), name=f"wait {name}")
        await until(lambda: _all_wait(calls.peitho, len(started)), seconds=_WAIT_SECONDS)
        await asyncio.sleep(_SETTLE_SECONDS)
        resident = await _sampled(calls.peitho)
        say(f"(d) {resident:.1f} MB with {len(started)} chaincodes waiting")
        await _remove(calls, started)
    bare = await _bare(kubernetes, pod, len(started))
    say(f"(d) {len(started)} bare Pods started in {bare:.0f} s")
    short = "" if len(started) == CHAINCODES else f" (not {CHAINCODES}: the node is full)"
    return [
        Row("d", f"resident, {len(started)} chaincodes waiting{short}", "MB", (resident,)),
        Row("d", f"start of {len(started)} chaincodes, {_AT_ONCE} at a time", "s", (taken,)),
        Row("d", f"start of {len(started)} bare Pods, {_AT_ONCE} at a time", "s", (bare,)),
        Row(
            "d",
            f"start of {len(started)} chaincodes, times bare Pods",
            "",
            (taken / bare,),
            at_most=1.3,
        ),
    ]


async def _start_many(calls: Calls) -> dict[str, float]:
    """When those that started did so, by name; once the node is full no more are tried."""
    names = iter([f"bench-{number}" for number in range(CHAINCODES)])
    watch = Stopwatch()
    started: dict[str, float] = {}
    refused: list[str] = []

    async def work() -> None:
        for name in names:
            answer = await calls.launch(name, _IMAGE)
            if answer.status == 204:
                started[name] = watch.seconds
            else:
                refused.append(str(answer.body))
                await calls.remove(name)
            if refused:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work(), name="starts")
    if refused:
        say(f"(d) no more than {len(started)} chaincodes: {refused[0][:300]}")
    if not started:
        raise BenchError(f"no chaincode started: {refused[0]}")
    return started


async def _bare(kubernetes: Kubernetes, pod: starts.Pod, count: int) -> float:
    """Seconds until so many bare Pods run, as many at a time."""
    left, watch = iter(range(count)), Stopwatch()
    made: list[str] = []

    async def work() -> None:
        for _ in left:
            manifest = starts.bare_pod(pod)
            made.append(manifest["metadata"]["name"])
            await starts.until_running(kubernetes, await kubernetes.create(manifest))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work(), name="bare Pods")
    seconds = watch.seconds
    for name in made:
        await kubernetes.delete("Pod", name, grace_seconds=1)
    return seconds


async def _all_wait(peitho: Peitho, count: int) -> bool:
    return await open_waits(peitho) == count


async def _sampled(peitho: Peitho) -> float:
    samples = []
    for _ in range(_SAMPLES):
        samples.append(peitho.resident_bytes / _MEGABYTE)
        await asyncio.sleep(0.1)
    return statistics.median(samples)


async def _remove(calls: Calls, names: Iterable[str]) -> None:
    left = iter(names)

    async def work() -> None:
        for name in left:
            await calls.remove(name)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work(), name="removes")
