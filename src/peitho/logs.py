"""
Log events: one line each, past tense, values as fields.

JSON where nobody watches, colors on a terminal.  File contents, values of environment variables
and tokens are never fields.
"""

import logging
import re
import sys
from collections.abc import Mapping

import structlog
from structlog.typing import EventDict

from peitho.settings.models import LogSettings

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
# Letters beyond ASCII are among them, and are let through.
_UNPRINTABLE = re.compile(r"[^ -~\t\n\r]")


def configure(settings: LogSettings) -> None:
    """Set up structlog, and the root logger for the libraries we use; again, if they change."""
    level = _LEVELS[settings.level]
    terminal = sys.stderr.isatty()
    console = settings.format == "console" or (settings.format == "auto" and terminal)
    renderer: structlog.typing.Processor = (
        # Its own way shows what local variables hold, and that may be a token.
        structlog.dev.ConsoleRenderer(
            colors=settings.enable_color and terminal,
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # The console renders exceptions by itself.
            *([_printable] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(logger=settings.name)
    logging.basicConfig(stream=sys.stderr)
    logging.getLogger().setLevel(max(level, logging.WARNING))


def _printable(_: object, __: str, event: EventDict) -> EventDict:
    """Escape what a terminal would obey: callers name things. Ends of lines structlog escapes."""
    return {
        key: _UNPRINTABLE.sub(_escaped, value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _escaped(found: re.Match[str]) -> str:
    text = found.group()
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def warn_of_settings(notes: Mapping[str, str]) -> None:
    """Say once, for all keys, which are not taken as they are written."""
    if notes:
        structlog.get_logger().warning("settings adapted", **notes)
