"""A build container from create to remove, before a double of the API server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from peitho.core.builds.container import BuildContainer, BuildContainers
from peitho.core.container import OutputOptions
from peitho.errors import Conflict, InvalidArgument, NotFound, StorageUnusable, Unsupported
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.records import ContainerSpec, Exit
from peitho.settings.models import Settings
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, package
from tests.support.in_process import composed

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
SOURCE = archive_bytes([file("main.go", b"package main")], compression="gz")
RESULT = "/chaincode/output"


@asynccontextmanager
async def builds(tmp_path: Path) -> AsyncIterator[BuildContainers]:
    """Build containers, before a cluster that only remembers what it was asked."""
    settings = Settings.model_validate({"dataDir": tmp_path / "data"})
    async with composed(tmp_path, settings) as (parts, _), asyncio.timeout(10):
        yield parts.services.builds


async def started(found: BuildContainers) -> BuildContainer:
    """A container whose command runs."""
    container = found.create(SPEC, peer="a")
    await container.put_archive("/chaincode/input", chunks(SOURCE))
    async with asyncio.TaskGroup() as group:
        group.create_task(container.start())
        await asyncio.sleep(0)
        found.pool.get(container.id).mark_started()
    return container


async def finish(found: BuildContainers, container: BuildContainer, code: int = 0) -> None:
    """Report what the helper of a build reports."""
    build = found.pool.get(container.id)
    await build.append_output(chunks(streams.frame(STDOUT, b"compiled\n")))
    if not code:
        await found.pool.save_result(build, chunks(package()), "amd64")
    build.set_exit_code(code)


class TestFind:
    async def test_a_container_is_found_by_its_id_and_its_beginning(self, tmp_path: Path) -> None:
        """
        A beginning of fewer than four characters is nobody's.
        """
        async with builds(tmp_path) as found:
            container = found.create(SPEC)

            assert container is found.find(container.id) is found.find(container.id[:4])
            assert found.find(container.id[:3]) is None
            assert found.find("") is None
            assert [container.id] == [each.id for each in found.list()]


class TestUploads:
    @pytest.mark.parametrize("path", ["chaincode/input", "/chaincode/../etc", ""])
    async def test_a_path_is_absolute_and_stays_where_it_is(
        self, tmp_path: Path, path: str
    ) -> None:
        """
        Nothing is kept of what is refused.
        """
        async with builds(tmp_path) as found:
            container = found.create(SPEC)
            with pytest.raises(InvalidArgument, match="must be absolute"):
                await container.put_archive(path, chunks(SOURCE))

            assert [] == container.uploads

    async def test_a_broken_archive_leaves_no_file(self, tmp_path: Path) -> None:
        """
        It is found out when it is uploaded, and not in the build's Pod.
        """
        async with builds(tmp_path) as found:
            container = found.create(SPEC)
            with pytest.raises(InvalidArgument, match="not a whole tar archive"):
                await container.put_archive("/chaincode/input", chunks(SOURCE[:40]))

            (folder,) = (tmp_path / "data/spool").glob("build-*")
            assert [] == list(folder.iterdir())

    async def test_a_build_that_goes_while_it_is_read_is_no_lost_volume(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Its directory is gone with it.
        """
        async with builds(tmp_path) as found:
            container = found.create(SPEC)

            async def gone(*_: object) -> None:
                await container.remove()
                raise StorageUnusable("its file is not there")

            monkeypatch.setattr(BuildContainers, "look_through", gone)
            with pytest.raises(NotFound):
                await container.put_archive("/chaincode/input", chunks(SOURCE))

    async def test_the_same_archive_is_another_upload(self, tmp_path: Path) -> None:
        """
        It is looked through once, and each has a file and a place of its own.
        """
        async with builds(tmp_path) as found:
            one, other = found.create(SPEC), found.create(SPEC)
            await one.put_archive("/chaincode/input", chunks(SOURCE))
            await other.put_archive("/chaincode/other", chunks(SOURCE))
            await one.remove()

            (upload,) = other.uploads
            assert "/chaincode/other" == upload.path
            assert SOURCE == upload.archive.read_bytes()
            assert hashlib.sha256(SOURCE).hexdigest() == upload.sha256
            assert one.uploads[0].tree == upload.tree

    async def test_nothing_is_uploaded_after_the_start(self, tmp_path: Path) -> None:
        """
        The build has what it is made of by then.
        """
        async with builds(tmp_path) as found:
            container = await started(found)
            with pytest.raises(Conflict, match="no archives after its start"):
                await container.put_archive("/chaincode/input", chunks(SOURCE))
            await container.remove()


