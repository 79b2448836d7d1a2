from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from peitho.rehearsal.daemon import Daemon
from peitho.rehearsal.generations import BY_NAME, GENERATIONS
from peitho.rehearsal.registration import Registrations
from peitho.rehearsal.walk import Part, Step, Walk
from tests.support.rehearsed_daemon import RehearsedDaemon

STEPS = [
    "greet",
    "install",
    "ask for the image",
    "launch and register",
    "20 calls",
    "crash, told with its code",
    "first call after it",
    "stop and remove",
    "clean up",
]


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[RehearsedDaemon]:
    """A daemon that answers rightly until it is told otherwise."""
    async with RehearsedDaemon.start() as double:
        yield double


async def walked(double: RehearsedDaemon, generation: str = "2.5") -> list[Step]:
    """The steps of one walk."""
    steps: list[Step] = []
    async with (
        Registrations.listen("127.0.0.1", 0) as registrations,
        Daemon.connect("127.0.0.1", double.port, BY_NAME[generation], tls=None) as daemon,
    ):
        part = Part("net", "peer0", "Org1MSP", f"127.0.0.1:{registrations.port}")
        is_right = await Walk(daemon, registrations, part).run(steps.append)
    assert is_right == (not any(step.problem for step in steps))
    return steps


@pytest.mark.parametrize("generation", [each.name for each in GENERATIONS])
async def test_every_generation_walks_to_the_end(daemon: RehearsedDaemon, generation: str) -> None:
    """
    Each step is told, in its order, within what a peer allows.
    """
    steps = await walked(daemon, generation)

    assert [(name, "") for name in STEPS] == [(step.name, step.problem) for step in steps]
    assert all(step.seconds < step.limit_seconds for step in steps)


@pytest.mark.parametrize(
    ("generation", "greeting", "build"),
    [
        ("1.4", "GET /version", "POST /build"),
        ("2.5", "GET /version", "POST /v1.25/build"),
        ("3.1", "HEAD /_ping", "POST /v1.47/build"),
    ],
)
async def test_a_generation_speaks_as_its_peers_do(
    daemon: RehearsedDaemon, generation: str, greeting: str, build: str
) -> None:
    """
    Its first question, and the version in its paths.
    """
    await walked(daemon, generation)

    assert greeting == daemon.requests[0]
    assert build in daemon.requests


async def test_a_build_that_fails_is_told_with_its_output(daemon: RehearsedDaemon) -> None:
    """
    The walk ends there, and cleans up.
    """
    daemon.build_code, daemon.build_output = 2, b"no room left\n"

    *_, failed, cleaned = await walked(daemon)

    assert ("install", "the build ended with 2: no room left") == (failed.name, failed.problem)
    assert ("clean up", "") == (cleaned.name, cleaned.problem)


async def test_chaincode_that_ends_before_it_registers_is_told(daemon: RehearsedDaemon) -> None:
    """
    With its exit code, the address that it could not reach, and what it said.
    """
    daemon.registers, daemon.exit_code, daemon.last_words = False, 9, b"no route\n"

    *_, failed, _ = await walked(daemon)

    assert "launch and register" == failed.name
    assert "ended with 9 before it registered at 127.0.0.1:" in failed.problem
    assert failed.problem.endswith(": no route")


async def test_files_that_did_not_arrive_are_told(daemon: RehearsedDaemon) -> None:
    """
    A real chaincode could not register with TLS.
    """
    daemon.has_files = False

    *_, failed, _ = await walked(daemon)

    assert "the chaincode does not have the TLS files that were uploaded" == failed.problem


async def test_a_wrong_exit_code_is_told(daemon: RehearsedDaemon) -> None:
    """
    A peer shows it to its operator.
    """
    daemon.exit_code = 0

    *_, failed, _ = await walked(daemon)

    assert "crash, told with its code" == failed.name
    assert "it ended with 7, and the wait said {'StatusCode': 0}" == failed.problem


@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("GET /version", "greet"),
        ("POST /build", "install"),
        ("GET /containers/build", "install"),
        ("POST /containers/create", "install"),
        ("PUT /containers/net", "launch and register"),
        ("POST /containers/net-peer0-rehearsal_1-", "launch and register"),
    ],
)
async def test_a_refused_call_is_told_with_the_daemons_words(
    daemon: RehearsedDaemon, call: str, step: str
) -> None:
    """
    The step that it belongs to fails, and no other is tried.
    """
    daemon.wrong[call] = web.json_response({"message": "quota exceeded"}, status=500)

    *_, failed, _ = await walked(daemon)

    assert step == failed.name
    assert "500 quota exceeded" in failed.problem


async def test_a_version_that_newer_peers_refuse_is_told(daemon: RehearsedDaemon) -> None:
    """
    They refuse a daemon of before 1.44.
    """
    daemon.api_version = "1.41"

    failed, _ = await walked(daemon, "3.1")

    assert "HEAD /_ping: Api-Version 1.41 is too old for newer peers" == failed.problem
