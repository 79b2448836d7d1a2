"""What programs call: the two Docker libraries of Python, as they come from PyPI."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

import aiodocker
import docker
import pytest
import pytest_asyncio
from docker.errors import APIError, ImageNotFound, NotFound

from tests.conformance.launched import TERMINATED, Launched
from tests.lab.peitho import Peitho

Found = TypeVar("Found")

pytestmark = pytest.mark.usefixtures("peitho_log")


@pytest_asyncio.fixture
async def client(peitho: Peitho) -> AsyncIterator[aiodocker.Docker]:
    """The library aiodocker, which asks for the API version itself."""
    async with aiodocker.Docker(url=peitho.url) as found:
        yield found


class Blocking:
    """The library docker-py, each call in a thread."""

    def __init__(self, peitho: Peitho) -> None:
        self._url = peitho.url

    async def __call__(self, call: Callable[[docker.DockerClient], Found]) -> Found:
        """What a call gives."""

        def called() -> Found:
            with closing(docker.DockerClient(base_url=self._url, version="auto")) as client:
                return call(client)

        return await asyncio.to_thread(called)


@pytest.fixture
def blocking(peitho: Peitho) -> Blocking:
    """The library docker-py."""
    return Blocking(peitho)


async def test_aiodocker_lists_and_inspects(client: aiodocker.Docker, tiny: Launched) -> None:
    """
    The running container, by name and by ID, and its image.
    """
    async with tiny.running() as name:
        (listed,) = await client.containers.list()
        found = await listed.show()

        assert (f"/{name}", True) == (found["Name"], found["State"]["Running"])
        assert listed.id == (await client.containers.get(name)).id
        (image,) = await client.images.list()
        assert [f"{tiny.package.image}:latest"] == image["RepoTags"]
        assert image["Id"] == (await client.images.inspect(tiny.package.image))["Id"]


async def test_aiodocker_reads_logs_and_waits(client: aiodocker.Docker, tiny: Launched) -> None:
    """
    The log as text, to its end, and the code of a container that is stopped meanwhile.
    """
    async with tiny.running() as name:
        container = await client.containers.get(name)
        said = "".join(await container.log(stdout=True, stderr=True))
        assert "tinycc starting, args" in said
        assert "tinycc ready\n" in said

        async with asyncio.TaskGroup() as tasks:
            code = tasks.create_task(container.wait())
            followed = tasks.create_task(_followed(container))
            await container.stop()

        assert TERMINATED == code.result()["StatusCode"]
        assert followed.result().endswith("tinycc got terminated\n")
        assert "exited" == (await container.show())["State"]["Status"]


async def _followed(container: Any) -> str:
    return "".join([each async for each in container.log(stdout=True, stderr=True, follow=True)])


async def test_aiodocker_is_told_what_is_not_there(client: aiodocker.Docker) -> None:
    """
    Status and text as its users match them.
    """
    with pytest.raises(aiodocker.DockerError) as missing:
        await client.containers.get("nobody")
    assert (404, "No such container: nobody") == (missing.value.status, missing.value.message)

    with pytest.raises(aiodocker.DockerError) as no_image:
        await client.images.inspect("none")
    assert (404, "No such image: none:latest") == (no_image.value.status, no_image.value.message)


async def test_docker_py_lists_and_inspects(blocking: Blocking, tiny: Launched) -> None:
    """
    Its list inspects each container, and its objects read the keys of that.
    """

    def look(client: docker.DockerClient) -> tuple[Any, ...]:
        (container,) = client.containers.list(all=True)
        (image,) = client.images.list()
        return container.name, container.status, container.image, image.tags, client.ping()

    async with tiny.running() as name:
        image = await blocking(lambda client: client.images.get(tiny.package.image))

        assert (name, "running", image, [f"{tiny.package.image}:latest"], True) == await blocking(
            look
        )
        assert "GOLANG" == image.labels["org.hyperledger.fabric.chaincode.type"]


async def test_docker_py_reads_logs_and_waits(blocking: Blocking, tiny: Launched) -> None:
    """
    The log as bytes without frames, and the code once the container is stopped.
    """
    async with tiny.running() as name:
        said = await blocking(lambda client: client.containers.get(name).logs())
        assert b"tinycc starting, args" in said
        assert b"tinycc ready\n" in said

        async with asyncio.TaskGroup() as tasks:
            code = tasks.create_task(
                blocking(lambda client: client.containers.get(name).wait(timeout=30))
            )
            await blocking(lambda client: client.containers.get(name).stop(timeout=0))

        assert TERMINATED == code.result()["StatusCode"]


async def test_docker_py_filters(blocking: Blocking, tiny: Launched) -> None:
    """
    Containers and images, with the filters and the options that it has of old.
    """
    async with tiny.running() as name:
        for wanted, expected in (
            ({"filters": {"label": "service=hyperledger-fabric"}}, []),
            ({"filters": {"name": name, "status": ["running", "exited"]}}, [name]),
            ({"filters": {"ancestor": tiny.package.image}, "limit": 1}, [name]),
            ({"since": name}, []),
        ):
            found = await blocking(partial(_names, wanted))
            assert expected == found, wanted
        assert [] == await blocking(lambda client: client.images.list(name="nobody*"))
        with pytest.raises(APIError, match="invalid filter 'colour'") as refused:
            await blocking(lambda client: client.containers.list(filters={"colour": "blue"}))
        assert 400 == refused.value.status_code


def _names(wanted: dict[str, Any], client: docker.DockerClient) -> list[str | None]:
    return [container.name for container in client.containers.list(**wanted)]


async def test_docker_py_reads_a_part_of_the_logs(blocking: Blocking, tiny: Launched) -> None:
    """
    The last line, with its time; one stream of two is refused.
    """
    async with tiny.running() as name:
        whole = await blocking(lambda client: client.containers.get(name).logs())
        last = await blocking(
            lambda client: client.containers.get(name).logs(tail=1, timestamps=True, since=1)
        )
        with pytest.raises(APIError, match="does not tell stdout from stderr") as refused:
            await blocking(lambda client: client.containers.get(name).logs(stderr=False))

    assert whole.splitlines()[-1:] == [line.partition(b" ")[2] for line in last.splitlines()]
    assert 501 == refused.value.status_code


async def test_docker_py_runs_a_command(blocking: Blocking) -> None:
    """
    It creates, starts, waits, reads what was said, and removes.
    """
    said = await blocking(
        lambda client: client.containers.run(
            "hyperledger/fabric-ccenv:2.5", ["sh", "-c", "echo out; echo err >&2"], remove=True
        )
    )

    assert b"out\n" == said


async def test_docker_py_is_told_what_is_not_there(blocking: Blocking) -> None:
    """
    By the classes of error that its users catch, 501 included.
    """
    with pytest.raises(NotFound, match="No such container: nobody"):
        await blocking(lambda client: client.containers.get("nobody"))
    with pytest.raises(ImageNotFound, match="No such image: none:latest"):
        await blocking(lambda client: client.images.get("none"))
    with pytest.raises(APIError, match="is not part of what Peitho does") as refused:
        await blocking(lambda client: client.networks.list())
    assert 501 == refused.value.status_code
