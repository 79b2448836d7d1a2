"""
Peitho's answers beside those that dockerd gave to real peers, call by call.

The peer is played by the double, over the library that its release links, through a recorder.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from tests.conformance.recordings import Call, observed, recorded
from tests.lab.cluster import Cluster
from tests.lab.peer import Package, Peer, PeerError, at_once, build_chaincode
from tests.lab.peitho import Peitho
from tests.lab.recorder import Exchange, Recorder
from tests.support.observe import until

# Sent once in a process or an operation, at a moment that differs from run to run.
GREETINGS = ("HEAD /_ping", "GET /version")
# A peer looks at its images once for each package it has; the recorded networks had several.
IMAGES = "GET /images/NAME/json"
# The recorded dockerd had its builder images; Peitho's nodes pull, so a peer asks for each once.
PULL = "POST /images/create"
UNCOUNTED = (*GREETINGS, IMAGES, PULL)

# Where Peitho answers otherwise than dockerd, on purpose (docs/decisions has the reasons).
RAW = "application/vnd.docker.raw-stream"
FRAMED = "application/vnd.docker.multiplexed-stream"

# What peers read of an answer; the rest is for people.
READ: Mapping[str, frozenset[str]] = {
    "GET /version": frozenset({"ApiVersion"}),
    "GET /images/NAME/json": frozenset({"Id"}),
    "POST /containers/create": frozenset({"Id", "Warnings"}),
    "POST /containers/ID/wait": frozenset({"StatusCode"}),
}

FAMILIES = {"1.4.12": "1.4.12", "2.2.15": "2.2.15", "2.5.16": "2.5.16", "3.1.5": "2.5.16"}


class Conversation:
    """A peer, what it said from a moment on, and what dockerd would have answered."""

    def __init__(self, peer: Peer, recorder: Recorder, peitho: Peitho, family: str) -> None:
        self.peer = peer
        self._recorder = recorder
        self._peitho = peitho
        self._family = family
        self._since = 0.0

    def begin(self) -> None:
        """What was said up to now is not looked at."""
        self._since = self._recorder.now()

    def exchanges(self) -> list[Exchange]:
        """What was said since `begin`."""
        return self._recorder.exchanges(self._since)

    async def compare(self, scenario: str, *, repeated: bool = False) -> None:
        """
        All calls since `begin` were answered as dockerd answered them in a scenario.

        With `repeated`, how often a call came is not compared: it was tried until it gave up.
        """
        expected = recorded(self._family, scenario)
        with suppress(TimeoutError):  # then the comparison says what is missing
            await until(lambda: self._is_over(expected, repeated=repeated))
        found = observed(self._recorder.exchanges(self._since))
        assert _counted(expected, repeated=repeated) == _counted(found, repeated=repeated)
        for call in found:
            if repeated and call.status is None:
                continue  # the peer has begun once more, and waits
            _compare(call, [each for each in expected if each.told == call.told])
        self.begin()

    def _is_over(self, expected: list[Call], *, repeated: bool) -> bool:
        """Whether all is answered, and the last call, the wait for what was started, was sent."""
        calls = self._recorder.exchanges(self._since)
        answered = all(_is_answered(each) for each in calls)
        last = expected[-1].request
        sent, due = (
            sum(each.request == last for each in said) for said in (observed(calls), expected)
        )
        return answered and sent >= (1 if repeated else due)

    async def docker(self, method: str, path: str) -> None:
        """What somebody does with the docker command behind the peer's back."""
        async with (
            aiohttp.ClientSession(self._peitho.http) as session,
            session.request(method, path) as response,
        ):
            await response.read()
            assert response.status in (200, 204)


def _is_answered(exchange: Exchange) -> bool:
    """
    Whether the answer is there as far as it will come.

    The body of a failing build never ends, and its answer never comes.  A wait that is open has no
    body; a peer reads the code in one before the last chunk has come.
    """
    if exchange.path == "/build":
        return True
    if exchange.status == 101 or (exchange.path.endswith("/wait") and not exchange.body):
        return bool(exchange.status)
    return exchange.complete


def _counted(calls: list[Call], *, repeated: bool) -> dict[tuple[str, int | None, str], int]:
    told = Counter(call.told for call in calls if call.request not in UNCOUNTED)
    if not repeated:
        return dict(told)
    # The recording has the waits for the peer's other chaincode as well.
    return dict.fromkeys((call for call in told if call[1] is not None), 1)


def _compare(call: Call, answers: list[Call]) -> None:
    """Headers and the types of what is told are those of one of dockerd's answers."""
    if not answers:
        assert call.request in UNCOUNTED, call
        return
    expected = answers[0]
    if expected.body == "unrecorded":
        return
    if call.headers.get("content-type") in (RAW, FRAMED):
        assert 101 == expected.status
        assert dict(expected.headers) | {"content-type": ""} == dict(call.headers) | {
            "content-type": ""
        }
        return
    assert expected.headers == call.headers, call.request
    if isinstance(expected.body, dict) and "message" not in expected.body:
        shared = expected.body.keys() & call.body.keys()
        assert READ[call.request] <= shared
        assert {key: expected.body[key] for key in shared} == {
            key: call.body[key] for key in shared
        }
    else:
        assert expected.body == call.body


