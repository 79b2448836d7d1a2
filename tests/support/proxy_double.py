"""A small HTTP proxy on loopback: CONNECT, and calls with a whole URL, all to one address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class ProxyDouble:
    """Leads every host to `target`, and keeps what it was asked for."""

    target: str = ""
    address: str = ""
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.address}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, asked, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append(f"{method} {asked}" if method == "CONNECT" else asked)
        self.credentials += [
            line.partition(":")[2].strip()
            for line in head.decode().splitlines()
            if line.lower().startswith("proxy-authorization:")
        ]
        host, _, port = self.target.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = asked.split("/", 3)[3]
            back.write(head.replace(asked.encode(), f"/{path}".encode(), 1))
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, back))
            group.create_task(_pass_on(there, writer))


@asynccontextmanager
async def proxying(target: str) -> AsyncIterator[ProxyDouble]:
    """The proxy before one `HOST:PORT`, while it runs."""
    proxy = ProxyDouble(target)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()
