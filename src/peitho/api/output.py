"""Output of a container as the answer to `attach` and `logs`: raw, or in Docker's frames."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from aiohttp import web

from peitho.api import queries
from peitho.core.container import OutputOptions, Said
from peitho.errors import InvalidArgument, Unsupported
from peitho.formats.docker import streams


def options_of_attach(request: web.Request) -> OutputOptions:
    """Read what `attach` asks for: with `logs` what was written, with `stream` what comes."""
    return OutputOptions(
        follow=queries.flag(request, "stream"),
        tail_lines=None if queries.flag(request, "logs") else 0,
        stdout=queries.flag(request, "stdout"),
        stderr=queries.flag(request, "stderr"),
    )


def options_of_logs(request: web.Request) -> OutputOptions:
    """Read what `logs` asks for. Raises InvalidArgument, Unsupported."""
    options = OutputOptions(
        follow=queries.flag(request, "follow"),
        tail_lines=_tail_lines(request),
        stdout=queries.flag(request, "stdout"),
        stderr=queries.flag(request, "stderr"),
        since_nanoseconds=queries.nanoseconds(request, "since"),
        until_nanoseconds=queries.nanoseconds(request, "until"),
        timestamps=queries.flag(request, "timestamps"),
    )
    if not (options.stdout or options.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    if options.follow and options.until_nanoseconds:
        raise Unsupported("'until' together with 'follow' is not part of what Peitho does")
    return options


def _tail_lines(request: web.Request) -> int | None:
    if request.query.get("tail", "") == "all":
        return None
    lines = queries.number(request, "tail", default=-1)
    return None if lines < 0 else lines


def content_type(request: web.Request) -> str:
    """Return the Content-Type of a request's output."""
    return streams.RAW_TYPE if queries.takes_raw_output(request) else streams.FRAMED_TYPE


async def send(said: Said, request: web.Request, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Write all output of a container."""
    is_raw = queries.takes_raw_output(request)
    async with aclosing(said) as parts:
        async for stream, data in parts:
            await write(data if is_raw else streams.frames(stream, data))
