"""Requests for tests of what reads them."""

from aiohttp import web
from aiohttp.test_utils import make_mocked_request


def request(path: str, *, method: str = "GET", agent: str = "", **match: str) -> web.Request:
    """A request as a handler gets it; `match` is what the route found in its path."""
    made = make_mocked_request(method, path, headers={"User-Agent": agent})
    made.match_info.update(match)
    return made
