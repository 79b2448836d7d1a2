"""
Builds in a Docker daemon: each is one container of the daemon, with no helper beside it.

The output comes by `attach`, which is open before the start and ends when the process or the daemon
ends; `wait` tells which of them it was.
"""

import asyncio
from asyncio import Timeout
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace

import structlog

from peitho.clients.docker import Docker
from peitho.core.builds.build import OUTPUT_DIRECTORY, Build
from peitho.core.images.base import BaseImage, BaseImages
from peitho.core.images.store import BuildResults
from peitho.core.tasks import to_its_end
from peitho.errors import NotFound, PeithoError, StartFailed, Unavailable
from peitho.formats.docker import daemon
from peitho.formats.docker.daemon import DaemonBuildOwner
from peitho.formats.kubernetes import labels, names
from peitho.formats.records import SIGKILLED, Exit

log = structlog.get_logger()

_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DaemonBackendOptions:
    """What the operator decided about builds in a daemon."""

    owner: DaemonBuildOwner
    start_timeout_seconds: float
    deadline_seconds: int
    removal_seconds: float = 15.0


class DaemonBackend:
    """Carries builds out in a Docker daemon; a build keeps the options it began with."""

    def __init__(
        self,
        docker: Docker,
        images: BaseImages,
        *,
        results: BuildResults,
        options: DaemonBackendOptions,
    ) -> None:
        self._docker = docker
        self._images = images
        self._results = results
        self._options = options

    async def carry_out(self, build: Build) -> None:
        """
        Create the build's container, run it, take its result, and remove it.

        Raises StartFailed, Unavailable.
        """
        try:
            async with asyncio.timeout(self._options.start_timeout_seconds) as patience:
                await self._live(build, patience)
        except TimeoutError:
            self._end_late(build)
        except Unavailable:
            raise
        except PeithoError as error:
            if build.started_at:
                raise
            raise StartFailed(f"the build's container cannot run: {error}") from error
        finally:
            await to_its_end(self._drop(build))

    async def clear_leftovers(self, known: Collection[str]) -> None:
        """Remove containers that an earlier Peitho left, or that could not be removed."""
        owner = self._options.owner
        left = await self._docker.find(owner.labels())
        for container in left + await self._docker.find(owner.former_labels()):
            if (container.get("Labels") or {}).get(labels.ID) not in known:
                await self._docker.remove(str(container["Id"]))
                log.info("leftover build removed", container=str(container["Id"])[:12])

    async def _live(self, build: Build, patience: Timeout) -> None:
        """Run the build until its result is here; once the command runs, its deadline applies."""
        name = names.build_name(build.id)
        image = await self._create(build)
        build.note_image(image.id)
        for upload in build.uploads:
            await self._docker.put_archive(name, upload.path, upload.archive)
        async with self._docker.attach(name) as chunks:
            await self._docker.start(name)
            build.mark_started()
            now = asyncio.get_running_loop().time()
            patience.reschedule(now + self._options.deadline_seconds)
            async for chunk in chunks:
                build.output.write(chunk)
        code = await self._docker.wait(name)
        build.end(Exit(code, await self._reason(name) if code else ""))
        await self._take_result(build, image.architecture, patience)

    async def _create(self, build: Build) -> BaseImage:
        """
        Create the container, and return the image it is made of.

        It is made of the image's ID, since another image may take over the name meanwhile.
        """
        image = await self._images.find(build.spec.image)
        if image is None:
            raise NotFound(f"No such image: {build.spec.image}")
        container = daemon.build_container(
            replace(build.spec, image=image.id),
            labels=self._options.owner.labels() | {labels.ID: build.id},
            limits=self._options.owner.limits,
        )
        # If we stopped in the middle, the daemon would go on, and leave a container.
        await to_its_end(self._docker.create(names.build_name(build.id), container))
        return image

    async def _reason(self, name: str) -> str:
        try:
            state = (await self._docker.inspect(name)).get("State") or {}
        except PeithoError:
            return ""
        return "OOMKilled" if state.get("OOMKilled") else str(state.get("Error") or "")

    async def _take_result(self, build: Build, architecture: str, patience: Timeout) -> None:
        """
        Save what the build made, however long that takes, as long as something comes.

        Its architecture is the image's: a daemon that emulates one does so all the way.
        """
        name = names.build_name(build.id)
        try:
            async with self._docker.get_archive(name, f"{OUTPUT_DIRECTORY}/.") as chunks:
                await build.save_result(_patiently(chunks, patience), architecture)
        except PeithoError as error:  # whoever asks for it is told
            build.set_no_result(error)
        if build.result:
            result = build.result
            self._results.remember(result.digest, result.architecture, build.origin)

    def _end_late(self, build: Build) -> None:
        if not build.started_at:
            seconds = self._options.start_timeout_seconds
            raise StartFailed(f"the build's container did not run within {seconds:g} s")
        why = f"DeadlineExceeded: it took more than {self._options.deadline_seconds} s"
        build.end(Exit(SIGKILLED, why))
        build.set_no_result(PeithoError(why))

    async def _drop(self, build: Build) -> None:
        """Remove the container. If the daemon takes too long, the sweeper removes it later."""
        name, seconds = names.build_name(build.id), self._options.removal_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._docker.remove(name)
        except TimeoutError:
            cause = f"the daemon has not answered for {seconds:g} s"
            log.warning("build container not removed", container=name, cause=cause)
        except PeithoError as error:
            log.warning("build container not removed", container=name, cause=str(error))


async def _patiently(chunks: AsyncIterator[bytes], patience: Timeout) -> AsyncIterator[bytes]:
    """Yield chunks; the time-out is for the next one, whatever it was for before."""
    loop = asyncio.get_running_loop()
    patience.reschedule(loop.time() + _SILENCE_SECONDS)
    async for chunk in chunks:
        patience.reschedule(loop.time() + _SILENCE_SECONDS)
        yield chunk
    patience.reschedule(None)
