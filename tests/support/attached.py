"""What attach gives, read to its end."""

import asyncio

from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls


async def attach(peitho: Peitho, container: str, *, version: str = "") -> bytes:
    """All that attach gives, after its head; the sending half is shut at once, as fsouza does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", peitho.port)
    try:
        path = f"{version}/containers/{container}/attach?logs=1&stderr=1&stdout=1&stream=1"
        writer.write(f"POST {path} HTTP/1.1\r\nHost:\r\nUpgrade: tcp\r\n\r\n".encode())
        writer.write_eof()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n"), head
        return await reader.read()
    finally:
        writer.close()


async def built(calls: Calls, build: str) -> tuple[int, bytes]:
    """A build, started and carried out to its end: its exit code, and all that it said."""
    async with asyncio.TaskGroup() as tasks:
        output = tasks.create_task(attach(calls.peitho, build, version="/v1.47"))
        assert 204 == (await calls.start(build)).status
        code = await calls.wait(build)
    return code, output.result()
