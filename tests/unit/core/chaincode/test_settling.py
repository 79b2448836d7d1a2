"""A chaincode's first moments, as a double of the API server tells of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.chaincode.process import ChaincodeProcess
from peitho.core.chaincode.settling import Settling
from peitho.core.tasks import BackgroundTasks
from peitho.errors import StartFailed
from peitho.formats import records
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import ContainerSpec
from tests.support import typed
from tests.support.kubernetes_double import ApiServer, after, watch

ID = "a" * 64
AT = "2026-01-02T03:04:05Z"
RUNNING = {"running": {"startedAt": AT}}
SAID = "\n".join([*(f"line {n}" for n in range(30)), " last "])
ENDED = {
    "terminated": {
        "exitCode": 3,
        "reason": "OOMKilled",
        "startedAt": AT,
        "finishedAt": AT,
        "message": SAID,
    }
}


def told(version: int, state: Manifest) -> Manifest:
    """News of the container's Pod."""
    own = labels.container_labels("mine", records.CHAINCODE, ID)
    owners = [{"kind": "Job", "name": f"cc-mycc-{ID[:8]}", "uid": "uid-job"}]
    metadata = {
        "name": "p",
        "labels": own,
        "resourceVersion": str(version),
        "ownerReferences": owners,
    }
    statuses = [{"name": records.CHAINCODE, "state": state}]
    return {
        "type": "MODIFIED",
        "object": {"metadata": metadata, "status": {"containerStatuses": statuses}},
    }


@asynccontextmanager
async def running(
    tmp_path: Path,
    *,
    end: asyncio.Event,
    began: Manifest = RUNNING,
    ended: Manifest = ENDED,
) -> AsyncIterator[ChaincodeProcess]:
    """A process that runs, and ends at a word."""
    spec = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=())
    record = record_secrets.chaincode_secret(
        instance="mine", container_id=ID, name="dev-mycc", spec=spec, token="", created=AT
    )
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        later = after(end, watch(told(2, ended), stay=True))
        server.script("WATCH", "pods", watch(told(1, began)), later)
        async with asyncio.TaskGroup() as group:
            cache = PodWatch(kubernetes, labels={})
            tasks = BackgroundTasks(group)
            exits = ExitRecorder(kubernetes, cache, instance="mine", tasks=tasks)
            tasks.run(cache.run(), name="pod watch")
            found = ChaincodeProcess(kubernetes, cache, exits, typed.metadata(record))
            await typed.seen(cache, found.key, lambda seen: bool(seen.pod) or None)
            async with asyncio.timeout(10):
                yield found
            tasks.cancel()


async def test_one_that_ends_fails_its_start_and_tells_why(tmp_path: Path) -> None:
    """
    In one line: the code, the reason, and the last lines that it said.
    """
    end = asyncio.Event()
    async with running(tmp_path, end=end) as process:
        end.set()
        with pytest.raises(StartFailed) as raised:
            await Settling().watch(process, seconds=30)

    message = str(raised.value)
    assert message.startswith("container exited with 3 (OOMKilled) at its start; its last lines: ")
    assert message.endswith("line 28 | line 29 | last")
    assert 20 == message.count("|") + 1


def ended(code: int, *, finished_at: str = AT) -> Manifest:
    """The state of a process that has ended."""
    return {"terminated": {"exitCode": code, "startedAt": AT, "finishedAt": finished_at}}


async def test_one_that_ended_before_it_was_seen_fails_its_start(tmp_path: Path) -> None:
    """
    It had no time to register.
    """
    async with running(tmp_path, end=asyncio.Event(), began=ended(3)) as process:
        with pytest.raises(StartFailed, match=r"^container exited with 3 at its start$"):
            await Settling().watch(process, seconds=30)


IN_A_CALL = """\
panic: no such asset

goroutine 34 [running]:
main.(*Assets).Invoke(0xc000010a08, {0x7c8e70, 0xc0001a4000})
	/chaincode/input/src/main.go:20 +0x1d
github.com/hyperledger/fabric-chaincode-go/shim.(*Handler).handleTransaction(0xc0000b2000, ...)
	/go/src/github.com/hyperledger/fabric-chaincode-go/shim/handler.go:214 +0x15f
created by github.com/hyperledger/fabric-chaincode-go/shim.(*Handler).handleReady
	/go/src/github.com/hyperledger/fabric-chaincode-go/shim/handler.go:620 +0x1b7
"""
AT_ITS_START = """\
panic: open /etc/key: no such file or directory

goroutine 1 [running]:
main.main()
	/chaincode/input/src/main.go:9 +0x1d
"""