@asynccontextmanager
async def conversation(
    version: str, peitho: Peitho, cluster: Cluster, network: str, **settings: Any
) -> AsyncIterator[Conversation]:
    """A peer that speaks through a recorder."""
    async with (
        Recorder.start("127.0.0.1", peitho.port) as recorder,
        Peer.start(
            version,
            endpoint=recorder.url,
            host_address=cluster.host_address,
            network_id=network,
            **settings,
        ) as peer,
    ):
        yield Conversation(peer, recorder, peitho, FAMILIES[version])


@pytest.mark.timeout(180)
async def test_a_peers_life_is_answered_as_dockerd_answers_it(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    Install, commit, a kill, an exit, removals behind its back, a restart, an upgrade.
    """
    await at_once(FAMILIES, lambda version: _life(version, peitho, cluster))


async def _life(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(version, peitho, cluster, f"life-{version}") as said:
        package = await _installed_and_launched(said)

        await said.docker("POST", f"/containers/{package.container}/kill")
        await said.peer.expect("exit", package=package)
        await _called_again(said, package, "kill-container")

        with pytest.raises(PeerError):
            await said.peer.invoke(package, "exit", "3")
        assert 3 == (await said.peer.expect("exit", package=package)).code
        await _called_again(said, package, "exit-container")

        await said.docker("DELETE", f"/containers/{package.container}?force=1")
        await said.peer.expect("exit", package=package)
        await _called_again(said, package, "container-removed")

        await _restarted(said, package)
        await _without_its_image(said, package)
        await _upgraded(said, package)


async def _installed_and_launched(said: Conversation) -> Package:
    said.begin()
    package = await said.peer.install("go", label="life_1")
    if said.peer.settings.version.startswith("1."):
        await said.peer.launch(package)
        await said.compare("instantiate")
        return package
    await said.compare("install")
    await said.peer.launch(package)
    await said.compare("commit")
    return package


async def _called_again(said: Conversation, package: Package, scenario: str) -> None:
    said.begin()
    await said.peer.invoke(package, "put", "a", "b")
    await said.compare(scenario)


async def _restarted(said: Conversation, package: Package) -> None:
    said.begin()
    if said.peer.settings.version.startswith("1."):
        # Such a peer stops nothing: its chaincode ends by itself, when the stream breaks.
        await said.peer.restart()
        await said.docker("POST", f"/containers/{package.container}/wait")
        said.begin()
    else:
        await said.peer.restart()
    await said.peer.launch(package)
    await said.compare("peer-restart")


async def _without_its_image(said: Conversation, package: Package) -> None:
    said.begin()
    if said.peer.settings.version.startswith("1."):
        await said.peer.restart()
        await said.docker("DELETE", f"/containers/{package.container}?force=1")
        await said.docker("DELETE", f"/images/{package.image}")
        said.begin()
    else:
        await said.docker("DELETE", f"/images/{package.image}")
        await said.peer.restart()
    await said.peer.launch(package)
    await said.compare("image-removed")


async def _upgraded(said: Conversation, package: Package) -> None:
    said.begin()
    new = await said.peer.install("go", label="life_2")
    await said.peer.upgrade(package, new)
    await said.compare("upgrade")


async def test_a_failing_compile_is_answered_as_dockerd_answers_it(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    The build's body never ends, and its container is removed.
    """
    await at_once(FAMILIES, lambda version: _failing_compile(version, peitho, cluster))


async def _failing_compile(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(version, peitho, cluster, f"broken-{version}") as said:
        said.begin()
        with pytest.raises(PeerError, match="Error returned from build: 1"):
            await _tried(said, "broken_1")
        await said.compare("build-fail-compile")


async def _tried(said: Conversation, label: str) -> None:
    await said.peer.launch(await said.peer.install("broken", label=label))


async def test_chaincode_that_exits_at_once_is_answered_as_dockerd_answers_it(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    The peer is told the code, and tries anew at each call.
    """
    await at_once(FAMILIES, lambda version: _exits_at_once(version, peitho, cluster))


async def _exits_at_once(version: str, peitho: Peitho, cluster: Cluster) -> None:
    folder = build_chaincode("tiny", replacing={"exitCode     = 0": "exitCode     = 7"})
    async with conversation(version, peitho, cluster, f"exits-{version}") as said:
        said.begin()
        package = await said.peer.install(folder, label="exits_1")
        for _ in range(2):
            with pytest.raises(PeerError, match="container exited with 7"):
                await said.peer.launch(package)
        await said.compare("cc-exits-at-start", repeated=True)


async def test_a_peer_that_attaches_to_chaincode_is_shown_its_output(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    CORE_VM_DOCKER_ATTACHSTDOUT: one attach more, and the lines come to the peer's log.
    """
    await at_once(FAMILIES, lambda version: _attached(version, peitho, cluster))


async def _attached(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(
        version, peitho, cluster, f"stdout-{version}", attach_stdout=True
    ) as said:
        package = await said.peer.install("tiny", label="stdout_1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_never_registers(said, package), name="launch")
            lines = ""
            while "tinycc starting" not in lines:
                lines += (await said.peer.expect("log")).text
            attached = [call.told for call in observed(said.exchanges())]
            await said.docker("DELETE", f"/containers/{package.container}?force=1")

    shown = [call.told for call in recorded(FAMILIES[version], "attach-stdout")]
    attach = ("POST /containers/ID/attach", 101, "")
    assert attach in shown
    assert attach == [told for told in attached if told[0] == attach[0]][-1]


async def _never_registers(said: Conversation, package: Package) -> None:
    with pytest.raises(PeerError):
        await said.peer.launch(package)
