"""Query parameters, read as Docker reads them."""

import re

from aiohttp import web

from peitho.errors import InvalidArgument

# As Go reads one: no other digits, blanks or `_`.
_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
# All versions of the docker command: `Docker-Client/20.10.24 (linux)`.
_CLI = "Docker-Client/"
_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,20}))?", re.ASCII)
# The last one of the year 9999.
_LAST_SECOND = 253_402_300_799


def required(request: web.Request, name: str) -> str:
    """Return the value of a parameter. Raises InvalidArgument without one."""
    value = request.query.get(name, "")
    if not value:
        raise InvalidArgument(f"the query parameter {name!r} is missing")
    return value


def flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """Return a boolean by Docker's rule: empty, `0`, `no`, `false` and `none` are false."""
    value = request.query.get(name)
    if value is None:
        return default
    return value.strip().lower() not in ("", "0", "no", "false", "none")


def number(request: web.Request, name: str, *, default: int) -> int:
    """Return a whole number; empty is the default. Raises InvalidArgument for anything else."""
    value = request.query.get(name, "").strip()
    if not value:
        return default
    try:
        return whole_number(value)
    except ValueError as error:
        said = f"invalid value for {name!r}: {value[:100]!r} is no number"
        raise InvalidArgument(said) from error


def whole_number(text: str) -> int:
    """Return the whole number that a text is. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def nanoseconds(request: web.Request, name: str) -> int:
    """
    Return a time, which Docker has in Unix seconds with a fraction; 0 if there is none.

    Raises InvalidArgument for anything else.
    """
    value = request.query.get(name, "").strip()
    matched = _SECONDS.fullmatch(value or "0")
    if not matched or int(matched[1]) > _LAST_SECOND:
        raise InvalidArgument(f"invalid value for {name!r}: {value[:100]!r} is no Unix time")
    return int(matched[1]) * 1_000_000_000 + int((matched[2] or "0").ljust(9, "0")[:9])


def takes_raw_output(request: web.Request) -> bool:
    """
    Whether the client gets output without frames: it is a newer peer, or looks at `Tty` of inspect.

    Newer peers, whose paths begin with `/v1.NN`, do not take frames apart (PROTOCOL 4). The docker
    CLI does, and `docker run` takes for granted that there are frames.
    """
    is_versioned = "api_version" in request.match_info
    return is_versioned and not request.headers.get("User-Agent", "").startswith(_CLI)
