"""The composition root: here, and only here, things meet; a reader sees the program."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import structlog
from aiohttp import web

from peitho import __version__
from peitho.api import delivery, health, routes
from peitho.api.connection import Connection
from peitho.api.services import Services
from peitho.clients.kubernetes import Kubernetes, PodWatch
from peitho.clients.storage import Storage
from peitho.core.builds import BuilderOptions, Builds
from peitho.core.chaincode import Chaincodes
from peitho.core.containers import Containers
from peitho.core.images import Images, Provenance
from peitho.core.tasks import Tasks
from peitho.core.tokens import Tokens
from peitho.errors import PeithoError
from peitho.formats import manifests
from peitho.formats.manifests import PodSettings
from peitho.formats.tar import Limits
from peitho.settings import BuilderSettings, ChaincodeSettings, Resources, Settings

log = structlog.get_logger()

_LEFTOVER_PAUSE_SECONDS = 5.0
_STOP_SECONDS = 2.0


async def serve(settings: Settings) -> None:
    """Run Peitho until SIGTERM or SIGINT."""
    stop = _stop_signal()
    async with (
        Kubernetes.connect(
            kubeconfig=settings.kubernetes.kubeconfig, namespace=settings.kubernetes.namespace
        ) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        tasks = Tasks(group)
        services = compose(settings, kubernetes, tasks)
        tasks.run(services.watch.run(), name="pod watch")
        tasks.spawn(_clear_leftovers(services.builds), name="leftover builds")
        async with AsyncExitStack() as listeners:
            await _listen(listeners, routes.application(services), settings.server.api)
            await _listen(listeners, delivery.application(services), settings.server.delivery)
            await _listen(listeners, health.application(services), settings.server.operations)
            log.info("peitho started", version=__version__, namespace=kubernetes.namespace)
            await stop.wait()
            log.info("peitho stopping")
        tasks.cancel()
        services.builds.close()


def compose(settings: Settings, kubernetes: Kubernetes, tasks: Tasks) -> Services:
    """All parts, put together."""
    storage = Storage.open(settings.data_dir)
    tokens = Tokens(storage.delivery_key())
    provenance = Provenance()
    limits = Limits(
        entries=settings.limits.archive_entries, total_bytes=settings.limits.archive_bytes
    )
    images = Images(storage, provenance, limits=limits)
    watch = PodWatch(
        kubernetes,
        labels=manifests.own_labels(settings.peitho.instance),
        key=manifests.CONTAINER,
    )
    chaincodes = Chaincodes(
        kubernetes,
        watch,
        images,
        storage=storage,
        tokens=tokens,
        settings=_pod_settings(settings, settings.chaincode, aliases=settings.kubernetes.dns),
        start_timeout_seconds=settings.chaincode.start_timeout_seconds,
    )
    builds = Builds(
        kubernetes,
        watch,
        storage=storage,
        provenance=provenance,
        tokens=tokens,
        settings=_pod_settings(settings, settings.builder),
        options=BuilderOptions(
            start_timeout_seconds=settings.builder.start_timeout_seconds,
            deadline_seconds=settings.builder.deadline_seconds,
            abandoned_after_seconds=settings.builder.abandoned_after_seconds,
            output_bytes=settings.limits.output_bytes,
        ),
        limits=limits,
        tasks=tasks,
    )
    return Services(
        containers=Containers(chaincodes, builds),
        builds=builds,
        images=images,
        storage=storage,
        tokens=tokens,
        watch=watch,
    )


def _pod_settings(
    settings: Settings,
    kind: BuilderSettings | ChaincodeSettings,
    *,
    aliases: tuple[str, ...] = (),
) -> PodSettings:
    return PodSettings(
        instance=settings.peitho.instance,
        peitho_image=settings.peitho.puller_image,
        peitho_url=f"http://{settings.peitho.puller_access_address}",
        user=kind.user,
        users=kind.users,
        requests=_quantities(kind.resources, "request"),
        limits=_quantities(kind.resources, "limit"),
        host_aliases=aliases,
    )


def _quantities(resources: Resources, which: str) -> dict[str, str]:
    found = {name: getattr(resources, f"{name}_{which}") for name in ("cpu", "memory")}
    return {name: quantity for name, quantity in found.items() if quantity}


async def _listen(stack: AsyncExitStack, app: web.Application, address: str) -> None:
    """Serve an application; a handler whose client hangs up is cancelled, waits above all."""
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=_STOP_SECONDS
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is set up and has a server")
    host, _, port = address.rpartition(":")
    factory: Callable[[], Connection] = partial(_connection, server)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(factory, host.strip("[]") or None, int(port), backlog=512)
    stack.callback(listener.close)


def _connection(server: web.Server) -> Connection:
    return Connection(server())


async def _clear_leftovers(builds: Builds) -> None:
    """Once, as soon as the cluster can be reached."""
    while True:
        try:
            await builds.clear_leftovers()
        except PeithoError as error:
            log.warning("leftover builds not cleared yet", cause=str(error))
            await asyncio.sleep(_LEFTOVER_PAUSE_SECONDS)
        else:
            return


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return stop
