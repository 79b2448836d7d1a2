import asyncio
import json
from pathlib import Path

import pytest

from peitho.core.builds.build import Build
from peitho.core.builds.container import BuildContainer
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT
from peitho.formats.records import ContainerSpec, Exit
from tests.support.contexts import chunks
from tests.support.in_process import Running, running
from tests.support.wire import Wire, wire

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
UPGRADE = "Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
QUERY = "logs=1&stderr=1&stdout=1&stream=1"
ERROR = b"# mycc\nundefined: x\n" * 20


def build(peitho: Running) -> BuildContainer:
    """A build that was created."""
    return peitho.services.builds.create(SPEC)


async def say(run: Build, stream: int, data: bytes) -> None:
    """What the helper tells of the command's output."""
    await run.append_output(chunks(streams.frame(stream, data)))


def attach(peer: Wire, container_id: str, version: str = "", query: str = QUERY) -> None:
    """The request as peers send it."""
    peer.send("POST", f"{version}/containers/{container_id}/attach?{query}", headers=UPGRADE)


async def test_the_older_client_gets_frames_after_its_half_close(tmp_path: Path) -> None:
    """
    All of them, as short as it can read.
    """
    async with running(tmp_path) as peitho, wire(peitho.api) as peer:
        container = build(peitho)
        run = await peitho.begun(container)
        attach(peer, container.id)
        peer.half_close()
        head = await peer.head()
        await say(run, STDERR, ERROR)
        await say(run, STDOUT, b"Done!\n")
        run.end(Exit(1))
        wire_bytes = await peer.rest()

    assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
    assert "Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
    assert "Upgrade: tcp\r\n" in head
    assert streams.frames(STDERR, ERROR) + streams.frames(STDOUT, b"Done!\n") == wire_bytes


async def test_the_newer_client_gets_the_bytes_themselves(tmp_path: Path) -> None:
    """
    It takes no frames apart: what it reads is what the compiler said.
    """
    async with running(tmp_path) as peitho, wire(peitho.api) as peer:
        container = build(peitho)
        run = await peitho.begun(container)
        attach(peer, container.id, "/v1.51")
        head = await peer.head()
        await say(run, STDERR, ERROR)
        run.end(Exit(1))

        assert "Content-Type: application/vnd.docker.raw-stream\r\n" in head
        assert ERROR == await peer.rest()


async def test_what_was_said_before_is_replayed_if_asked_for(tmp_path: Path) -> None:
    """
    With `logs`, from the start; without, what comes.
    """
    async with running(tmp_path) as peitho, wire(peitho.api) as one, wire(peitho.api) as other:
        container = build(peitho)
        run = await peitho.begun(container)
        await say(run, STDOUT, b"before ")
        attach(one, container.id, "/v1.51")
        attach(other, container.id, "/v1.51", "stdout=1&stream=1")
        for peer in (one, other):
            await peer.head()
        await asyncio.sleep(0)
        await say(run, STDOUT, b"after")
        run.end(Exit(0))

        assert b"before after" == await one.rest()
        assert b"after" == await other.rest()


async def test_attach_is_closed_before_wait_is_answered(tmp_path: Path) -> None:
    """
    A peer that reads slowly is waited for: some clients drop what comes later.
    """
    async with running(tmp_path) as peitho, wire(peitho.api) as peer, wire(peitho.api) as waiter:
        container = build(peitho)
        run = await peitho.begun(container)
        attach(peer, container.id, "/v1.51")
        await peer.head()
        waiter.send("POST", f"/containers/{container.id}/wait")
        assert "200 OK" in await waiter.head()
        await say(run, STDOUT, b"x" * 30_000_000)
        run.end(Exit(3))

        async with asyncio.TaskGroup() as group:
            answer = group.create_task(waiter.some(22))
            await asyncio.sleep(0.05)
            assert not answer.done()
            said = await peer.rest()
        assert b'{"StatusCode": 3}' in answer.result()
    assert 30_000_000 == len(said)


@pytest.mark.parametrize("version", ["", "/v1.51"])
async def test_an_unknown_container_is_404_in_json(tmp_path: Path, version: str) -> None:
    """
    Written out by hand, and as every other error; the connection is closed after it.
    """
    async with running(tmp_path) as peitho, wire(peitho.api) as peer:
        attach(peer, "nobody", version)
        head, body = await peer.head(), await peer.rest()

    assert head.startswith("HTTP/1.1 404 Not Found\r\n")
    assert "Content-Type: application/json\r\n" in head
    assert f"Content-Length: {len(body)}\r\n" in head
    assert "Api-Version: 1.47\r\n" in head
    assert {"message": "No such container: nobody"} == json.loads(body)


async def test_a_peer_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """
    The build goes on, and others read on.
    """
    async with running(tmp_path) as peitho:
        container = build(peitho)
        run = await peitho.begun(container)
        async with wire(peitho.api) as peer:
            attach(peer, container.id, "/v1.51")
            await peer.head()
        async with wire(peitho.api) as other:
            attach(other, container.id, "/v1.51")
            await other.head()
            for _ in range(10):
                await say(run, STDOUT, b"x" * 100_000)
            run.end(Exit(0))

            assert 1_000_000 == len(await other.rest())
