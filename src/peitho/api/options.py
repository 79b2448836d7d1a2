"""
Query options: each is obeyed, or makes no difference here, or is refused by name.

A route says which it knows.  What an option is by default in Docker is what Peitho does, so that
passes: clients send defaults too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from peitho.api.middleware import Handler
from peitho.errors import Forbidden, InvalidArgument, Unsupported
from peitho.formats.docker.forbidden import Field

# How clients write "not set": Go's and Python's zero values, as text or in JSON.
_NOT_SET = frozenset({"", "0", "false", "no", "none", "null", "{}", "[]"})


@dataclass(frozen=True, slots=True)
class Options:
    """
    The query options of a call.

    `obeyed` are read by the handler; `any_value` pass, for they make no difference here. `refused`
    are Docker's, and left out on purpose: they may only say what Peitho does anyway, which is "not
    set", or one of the values given with them. All are words in one text. `forbidden` are those
    that nobody is given, as in a create request.
    """

    obeyed: str = ""
    any_value: str = ""
    refused: str = ""
    passing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbidden: Mapping[str, Field] = field(default_factory=dict)

    def check(self, request: web.Request) -> None:
        """Raise InvalidArgument for an unknown option, Unsupported or Forbidden for a refused."""
        for name, value in request.query.items():
            if name in self.any_value.split():
                continue
            if name in self.refused.split():
                self._check_refused(name, value)
            elif name in self.forbidden:
                self._check_forbidden(name, value)
            elif name not in self.obeyed.split():
                raise InvalidArgument(f"unknown query parameter {name!r}")
            if len(request.query.getall(name)) > 1:
                raise Unsupported(f"the query parameter {name!r} is taken once, and is there twice")

    def _check_refused(self, name: str, value: str) -> None:
        if value.strip().lower() not in _NOT_SET and value not in self.passing.get(name, ()):
            raise Unsupported(
                f"the query parameter {name!r} is not part of what Peitho does: it may be left out"
            )

    def _check_forbidden(self, name: str, value: str) -> None:
        asked = self.forbidden[name]
        if value.strip().lower() not in _NOT_SET and asked.refuses(value):
            raise Forbidden(
                f"the query parameter {name!r} may not be used here: it gives {asked.gives}",
                reason="field",
            )


NONE = Options()


class OptionCheck:
    """Checks the options of each call before its handler runs."""

    def __init__(self, options: Mapping[object, Options]) -> None:
        self._options = options

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the options of a call (a middleware); those of a path without any are its own."""
        options = self._options.get(request.match_info.handler)
        if options:
            options.check(request)
        return await handler(request)
