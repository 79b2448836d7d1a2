"""Peitho's own parts, put together as in the program, before a double of the API server."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from peitho.api import delivery, health, listeners, routes
from peitho.api.calls import OpenCalls
from peitho.api.listeners import Listener
from peitho.api.services import Services
from peitho.clients.docker import Docker
from peitho.clients.tls import ServerTls
from peitho.core.builds.build import Build
from peitho.core.builds.container import BuildContainer
from peitho.core.tasks import BackgroundTasks
from peitho.program import composition
from peitho.program.composition import Composition, Shared
from peitho.settings.models import Settings
from tests.support.kubernetes_double import ApiServer, Script, always, refusal


@dataclass(frozen=True, slots=True)
class Running:
    """A Peitho on loopback: its parts, its three addresses, and the cluster before it."""

    parts: Composition
    services: Services
    cluster: ApiServer
    http: aiohttp.ClientSession
    api: str
    delivery: str
    operations: str

    async def ask(
        self, method: str, path: str, *, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one call of the Docker API."""
        sent = None if body is None else io.BytesIO(body)
        async with self.http.request(
            method, self.api + path, data=sent, headers=headers
        ) as response:
            return response.status, await response.read(), dict(response.headers)

    async def begun(self, build: BuildContainer) -> Build:
        """The run of a build that is started, as if its helper had told that the command runs."""
        builds = self.services.builds
        builds.tasks.spawn(build.start(), name="start")
        await asyncio.sleep(0)
        run = builds.pool.get(build.id)
        run.mark_started()
        return run


@asynccontextmanager
async def composed(  # noqa: PLR0913  what one story or another wants
    directory: Path,
    settings: Settings,
    *,
    refused: bool = False,
    docker: Docker | None = None,
    watch: Script | None = None,
    follows: bool = True,
) -> AsyncIterator[tuple[Composition, ApiServer]]:
    """
    All parts, at work but for the sweeper.

    The first list of the Pods may be refused, and the first watch of them may be scripted. Where
    hours go by, the cluster need not be followed: that costs some requests a minute.
    """
    async with (
        ApiServer.start() as cluster,
        cluster.client(directory) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        if refused:
            cluster.script("GET", "pods", always(lambda: refusal(503, "", "starting")))
        if watch:
            cluster.script("WATCH", "pods", watch)
        tasks = BackgroundTasks(group)
        composition.make_data_directory(settings)
        composition.clear_data_directory(settings)
        parts = composition.compose(Shared.of(settings, kubernetes, docker=docker), tasks)
        tasks.run(parts.exits.run(), name="exit recorder")
        parts.lost_pods.start()
        if follows:
            tasks.run(parts.services.watch.run(), name="pod watch")
            tasks.run(parts.record_watch.run(), name="record watch")
        tasks.run(parts.shared.registries.run(), name="registries")
        if settings.peitho.image_mode == "registry":  # else it looks again and again for nothing
            tasks.spawn(parts.pull_secret.run(), name="pull secret")
        tasks.run(parts.services.builds.run(), name="builds left behind")
        try:
            yield parts, cluster
        finally:
            tasks.cancel()
            parts.services.builds.pool.close()


@asynccontextmanager
async def running(
    directory: Path, *, refused: bool = False, daemon: Docker | None = None, **settings_of: Any
) -> AsyncIterator[Running]:
    """A Peitho, while it runs; its cluster may refuse to be asked at first."""
    anything = {"access": {"images": ["*"]}}
    here = {"peitho": {"pullerAccessAddress": "127.0.0.1:0"}}
    tree = {"dataDir": directory / "data", **anything, **here, **settings_of}
    settings = Settings.model_validate(tree)
    async with (
        composed(directory, settings, refused=refused, docker=daemon) as (parts, cluster),
        AsyncExitStack() as stack,
    ):
        services, tls = parts.services, parts.shared.delivery_tls
        trusting = ssl.create_default_context(cadata=tls.authority.pem)
        connector = aiohttp.TCPConnector(ssl=trusting)
        given = delivery.application({"default": services})
        api = routes.application(services, OpenCalls(routes.LONG))
        yield Running(
            parts=parts,
            services=services,
            cluster=cluster,
            http=await stack.enter_async_context(aiohttp.ClientSession(connector=connector)),
            api=await stack.enter_async_context(listening(api)),
            delivery=await stack.enter_async_context(listening(given, tls=tls)),
            operations=await stack.enter_async_context(listening(health.application(services))),
        )


@asynccontextmanager
async def listening(
    application: web.Application, *, tls: ServerTls | None = None
) -> AsyncIterator[str]:
    """The address of an application that is served as Peitho serves it."""
    listener = Listener(application, "127.0.0.1:0", tls=tls)
    async with listeners.listening(listener) as (address,):
        yield f"{'https' if tls else 'http'}://{address}"
