"""A peer's conversation with Peitho, compared with those that dockerd had with real peers."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from tests.conformance.recordings import Call, observed, recorded
from tests.lab.cluster import Cluster
from tests.lab.peer import Peer
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
