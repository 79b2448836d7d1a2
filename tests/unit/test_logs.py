import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from peitho import logs
from peitho.settings.models import LogSettings


class Terminal(io.StringIO):
    """Where a person reads."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is the process's: what a test sets is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, settings: LogSettings
) -> list[str]:
    """The lines that a few events become."""
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(settings)
    log = structlog.get_logger()
    log.debug("build created", build="ab")
    log.info("chaincode started", job="cc-1", duration_seconds=1.5)
    log.warning("watch interrupted")
    log.error("broken")
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_where_nobody_watches_a_line_is_json(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    """
    With the event, its fields, its level, the time in UTC, and our name.
    """
    settings = LogSettings.model_validate({"format": log_format, "name": "mine"})

    line = json.loads(written(monkeypatch, io.StringIO(), settings)[0])

    assert line.pop("timestamp").endswith("Z")
    assert {
        "event": "chaincode started",
        "job": "cc-1",
        "duration_seconds": 1.5,
        "level": "info",
        "logger": "mine",
    } == line


@pytest.mark.parametrize(
    ("level", "events"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)]
)
def test_what_is_less_severe_is_not_written(
    monkeypatch: pytest.MonkeyPatch, level: str, events: int
) -> None:
    """
    With the Go project's names of levels.
    """
    settings = LogSettings.model_validate({"level": level, "format": "json"})

    assert events == len(written(monkeypatch, io.StringIO(), settings))


@pytest.mark.parametrize(
    ("log_format", "stream", "color"),
    [("auto", Terminal(), True), ("auto", Terminal(), False), ("console", io.StringIO(), True)],
    ids=["terminal", "terminal without color", "console in a file"],
)
def test_a_person_reads_words(
    monkeypatch: pytest.MonkeyPatch, log_format: str, stream: io.StringIO, *, color: bool
) -> None:
    """
    In color on a terminal alone, and only if wanted.
    """
    settings = LogSettings.model_validate({"format": log_format, "enable-color": color})

    line = written(monkeypatch, stream, settings)[0]

    assert "chaincode started" in line
    assert "{" not in line
    assert (color and stream.isatty()) == ("\x1b[" in line)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_value_commands_a_terminal(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    """
    Or looks like a line of its own: names come from callers.
    """
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings.model_validate({"format": log_format}))
    path = "/containers/\x1b[2J\x07\x00\u202e\u2028\x85é"
    structlog.get_logger().info("request answered", path=path, cause="a\n\x1b[1mb\r")

    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert not set("\x1b\x07\x00\u202e\u2028\x85\r") & set(line)
    assert "é" in line or "\\u00e9" in line


def test_an_exception_has_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On the same line.
    """
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings(format="json"))
    try:
        int("the cause")
    except ValueError:
        structlog.get_logger().exception("broken")

    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_the_libraries_are_heard_when_they_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Their chatter is not ours, at debug neither.
    """
    root = logging.getLogger()
    root.handlers.clear()

    written(monkeypatch, io.StringIO(), LogSettings(level="debug"))

    assert logging.WARNING == root.level


def test_an_exception_on_a_console_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With its traceback, and without a warning.
    """
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    logs.configure(LogSettings(format="console"))
    try:
        structlog.get_logger().error("broken", exc_info=ValueError("the cause"))
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    assert "ValueError: the cause" in shown.getvalue()


def test_settings_that_are_not_taken_as_written_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    And none where there are none.
    """
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(LogSettings())

    logs.warn_of_settings({})
    logs.warn_of_settings({"log.development": "has no meaning here"})

    (line,) = stream.getvalue().splitlines()
    assert "has no meaning here" == json.loads(line)["log.development"]


def test_the_log_can_be_set_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With another level, which holds for the libraries, too.
    """
    stream = io.StringIO()
    for level, heard in (("error", 1), ("debug", 4), ("info", 3)):
        stream.seek(stream.truncate(0))
        lines = written(monkeypatch, stream, LogSettings.model_validate({"level": level}))
        assert heard == len(lines)
        expected = logging.ERROR if level == "error" else logging.WARNING
        assert expected == logging.getLogger().level
