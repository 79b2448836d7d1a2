"""Chaincode containers, called by hand: their states, their names, and their ends."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
import pytest_asyncio

from tests.lab.beside import beside
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Answer, Calls, archive
from tests.support.observe import alive, open_waits, pods, restarts, until

IMAGE = "lab-peer0.org1.lab-script_1-0123456789abcdef"
UNKNOWN = "nobody"

pytestmark = pytest.mark.usefixtures("peitho_log")


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _image(calls: Calls) -> AsyncIterator[None]:
    await calls.make_image(IMAGE)
    yield


async def test_docker_says_what_is_not_there_in_its_own_words(calls: Calls) -> None:
    """
    Peers match these texts by case.
    """
    missing = f"No such container: {UNKNOWN}"
    assert (404, missing) == _told(await calls.stop(UNKNOWN))
    assert (404, f"cannot kill container: {UNKNOWN}: {missing}") == _told(await calls.kill(UNKNOWN))
    assert (404, missing) == _told(await calls.remove(UNKNOWN))
    assert (404, missing) == _told(await calls.start(UNKNOWN))
    inspected = await calls.call("GET", "/images/none/json")
    assert (404, "No such image: none:latest") == _told(inspected)
    created = await calls.create("cc", "none")
    assert (404, "No such image: none:latest") == _told(created)


async def test_a_name_in_use_is_a_conflict(calls: Calls) -> None:
    """
    The second container of a name is refused, and the first one named.
    """
    first = await calls.create("twice", IMAGE)
    second = await calls.create("twice", IMAGE)

    assert 409 == second.status
    assert f'"/twice" is already in use by container "{first.body["Id"]}"' in second.message
    await calls.remove("twice")


async def test_a_container_goes_through_dockers_states(calls: Calls, peitho: Peitho) -> None:
    """
    Created, running, exited; each call answers as a daemon's does in that state.
    """
    await calls.create("states", IMAGE)
    assert "created" == (await calls.inspect("states"))["State"]["Status"]
    assert 304 == (await calls.stop("states")).status

    assert 204 == (await calls.start("states")).status
    assert "running" == (await calls.inspect("states"))["State"]["Status"]
    assert 304 == (await calls.start("states")).status
    assert 1 == len(alive(peitho, "states"))
    refused = await calls.call("DELETE", "/containers/states")
    assert 409 == refused.status

    assert 204 == (await calls.stop("states")).status
    assert [] == alive(peitho, "states")
    state = (await calls.inspect("states"))["State"]
    assert ("exited", 143) == (state["Status"], state["ExitCode"])
    assert 304 == (await calls.stop("states")).status
    killed = await calls.kill("states")
    assert 409 == killed.status
    assert "is not running" in killed.message
    assert 143 == await calls.wait("states")

    assert 204 == (await calls.remove("states")).status
    assert 404 == (await calls.call("GET", "/containers/states/json")).status
    await until(lambda: not pods(peitho, "states"))


@beside
@pytest.mark.parametrize("code", [0, 1, 255])
async def test_what_has_ended_stays_ended(calls: Calls, peitho: Peitho, code: int) -> None:
    """
    No second Pod, no restart, and a code that outlives the Pod.
    """
    name = f"ends-{code}"
    await calls.make_image(f"image-{name}", f"exit {code}")
    await calls.create(name, f"image-{name}")
    await calls.start(name)

    assert code == await calls.wait(name)

    assert {0} == restarts(peitho, name)
    (pod,) = pods(peitho, name)
    await asyncio.to_thread(peitho.kubectl, "delete", "pod", pod["metadata"]["name"])
    assert code == await calls.wait(name)
    assert [] == pods(peitho, name)
    assert 409 == (await calls.start(name)).status
    await calls.remove(name)


@beside
async def test_a_pod_deleted_by_hand_is_a_process_killed(calls: Calls, peitho: Peitho) -> None:
    """
    The wait ends with what the process ended with, and nothing comes in its place.
    """
    await calls.create("deleted", IMAGE)
    await calls.start("deleted")
    async with asyncio.TaskGroup() as tasks:
        code = tasks.create_task(calls.wait("deleted"))
        (pod,) = alive(peitho, "deleted")
        await asyncio.to_thread(peitho.kubectl, "delete", "pod", pod)

    assert 143 == code.result()
    assert [] == alive(peitho, "deleted")
    await calls.remove("deleted")


NAMES = (
    "lab-peer0.org1.lab-asset_1-" + "0123456789abcdef" * 4,
    "LAB-Peer0.Org1_lab-Asset_1-" + "0123456789abcdef" * 4,
    "a" * 200,
    "a" * 199 + "b",
    "A_b.C-d",
    "a-b-c-d",
)


async def test_any_name_of_docker_has_an_object_of_its_own(calls: Calls, peitho: Peitho) -> None:
    """
    Upper case, underscores, dots, 200 characters, and two that differ in the last one.
    """
    for name in NAMES:
        assert 201 == (await calls.create(name, IMAGE)).status
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(calls.start(name)) for name in NAMES]

    assert {204} == {each.result().status for each in started}
    found = [alive(peitho, name) for name in NAMES]
    assert [1] * len(NAMES) == [len(each) for each in found]
    assert all(len(each[0]) <= 63 for each in found)
    for name in NAMES:
        assert 204 == (await calls.remove(name)).status


async def test_overlapping_launches_of_one_name_end_right(calls: Calls, peitho: Peitho) -> None:
    """
    Twelve launches at once: each ends, and what runs in the end is one process at most.
    """
    async with asyncio.TaskGroup() as tasks:
        launches = [tasks.create_task(calls.launch("burst", IMAGE)) for _ in range(12)]
    statuses = {each.result().status for each in launches}

    assert statuses <= {204, 304, 404, 409, 500}
    assert 204 == (await calls.launch("burst", IMAGE)).status
    assert 1 == len(alive(peitho, "burst"))
    await calls.remove("burst")
    await until(lambda: not alive(peitho, "burst"))


async def test_the_peers_files_are_where_it_put_them(calls: Calls, peitho: Peitho) -> None:
    """
    Absolute names, one in a directory that the image lacks; in a Secret, and in nothing else.
    """
    await calls.make_image(
        "image-files", "cat /etc/hyperledger/fabric/client.key /opt/own/x; sleep 9"
    )
    await calls.create("files", "image-files")
    content = {"/etc/hyperledger/fabric/client.key": (0o644, b"secret-of-a-test\n")}
    assert 200 == (await calls.put("files", archive(content), path="/")).status
    more = archive({"x": (0o644, b"second-upload\n")})
    assert 200 == (await calls.put("files", more, path="/opt/own")).status
    assert 204 == (await calls.start("files")).status

    async def said() -> bool:
        answer = await calls.call(
            "GET", "/v1.47/containers/files/logs", params={"stdout": "1", "stderr": "1"}
        )
        return "secret-of-a-test\nsecond-upload\n" in str(answer.body)

    await until(said)
    kinds = ["pods", "jobs", "configmaps", "events"]
    shown = json.dumps([peitho.objects(kind) for kind in kinds])
    assert "secret-of-a-test" not in shown
    assert "secret-of-a-test" not in peitho.log.read_text()
    await calls.remove("files")


async def test_a_peer_that_hangs_up_frees_its_wait(calls: Calls, peitho: Peitho) -> None:
    """
    The gauge of open waits is back where it was, while the chaincode goes on.
    """
    await calls.create("hangup", IMAGE)
    await calls.start("hangup")
    before = await open_waits(peitho)
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(calls.wait("hangup"))
        await until(lambda: _waits(peitho, before + 1))
        wait.cancel()

    await until(lambda: _waits(peitho, before))
    assert 1 == len(alive(peitho, "hangup"))
    await calls.remove("hangup")


async def test_a_layer_is_given_to_its_own_token_alone(calls: Calls, peitho: Peitho) -> None:
    """
    No token, another's token, another blob, a container that is removed, no TLS: refused.
    """
    image = (await calls.call("GET", f"/images/{IMAGE}/json")).body
    (blob,) = image["RootFS"]["Layers"]
    await calls.create("token", IMAGE)
    (secret,) = peitho.objects("secrets", labels="peitho/container-name=token")
    token, ca = (base64.b64decode(secret["data"][key]).decode() for key in ("token", "ca.crt"))
    trusting = ssl.create_default_context(cadata=ca)
    right = {"Authorization": f"Bearer {token}"}
    url = f"https://{peitho.delivery}/blobs"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:

        async def status(which: str, headers: Mapping[str, str]) -> int:
            async with session.get(f"{url}/{which}", headers=headers) as response:
                return response.status

        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}):
            assert 403 == await status(blob, headers)
        assert 403 == await status("sha256:" + "0" * 64, right)
        assert 200 == await status(blob, right)
        await calls.remove("token")
        assert 403 == await status(blob, right)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{peitho.delivery}/blobs/{blob}", headers=right) as response:
            assert 400 == response.status
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{url}/{blob}", headers=right)


async def _waits(peitho: Peitho, count: int) -> bool:
    return count == await open_waits(peitho)


def _told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.message