async def test_one_that_panicked_in_a_call_had_registered(tmp_path: Path) -> None:
    """
    However soon: its last words are a trace that has the shim's handler.
    """
    state = ended(2)
    state["terminated"]["message"] = IN_A_CALL
    async with running(tmp_path, end=asyncio.Event(), began=state) as process:
        await Settling().watch(process, seconds=30)


async def test_one_that_panicked_before_it_registered_fails_its_start(tmp_path: Path) -> None:
    """
    The trace is told, and has nothing of a call.
    """
    state = ended(2)
    state["terminated"]["message"] = AT_ITS_START
    async with running(tmp_path, end=asyncio.Event(), began=state) as process:
        with pytest.raises(StartFailed, match=r"exited with 2 at its start; .*panic: open /etc"):
            await Settling().watch(process, seconds=30)


async def test_one_that_was_seen_to_run_for_a_while_may_have_registered(tmp_path: Path) -> None:
    """
    Its peer knows it, and `wait` tells how it ended.
    """
    end = asyncio.Event()
    async with running(tmp_path, end=end) as process, asyncio.TaskGroup() as group:
        watching = group.create_task(Settling().watch(process, seconds=30))
        await asyncio.sleep(2)
        end.set()
        await watching


@pytest.mark.parametrize("finished_at", ["2026-01-02T03:04:06Z", "2026-01-02T03:05:05Z"])
async def test_one_that_ran_longer_than_it_was_seen_may_have_registered(
    tmp_path: Path, finished_at: str
) -> None:
    """
    By the kubelet's own times.
    """
    state = ended(3, finished_at=finished_at)
    async with running(tmp_path, end=asyncio.Event(), began=state) as process:
        await Settling().watch(process, seconds=30)


async def test_one_that_ends_with_nothing_to_say_against_it_was_started(tmp_path: Path) -> None:
    """
    Its exit code is 0: nothing failed.
    """
    async with running(tmp_path, end=asyncio.Event(), began=ended(0)) as process:
        await Settling().watch(process, seconds=30)


@pytest.mark.parametrize("finished_at", ["", "yesterday", "2026-01-02T03:04:06"])
async def test_times_that_are_none_say_nothing(tmp_path: Path, finished_at: str) -> None:
    """
    What is seen counts then.
    """
    state = ended(3, finished_at=finished_at)
    async with running(tmp_path, end=asyncio.Event(), began=state) as process:
        with pytest.raises(StartFailed):
            await Settling().watch(process, seconds=30)


async def test_a_stop_is_told_to_whoever_starts(tmp_path: Path) -> None:
    """
    From the first moment on, and no longer than the start lasts.
    """
    settling = Settling()
    async with running(tmp_path, end=asyncio.Event()) as process:
        with settling.starting(process) as outer, settling.starting(process) as inner:
            assert not outer.is_set()
            settling.stop(process)
            assert outer.is_set()
            assert inner.is_set()
        with settling.starting(process) as stopped:
            assert not stopped.is_set()


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_one_that_lives_is_started(tmp_path: Path, seconds: float) -> None:
    """
    Once it has lived for the time that was asked for.
    """
    async with running(tmp_path, end=asyncio.Event()) as process:
        await Settling().watch(process, seconds=seconds)


async def test_one_that_is_stopped_had_been_started(tmp_path: Path) -> None:
    """
    Its peer wants it to end.
    """
    settling = Settling()
    async with running(tmp_path, end=asyncio.Event()) as process, asyncio.TaskGroup() as group:
        group.create_task(settling.watch(process, seconds=30))
        await asyncio.sleep(0)
        settling.stop(process)


async def test_a_stop_at_another_time_is_nothing(tmp_path: Path) -> None:
    """
    What was stopped before is watched as any other.
    """
    settling, end = Settling(), asyncio.Event()
    async with running(tmp_path, end=end) as process:
        settling.stop(process)
        end.set()
        with pytest.raises(StartFailed):
            await settling.watch(process, seconds=30)
