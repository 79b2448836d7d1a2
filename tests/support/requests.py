"""Requests for tests of what reads them."""

import re

from aiohttp import web
from aiohttp.test_utils import make_mocked_request


def request(path: str, *, method: str = "GET", agent: str = "", **match: str) -> web.Request:
    """A request as a handler gets it; `match` is what the route found in its path."""
    made = make_mocked_request(method, path, headers={"User-Agent": agent})
    made.match_info.update(match)
    return made


def concrete(path: str) -> str:
    """A path that a route's pattern means; names of images have slashes."""
    path = path.replace("{name:.+}", "ghcr.io/a/b:1").replace("{rest:.*}", "/x")
    return re.sub(r"\{\w+\}", "dev-peer0.org1_mycc", path)
