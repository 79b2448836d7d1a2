"""POST /containers/{id}/attach: the output of a container, on the connection itself."""

from contextlib import suppress

from aiohttp import web

from peitho.api import output
from peitho.api.connection import Connection, Taken
from peitho.api.middleware import HEADERS, error_response
from peitho.api.services import services
from peitho.errors import PeithoError


async def attach(request: web.Request) -> web.StreamResponse:
    """POST /containers/{id}/attach — 101, then the output until the container ends; 404."""
    connection = Connection.of(request)
    connection.take_over()  # before anything is awaited: the half-close may be there already
    try:
        with suppress(ConnectionResetError):
            await _answer(request, connection)
    finally:
        connection.close()  # an error in the middle too: the caller reads until the end
    return Taken()


async def _answer(request: web.Request, connection: Connection) -> None:
    try:
        container = await services(request).containers.get(request.match_info["id"])
        said = container.output(output.options_of_attach(request))
    except PeithoError as error:
        await connection.write(_plain(error))
        return
    await connection.write(_upgraded(output.content_type(request)))
    await output.send(said, request, connection.write)


def _upgraded(content_type: str) -> bytes:
    return (
        "HTTP/1.1 101 UPGRADED\r\n"
        f"Content-Type: {content_type}\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: tcp\r\n"
        "\r\n"
    ).encode()


def _plain(error: PeithoError) -> bytes:
    """An error, written out: aiohttp no longer speaks on this connection."""
    response = error_response(error.status, str(error))
    body = response.body if isinstance(response.body, bytes) else b""
    headers = HEADERS | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
