"""Query parameters, as Docker reads them."""

from aiohttp import web

from peitho.errors import InvalidArgument


def required(request: web.Request, name: str) -> str:
    """The value of a parameter; raises InvalidArgument without one."""
    value = request.query.get(name, "")
    if not value:
        raise InvalidArgument(f"the query parameter {name!r} is missing")
    return value


def flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """A boolean, by Docker's rule: empty, `0`, `no`, `false` and `none` are false."""
    value = request.query.get(name)
    if value is None:
        return default
    return value.strip().lower() not in ("", "0", "no", "false", "none")


def is_versioned(request: web.Request) -> bool:
    """
    Whether the path began with `/v1.NN`: the newer clients, and every tool that is not a peer.

    They get raw streams, since peers of that kind do not take frames apart (PROTOCOL 4).
    """
    return "api_version" in request.match_info
