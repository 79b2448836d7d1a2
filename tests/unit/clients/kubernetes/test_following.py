"""Following a kind of objects; how a watch goes on is told by test_pod_watch.py."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.kubernetes.api import Listing
from peitho.clients.kubernetes.following import Following
from peitho.formats.kubernetes.objects import Manifest
from tests.support.kubernetes_double import ApiServer, Script, always, answer, refusal, watch
from tests.support.observe import until

LIST, WATCH = ("GET", "secrets"), ("WATCH", "secrets")
GONE = always(lambda: refusal(410, "Expired", "too old"))
DENIED = always(lambda: refusal(403, "Forbidden", "no"))
LEADERLESS = always(lambda: refusal(503, "", "etcdserver: leader changed"))
TOO_LARGE = always(lambda: refusal(504, "Timeout", "Too large resource version"))


@dataclass
class Heard:
    """What a follower was told."""

    lists: list[list[str]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    interruptions: int = 0

    async def replace(self, listing: Listing[str]) -> None:
        """A list."""
        self.lists.append(listing.items)

    def take(self, kind: str, item: str) -> None:
        """An event."""
        self.events.append((kind, item))

    def heard(self, version: str) -> None:
        """A version."""

    def interrupted(self) -> None:
        """A silence."""
        self.interruptions += 1


def secret(name: str, version: int = 1) -> Manifest:
    """A Secret."""
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": {"a": "b"}}}


async def follow(server: ApiServer, tmp_path: Path, *, lists: int) -> Heard:
    """What was told by the time that the Secrets were listed so often, and then watched."""
    heard = Heard()
    async with server.client(tmp_path) as kubernetes, asyncio.TaskGroup() as group:
        following = Following(
            kubernetes, "Secret", {"a": "b"}, lambda found: str(found["metadata"]["name"])
        )
        task = group.create_task(following.run(heard), name="following")
        await until(lambda: len(heard.lists) == lists and not server.scripts[WATCH], seconds=600)
        await asyncio.sleep(1)
        task.cancel()
    return heard


@pytest.mark.parametrize("trouble", [DENIED, LEADERLESS], ids=["denied", "leaderless"])
async def test_what_passes_is_waited_for(tmp_path: Path, trouble: Script) -> None:
    """
    With the version that there was, without another list, and told once.
    """
    async with ApiServer.start() as server:
        server.objects["secrets/a"] = secret("a")
        news = watch({"type": "ADDED", "object": secret("b", 90)}, stay=True)
        server.script(*WATCH, trouble, trouble, news)
        with structlog.testing.capture_logs() as logs:
            heard = await follow(server, tmp_path, lists=1)

    assert [["a"]] == heard.lists
    assert [("ADDED", "b")] == heard.events
    assert 2 == heard.interruptions
    assert ["watch interrupted"] == [each["event"] for each in logs]


async def test_an_api_server_that_was_set_back_is_listed_again(tmp_path: Path) -> None:
    """
    It does not know a version that is to come, and says that it has not come yet.
    """
    async with ApiServer.start() as server:
        server.script(*WATCH, *[TOO_LARGE] * 10, watch(stay=True))
        heard = await follow(server, tmp_path, lists=2)

    assert [[], []] == heard.lists


async def test_a_list_is_of_what_is_asked_for(tmp_path: Path) -> None:
    """
    In pages, and begun anew once its rest is forgotten.
    """
    pages = {
        "": {"items": [secret("a")], "metadata": {"continue": "b"}},
        "b": {"items": [secret("b")], "metadata": {"resourceVersion": "9"}},
    }
    async with ApiServer.start() as server:
        first, second = (always(partial(answer, page)) for page in pages.values())
        server.script(*LIST, first, GONE, first, second)
        server.script(*WATCH, watch(stay=True))
        heard = await follow(server, tmp_path, lists=1)

    asked = [query for method, kind, query, _ in server.requests if (method, kind) == LIST]
    assert [["a", "b"]] == heard.lists
    assert ["", "b", "", "b"] == [query.get("continue", "") for query in asked]
    assert {"a=b", "50"} == {query[key] for query in asked for key in ("labelSelector", "limit")}
