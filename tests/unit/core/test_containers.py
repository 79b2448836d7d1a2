import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peitho.core.builds.container import BuildContainer
from peitho.core.chaincode.container import ChaincodeContainer
from peitho.core.containers import Containers
from peitho.core.tenant import OwnNames, TenantOptions
from peitho.errors import Conflict, InvalidArgument, LimitReached, NotFound, Unsupported
from peitho.formats.records import ContainerSpec
from peitho.settings.live import Replaceable
from tests.support.contexts import chunks, context
from tests.support.in_process import Running, running

SPEC = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=())


async def created(peitho: Running, name: str) -> Any:
    """A container, after its image was built."""
    await peitho.services.images.build("mycc", chunks(context()))
    return await peitho.services.containers.create(name, SPEC)


async def test_without_a_name_it_is_a_build(tmp_path: Path) -> None:
    """
    Nothing of it is in the cluster before its start, and no image of ours is asked for.
    """
    async with running(tmp_path) as peitho:
        container = await peitho.services.containers.create("", SPEC)

        assert isinstance(container, BuildContainer)
        assert container is await peitho.services.containers.get(container.id)
        assert container is await peitho.services.containers.get(container.id[:12])
        assert {} == peitho.cluster.objects


async def test_with_a_name_it_is_chaincode(tmp_path: Path) -> None:
    """
    It is a Secret, and found by name, ID, and beginning of the ID.
    """
    async with running(tmp_path) as peitho:
        container = await created(peitho, "/dev-peer0-mycc-1.0")
        assert isinstance(container, ChaincodeContainer)

        for reference in ("dev-peer0-mycc-1.0", "/dev-peer0-mycc-1.0", container.id):
            assert container.id == (await peitho.services.containers.get(reference)).id
        assert container.id == (await peitho.services.containers.get(container.id[:8])).id
        (secret,) = peitho.cluster.objects
        assert secret.startswith("secrets/cc-dev-peer0-mycc-1-0-")


@pytest.mark.parametrize("reference", ["nobody", "abcd", "f" * 64, "x" * 200])
async def test_an_unknown_container_is_told_as_peers_match_it(
    tmp_path: Path, reference: str
) -> None:
    """
    Whether it was meant as a name or as an ID.
    """
    async with running(tmp_path) as peitho:
        with pytest.raises(NotFound, match=f"^No such container: {reference}$"):
            await peitho.services.containers.get(reference)


async def test_a_name_is_used_once(tmp_path: Path) -> None:
    """
    The conflict is in Docker's words, with the other's ID.
    """
    async with running(tmp_path) as peitho:
        first = await created(peitho, "mycc-1")

        with pytest.raises(Conflict, match=f'"/mycc-1" is already in use by container "{first.id}'):
            await created(peitho, "mycc-1")


async def test_a_name_or_image_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """
    Before anything is made in the cluster.
    """
    async with running(tmp_path) as peitho:
        containers = peitho.services.containers
        with pytest.raises(InvalidArgument, match="Invalid container name"):
            await containers.create("a b", SPEC)
        with pytest.raises(NotFound, match="No such image: mycc:latest"):
            await containers.create("mycc-1", SPEC)

        assert {} == peitho.cluster.objects


async def test_what_would_never_end_well_is_refused_at_once(tmp_path: Path) -> None:
    """
    A build without a command, and chaincode that is to go by itself: its peer removes it.
    """
    async with running(tmp_path) as peitho:
        containers = peitho.services.containers
        with pytest.raises(InvalidArgument, match="no command specified"):
            await containers.create("", replace(SPEC, command=()))
        with pytest.raises(Unsupported, match="AutoRemove"):
            await containers.create("mycc-1", replace(SPEC, auto_remove=True))

        assert [] == await containers.list()


async def test_all_containers_are_listed_the_newest_first(tmp_path: Path) -> None:
    """
    Whether or not they run.
    """
    async with running(tmp_path) as peitho:
        containers = peitho.services.containers
        first = await created(peitho, "mycc-1")
        second = await containers.create("", SPEC)
        third = await containers.create("mycc-2", SPEC)

        assert [third.id, second.id, first.id] == [each.id for each in await containers.list()]


async def test_a_tenant_has_as_many_containers_as_it_may(tmp_path: Path) -> None:
    """
    Chaincode and builds, also those that are created at the same time.
    """
    options = Replaceable(TenantOptions("acme", containers=2))
    async with running(tmp_path) as peitho:
        parts = peitho.parts
        images = parts.services.base_images
        limited = Containers(parts.chaincodes, peitho.services.builds, images, OwnNames(options))
        await peitho.services.images.build("lab-peer0-mycc-1", chunks(context()))
        spec = replace(SPEC, image="lab-peer0-mycc-1")
        first = await limited.create("lab-peer0-mycc-1", spec)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_status(limited, spec)) for _ in range(3)]

        assert [0, 507, 507] == sorted(task.result() for task in tasks)
        with pytest.raises(LimitReached, match=r"has 2 containers.*limits\.containers.*docker rm"):
            await limited.create("lab-peer0-other-1", spec)
        await first.remove()
        await limited.create("lab-peer0-other-1", spec)
        options.now = TenantOptions("acme")
        await limited.create("lab-peer0-third-1", spec)


async def _status(containers: Containers, spec: ContainerSpec) -> int:
    try:
        await containers.create("", spec)
    except LimitReached as error:
        return error.status
    return 0
