"""
Tests on all cores: `--processes 3` forks so many from the one that has collected the tests.

What is imported and collected is so once, and shared.  pytest-xdist starts each process anew, and
has it import and collect everything.  Whoever is free takes the next few tests, or all of a file
in a folder that pyproject.toml names as one of `whole_files`; the process that was called as pytest
tells what they report.  Tests that are marked `alone` come last, when nobody has another one left.
"""

import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

_FORK = multiprocessing.get_context("fork")

# Tests that follow each other are mostly of one file, and share what is made for it.
_TESTS_AT_ONCE = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that this file is about."""
    parser.addoption("--processes", type=int, default=1, help="fork so many to run the tests")
    parser.addini("whole_files", "folders whose files share much among their tests", type="paths")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "alone: runs when no other test does, as far as can be")


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run all tests in such processes, where more than one is asked for."""
    options = session.config.option
    if options.processes == 1 or options.collectonly or options.usepdb or session.testsfailed:
        return None  # as pytest does it
    turns = Turns(session.items, session.config.getini("whole_files"), options.processes)
    with tempfile.TemporaryDirectory(prefix="pytest-") as directory, ExitStack() as stack:
        workers = [
            stack.enter_context(closing(Worker(session, turns, Path(directory, str(number)))))
            for number in range(options.processes)
        ]
        _tell(session, turns, {each.messages: each for each in workers})
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    return True


def _tell(session: pytest.Session, turns: "Turns", workers: dict[Any, "Worker"]) -> None:
    while workers:
        for messages in wait(list(workers)):
            if not workers[messages].tell(session):
                del workers[messages]
        if session.shouldfail:
            turns.stop()


class Turns:
    """The tests, some at a time, each given to one of the processes that share this."""

    def __init__(
        self, tests: Sequence[pytest.Item], folders: Sequence[Path], processes: int
    ) -> None:
        self._alone = [test for test in tests if test.get_closest_marker("alone")]
        self._groups = _groups((test for test in tests if test not in self._alone), folders)
        self._taken = _FORK.Value("i", 0)
        self._working = _FORK.Value("i", processes)

    def stop(self) -> None:
        """Give nobody another test."""
        self._working.value = -1

    def __iter__(self) -> Iterator[pytest.Item]:
        for number in iter(self._next, None):
            yield from self._groups[number]
        with self._working.get_lock():
            self._working.value -= 1
            is_last = self._working.value == 0
        if is_last:
            yield from self._alone

    def _next(self) -> int | None:
        """Take a group, if there is one left."""
        with self._taken.get_lock():
            number = self._taken.value
            self._taken.value += 1
        return number if number < len(self._groups) and self._working.value > 0 else None


def _groups(tests: Iterable[pytest.Item], folders: Sequence[Path]) -> list[list[pytest.Item]]:
    """Tests that follow each other: all of a file in one of these folders, or some."""
    groups = []
    for file, together in itertools.groupby(tests, lambda test: _whole(test.path, folders)):
        found = list(together)
        size = len(found) if file else _TESTS_AT_ONCE
        groups += [found[begin : begin + size] for begin in range(0, len(found), size)]
    return groups


def _whole(file: Path, folders: Sequence[Path]) -> Path | None:
    """Return a file if it is in one of the folders."""
    return file if any(file.is_relative_to(folder) for folder in folders) else None


class Worker:
    """A process that runs tests, and sends the name of each and, when it is over, its reports."""

    def __init__(self, session: pytest.Session, turns: Turns, directory: Path) -> None:
        self.messages, sending = _FORK.Pipe(duplex=False)
        self.process = _FORK.Process(target=_work, args=(session, turns, directory, sending))
        self.test = ""
        directory.mkdir()
        self.process.start()
        sending.close()  # ours: the pipe is at its end when the process is

    def close(self) -> None:
        """End the process; mostly it has ended by itself."""
        self.process.terminate()
        self.process.join()
        self.messages.close()

    def tell(self, session: pytest.Session) -> bool:
        """Pass on the next that it sends; false if it has ended."""
        try:
            message = self.messages.recv()
        except EOFError:
            self.process.join()
            if self.process.exitcode:
                pytest.exit(f"a process ended in {self.test}: {self.process.exitcode}", 1)
            return False
        if isinstance(message, str):
            self.test = message
            return True
        location, reports = message
        hook = session.config.hook
        hook.pytest_runtest_logstart(nodeid=self.test, location=location)
        for data in reports:
            report = hook.pytest_report_from_serializable(config=session.config, data=data)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=self.test, location=location)
        return True


class _Reports:
    """A plugin of pytest that keeps what a test reports until it is sent."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._kept: list[Any] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep one; a test has one for each of its three phases."""
        hook = self._config.hook
        self._kept.append(hook.pytest_report_to_serializable(config=self._config, report=report))

    def taken(self) -> list[Any]:
        """Those of the test that has ended."""
        taken, self._kept = self._kept, []
        return taken


def _work(session: pytest.Session, turns: Turns, directory: Path, sending: Connection) -> None:
    # What a test writes goes to files of this process alone, as do its temporary ones.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(directory)  # noqa: TID251  a setting of pytest's
    plugins = session.config.pluginmanager
    plugins.unregister(name="terminalreporter")
    capturing: Any = plugins.get_plugin("capturemanager")
    capturing.stop_global_capturing()
    capturing.start_global_capturing()
    reports = _Reports(session.config)
    plugins.register(reports)
    for test, following in itertools.pairwise(itertools.chain(turns, [None])):
        assert test is not None
        sending.send(test.nodeid)
        test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        sending.send((test.location, reports.taken()))
        if session.shouldfail:
            return