class TestAfterTheStart:
    async def test_the_result_is_there_after_the_end(self, tmp_path: Path) -> None:
        """
        Before it, it would not be complete; at another path there is nothing.
        """
        async with builds(tmp_path) as found:
            container = await started(found)
            with pytest.raises(Conflict, match="has not ended"):
                await container.get_archive(f"{RESULT}/.")
            await finish(found, container)
            assert 0 == (await container.wait()).exit_code

            archive = await container.get_archive(f"{RESULT}/.")
            assert package() == archive.file.read_bytes()
            assert "." == archive.stat.name
            assert "output" == (await container.get_archive(RESULT)).stat.name
            with pytest.raises(NotFound, match="Could not find the file /etc"):
                await container.get_archive("/etc")
            await container.remove()

    async def test_a_stop_is_the_end_for_its_peer(self, tmp_path: Path) -> None:
        """
        With the code of a kill; a second stop finds nothing to end.
        """
        async with builds(tmp_path) as found:
            container = await started(found)

            assert await container.stop() is True
            assert await container.stop() is False
            state = await container.wait()
            assert ("exited", 137, "stopped") == (state.status, state.exit_code, state.reason)
            assert "exited" == (await container.inspect()).summary.state.status
            await container.remove()

    async def test_a_second_start_is_none(self, tmp_path: Path) -> None:
        """
        Nor is there one after the removal.
        """
        async with builds(tmp_path) as found:
            container = await started(found)
            assert await container.start() is False
            await container.remove()
            assert await container.start() is False
            assert found.find(container.id) is None

    async def test_a_wait_for_the_removal_ends_with_it(self, tmp_path: Path) -> None:
        """
        The code is the command's own.
        """
        async with builds(tmp_path) as found:
            container = await started(found)
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(container.wait("removed"))
                await finish(found, container)
                await container.wait()
                assert not waiting.done()
                await container.remove()

            assert 0 == waiting.result().exit_code


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            OutputOptions(timestamps=True),
            OutputOptions(since_nanoseconds=1),
            OutputOptions(until_nanoseconds=1),
        ],
    )
    async def test_a_builds_output_has_no_times(
        self, tmp_path: Path, options: OutputOptions
    ) -> None:
        """
        That is told before anything is answered.
        """
        async with builds(tmp_path) as found:
            container = found.create(SPEC)
            with pytest.raises(Unsupported, match="the output of a build has no times"):
                container.output(options)

    async def test_the_last_lines_of_what_has_not_begun_are_all_lines(self, tmp_path: Path) -> None:
        """
        There is nothing yet that could be left out.
        """
        async with builds(tmp_path) as found, asyncio.TaskGroup() as group:
            container = found.create(SPEC)
            options = OutputOptions(follow=True, tail_lines=0)
            reading = group.create_task(_read(container, options))
            await asyncio.sleep(0)
            found.tasks.spawn(container.start(), name="start")
            await asyncio.sleep(0)
            found.pool.get(container.id).mark_started()
            await finish(found, container)

        assert b"compiled\n" == reading.result()


class TestAutoRemove:
    async def test_a_container_is_removed_once_it_has_ended_and_was_read(
        self, tmp_path: Path
    ) -> None:
        """
        Who waits for the removal has the code of the command: `docker run --rm`.
        """
        async with builds(tmp_path) as found, asyncio.TaskGroup() as group:
            container = found.create(replace(SPEC, auto_remove=True))
            reading = group.create_task(_read(container, OutputOptions(follow=True)))
            waiting = group.create_task(container.wait("removed"))
            found.tasks.spawn(container.start(), name="start")
            await asyncio.sleep(0)
            found.pool.get(container.id).mark_started()
            assert [container.id] == [each.id for each in found.list()]
            await finish(found, container, 3)
            assert 3 == (await waiting).exit_code

            assert [] == found.list()
        assert b"compiled\n" == reading.result()

    async def test_a_container_that_cannot_start_is_removed_too(self, tmp_path: Path) -> None:
        """
        The CLI waits for that before it ends.
        """
        async with builds(tmp_path) as found, asyncio.TaskGroup() as group:
            container = found.create(replace(SPEC, auto_remove=True))
            waiting = group.create_task(container.wait("removed"))
            found.tasks.spawn(container.start(), name="start")
            await asyncio.sleep(0)
            found.pool.get(container.id).end(Exit(127, "ErrImagePull"))
            await waiting

            assert [] == found.list()


async def _read(container: BuildContainer, options: OutputOptions) -> bytes:
    return b"".join([data async for _, data in container.output(options)])
