"""Query parameters, read as Docker reads them."""

from aiohttp import web

from peitho.errors import InvalidArgument


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


def is_versioned(request: web.Request) -> bool:
    """
    Whether the path began with `/v1.NN`, as with newer peers and with every other client.

    They get raw streams, since newer peers do not take frames apart (PROTOCOL 4).
    """
    return "api_version" in request.match_info
