"""The program from its start to its end: what runs; `composition` makes the parts."""

import asyncio
import signal
from collections.abc import AsyncIterator

import structlog

from peitho import __version__
from peitho.api import delivery, health, routes
from peitho.api.calls import OpenCalls
from peitho.api.listeners import Listener, listening
from peitho.api.services import Services
from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.storage import Storage
from peitho.clients.docker import Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.core.chaincode import adoption
from peitho.core.images.delivery import DeliveryPublisher
from peitho.core.images.store import ImageStore, ResultArchitectures
from peitho.core.images.usage import ImageUsage
from peitho.core.pods import template_check
from peitho.core.sweeping.sweeper import Finding, Sweeper
from peitho.core.tasks import BackgroundTasks, until_done
from peitho.errors import NotFound, PeithoError
from peitho.formats.kubernetes.go_peitho import GoChaincode
from peitho.program import composition, options
from peitho.program.reloading import Reloading
from peitho.settings.loading import LoadedSettings, SettingsSource
from peitho.settings.models import ServerSettings, Settings

log = structlog.get_logger()


async def serve(source: SettingsSource, loaded: LoadedSettings) -> None:
    """
    Run Peitho until SIGTERM or SIGINT; it follows its settings as they are loaded later.

    Raises Unavailable and TemplateRefused, before anything is started.
    """
    settings, stop = loaded.settings, _stop_signal()
    reloading = Reloading(source, loaded)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.tell)
    async with (
        composition.connected(settings) as kubernetes,
        composition.docker(settings.docker) as docker,
    ):
        await template_check.check(kubernetes, composition.templates(settings))
        await _run(settings, kubernetes, docker, stop, reloading)


async def adopt(settings: Settings, *, dry_run: bool) -> AsyncIterator[GoChaincode]:
    """The chaincode of the Go project, each once it has been dealt with; Unavailable."""
    async with composition.connected(settings) as kubernetes:
        for found in await adoption.survey(kubernetes):
            if not dry_run:
                await adoption.adopt(kubernetes, found)
            yield found


async def _run(
    settings: Settings,
    kubernetes: Kubernetes,
    docker: Docker | None,
    stop: asyncio.Event,
    reloading: Reloading,
) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = BackgroundTasks(group)
        parts = composition.compose(settings, kubernetes, tasks, docker=docker)
        services = parts.services
        tasks.run(services.watch.run(), name="pod watch")
        tasks.run(parts.chaincodes.parts.exits.run(), name="exit recorder")
        clearing = until_done(services.builds.runs.clear_leftovers, what="clearing of leftovers")
        tasks.spawn(clearing, name="leftover builds")
        tasks.run(services.sweeper.run(), name="sweeper")
        tasks.run(reloading.run(parts), name="settings")
        async with listening(*_listeners(services, settings.server)):
            log.info("peitho started", version=__version__, namespace=kubernetes.namespace)
            await stop.wait()
            log.info("peitho stopping")
        await services.sweeper.keep_usage()
        tasks.cancel()
        services.builds.runs.close()


def _listeners(services: Services, addresses: ServerSettings) -> list[Listener]:
    calls = OpenCalls(routes.LONG)
    return [
        Listener(routes.application(services, calls), addresses.api, calls),
        Listener(delivery.application(services), addresses.delivery),
        Listener(health.application(services), addresses.operations),
    ]


async def sweep(settings: Settings, *, dry_run: bool) -> list[Finding]:
    """
    One sweep beside a Peitho that may be running: orphans, which take time, are not its.

    Raises PeithoError.
    """
    if not (settings.data_dir / "images").is_dir():
        raise NotFound(f"No Peitho keeps its data in {settings.data_dir}: sweep where it runs")
    async with composition.connected(settings) as kubernetes:
        try:
            async with asyncio.TaskGroup() as group:
                return await _sweep(settings, kubernetes, BackgroundTasks(group), dry_run=dry_run)
        except* PeithoError as raised:
            raise raised.exceptions[0] from None


async def _sweep(
    settings: Settings, kubernetes: Kubernetes, tasks: BackgroundTasks, *, dry_run: bool
) -> list[Finding]:
    watch = composition.pod_watch(settings, kubernetes)
    tasks.run(watch.run(), name="pod watch")
    storage = Storage(settings.data_dir)
    images = ImageStore(storage, ResultArchitectures(), limits=options.limits(settings))
    chaincodes = composition.chaincodes(
        settings, kubernetes, watch, DeliveryPublisher(images), storage=storage, tasks=tasks
    )
    await chaincodes.synced()
    sweeper = Sweeper(
        kubernetes,
        chaincodes=chaincodes,
        runs=None,
        images=images,
        usage=ImageUsage(storage),
        storage=storage,
        cache=BuildCache.open(settings.data_dir / "builds"),
        options=options.sweeper(settings),
    )
    try:
        return await sweeper.sweep(dry_run=dry_run)
    finally:
        tasks.cancel()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return stop
