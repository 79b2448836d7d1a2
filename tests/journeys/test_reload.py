"""Settings that change while Peitho runs: the next launch follows good ones, and no bad ones."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.journeys.calls import Calls
from tests.journeys.observe import pods, until
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, answers, namespace


def settings(team: str, **spec: Any) -> dict[str, Any]:
    """A template with a label, a variable, and more of a Pod."""
    env = [{"name": "TEAM", "value": team}]
    template = {
        "metadata": {"labels": {"team": team}},
        "spec": {"containers": [{"name": "chaincode", "env": env}], **spec},
    }
    return {"chaincode": {"settleSeconds": 0, "template": template}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def changing(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """A Peitho whose settings file is written anew by the stories, one after the other."""
    folder = tmp_path_factory.mktemp("reload")
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **settings("one")) as running,
    ):
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls(changing: Peitho) -> AsyncIterator[Calls]:
    """The Docker API of that Peitho, with an image to launch."""
    async with Calls.to(changing) as made:
        await made.make_image("image", "echo team $TEAM; while true; do sleep 0.1; done")
        yield made


def told(peitho: Peitho, event: str) -> list[dict[str, Any]]:
    """What the log has of an event."""
    lines = (json.loads(line) for line in peitho.log.read_text().splitlines())
    return [line for line in lines if line["event"] == event]


async def change(peitho: Peitho, wanted: dict[str, Any], event: str) -> dict[str, Any]:
    """What is told of another settings file."""
    before = len(told(peitho, event))
    peitho.configure(wanted)
    await until(lambda: len(told(peitho, event)) > before)
    return told(peitho, event)[-1]


async def launched(calls: Calls, name: str) -> tuple[str, str]:
    """The team of a chaincode that is launched now: its Pod's label, and what its process has."""
    assert 204 == (await calls.launch(name, "image")).status
    (pod,) = pods(calls.peitho, name)
    said = ""

    def has_said() -> bool:
        nonlocal said
        said = calls.peitho.kubectl("logs", pod["metadata"]["name"])
        return "team" in said

    await until(has_said)
    return pod["metadata"]["labels"]["team"], said.splitlines()[1]


async def refused(peitho: Peitho) -> bool:
    """Whether the gauge says that the settings are not those of the file."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{peitho.operations}/metrics") as response,
    ):
        return "\npeitho_settings_refused 1.0\n" in await response.text()


async def test_the_next_launch_follows_a_changed_template(changing: Peitho, calls: Calls) -> None:
    """
    What runs is left alone, and its wait with it; what needs a restart is named.
    """
    assert ("one", "team one") == await launched(calls, "first")
    async with asyncio.TaskGroup() as group:
        waits = group.create_task(calls.wait("first"))
        wanted = settings("two") | {"log": {"name": "other"}, "sweeper": {"interval": 20}}
        followed = await change(changing, wanted, "settings followed")
        assert ["sweeper.interval", "chaincode.template"] == followed["changed"]
        assert ["log.name"] == told(changing, "settings need a restart")[-1]["keys"]

        assert ("two", "team two") == await launched(calls, "second")
        assert "one" == pods(changing, "first")[0]["metadata"]["labels"]["team"]
        assert not waits.done()
        assert 204 == (await calls.stop("first")).status
        assert 143 == await waits


async def test_a_template_that_the_cluster_refuses_is_not_followed(
    changing: Peitho, calls: Calls
) -> None:
    """
    Nor is the rest of the file; the words are the API server's, and Peitho stays ready.
    """
    bad = settings("three", priorityClassName="none") | {"sweeper": {"interval": 9}}
    problems = (await change(changing, bad, "settings refused"))["problems"]

    assert 1 == len(problems)
    assert problems[0].startswith("chaincode.template: ")
    assert "no PriorityClass with name none was found" in problems[0]
    assert ("two", "team two") == await launched(calls, "second")
    assert await refused(changing)
    assert await asyncio.to_thread(answers, f"{changing.operations}/readyz")


async def test_a_wrong_key_is_not_followed_until_it_is_mended(
    changing: Peitho, calls: Calls
) -> None:
    """
    All problems are told at once, and the mended file is followed as any other.
    """
    bad = settings("four") | {"sweeper": {"intervall": 9}, "k8s": {"dns": ["nowhere"]}}
    problems = (await change(changing, bad, "settings refused"))["problems"]

    assert "sweeper.intervall: is no setting; did you mean interval?" in problems
    assert any(each.startswith("k8s.dns.0: must be IP:HOST") for each in problems)
    assert ("two", "team two") == await launched(calls, "second")

    await change(changing, settings("four"), "settings followed")
    assert not await refused(changing)
    assert ("four", "team four") == await launched(calls, "second")


async def test_a_signal_has_the_settings_read_at_once(changing: Peitho, calls: Calls) -> None:
    """
    Before the next look, and Peitho goes on.
    """
    began = asyncio.get_running_loop().time()
    before = len(told(changing, "settings followed"))
    changing.configure(settings("five"))
    os.kill(changing.pid, signal.SIGHUP)
    await until(lambda: len(told(changing, "settings followed")) > before, seconds=1.5)

    assert 1.5 > asyncio.get_running_loop().time() - began
    assert ("five", "team five") == await launched(calls, "second")
