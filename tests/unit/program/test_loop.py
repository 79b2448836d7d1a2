import asyncio
import selectors
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from peitho.program.loop import FewAtOnce, new_event_loop

COUNT = 200


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connections of which each has something to be read at its first end."""
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(COUNT)]
        for near, far in made:
            stack.enter_context(near)
            stack.enter_context(far)
            far.send(b"news")
        yield made


def test_some_are_told_at_a_time_and_all_in_turn(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """
    Also where those that were told first always have news: nobody is left behind.
    """
    told: Counter[object] = Counter()
    selector = FewAtOnce(selectors.DefaultSelector())
    for near, _ in pairs:
        selector.register(near, selectors.EVENT_READ)

    rounds = [selector.select(0) for _ in range(64)]

    selector.close()
    for ready in rounds:
        told.update(key.fileobj for key, _ in ready)
    assert {16} == {len(ready) for ready in rounds}
    assert COUNT == len(told)
    assert max(told.values()) - min(told.values()) <= 2


def test_few_are_told_as_they_come(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """
    And none that has nothing to say, nor one that is no longer asked about.
    """
    selector = FewAtOnce(selectors.DefaultSelector())
    for near, _ in pairs:
        selector.register(near, selectors.EVENT_READ)
    selector.select(0)
    for near, _ in pairs[2:]:
        selector.unregister(near)
    pairs[1][0].recv(10)

    ready = selector.select(0)

    selector.close()
    assert [pairs[0][0]] == [key.fileobj for key, _ in ready]


def test_a_server_serves_on_it() -> None:
    """
    Many at once, each with its own answer.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def ask(port: int, number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d\n" % number)
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        return said

    async def serve() -> list[bytes]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(port, number)) for number in range(COUNT)]
        return [task.result() for task in asked]

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert [b"%d\n" % number for number in range(COUNT)] == runner.run(serve())
