"""Settings that change while Peitho runs: the next launch follows good ones, and no bad ones."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.lab.beside import beside
from tests.lab.cluster import Cluster, answers
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Calls
from tests.support.observe import pods, until


def settings(team: str, **spec: Any) -> dict[str, Any]:
    """A template with a label, a variable, and more of a Pod."""
    env = [{"name": "TEAM", "value": team}]
    template = {
        "metadata": {"labels": {"team": team}},
        "spec": {"containers": [{"name": "chaincode", "env": env}], **spec},
    }
    return {"chaincode": {"settleSeconds": 0, "template": template}}


@asynccontextmanager
async def running(cluster: Cluster, folder: Path) -> AsyncIterator[tuple[Peitho, Calls]]:
    """A Peitho whose settings file is to be written anew, and an image to launch."""
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **settings("one")) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image("image", "echo team $TEAM; while true; do sleep 0.1; done")
        yield peitho, calls


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

    async def has_said() -> bool:
        nonlocal said
        logs = ("logs", pod["metadata"]["name"])
        said = await asyncio.to_thread(calls.peitho.kubectl, *logs)
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


@beside
async def test_the_next_launch_follows_a_changed_template(cluster: Cluster, tmp_path: Path) -> None:
    """
    What runs is left alone, and its wait with it; what needs a restart is named.
    """
    async with running(cluster, tmp_path) as (peitho, calls), asyncio.TaskGroup() as group:
        assert ("one", "team one") == await launched(calls, "first")
        waits = group.create_task(calls.wait("first"))
        wanted = settings("two") | {"log": {"name": "other"}, "sweeper": {"interval": 20}}
        followed = await change(peitho, wanted, "settings followed")
        assert ["sweeper.interval", "chaincode.template"] == followed["changed"]
        assert ["log.name"] == told(peitho, "settings need a restart")[-1]["keys"]

        assert ("two", "team two") == await launched(calls, "second")
        assert "one" == pods(peitho, "first")[0]["metadata"]["labels"]["team"]
        assert not waits.done()
        assert 204 == (await calls.stop("first")).status
        assert 143 == await waits


@beside
async def test_a_template_that_the_cluster_refuses_is_not_followed(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    Nor is the rest of the file; the words are the API server's, and Peitho stays ready.
    """
    async with running(cluster, tmp_path) as (peitho, calls):
        bad = settings("three", priorityClassName="none") | {"sweeper": {"interval": 9}}
        problems = (await change(peitho, bad, "settings refused"))["problems"]

        assert 1 == len(problems)
        assert problems[0].startswith("chaincode.template: ")
        assert "no PriorityClass with name none was found" in problems[0]
        assert ("one", "team one") == await launched(calls, "first")
        assert await refused(peitho)
        assert await asyncio.to_thread(answers, f"{peitho.operations}/readyz")


@beside
async def test_a_wrong_key_is_not_followed_until_it_is_mended(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    All problems are told at once, and the mended file is followed as any other.
    """
    async with running(cluster, tmp_path) as (peitho, calls):
        bad = settings("four") | {"sweeper": {"intervall": 9}, "k8s": {"dns": ["nowhere"]}}
        problems = (await change(peitho, bad, "settings refused"))["problems"]

        assert "sweeper.intervall: is no setting; did you mean interval?" in problems
        assert any(each.startswith("k8s.dns.0: must be IP:HOST") for each in problems)
        assert ("one", "team one") == await launched(calls, "first")

        await change(peitho, settings("four"), "settings followed")
        assert not await refused(peitho)
        assert ("four", "team four") == await launched(calls, "first")


async def test_a_signal_has_the_settings_read_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """
    Before the next look, and Peitho goes on.
    """
    async with running(cluster, tmp_path) as (peitho, calls):
        began = asyncio.get_running_loop().time()
        before = len(told(peitho, "settings followed"))
        peitho.configure(settings("five"))
        os.kill(peitho.pid, signal.SIGHUP)
        await until(lambda: len(told(peitho, "settings followed")) > before, seconds=1.5)

        assert 1.5 > asyncio.get_running_loop().time() - began
        assert ("five", "team five") == await launched(calls, "first")
