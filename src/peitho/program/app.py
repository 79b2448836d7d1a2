"""The program from start to end: what is started, and in which order it stops."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import structlog

from peitho import __version__, audit, metrics
from peitho.api import delivery, health, readiness, routes
from peitho.api.access import Tenants
from peitho.api.calls import OpenCalls
from peitho.api.health import PageParts
from peitho.api.listeners import CannotListen, Listener, listening
from peitho.api.readiness import Lines
from peitho.api.services import Services
from peitho.clients.docker import Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.tls import CertificateFiles
from peitho.core import relabelling
from peitho.core.chaincode import adoption
from peitho.core.measuring import Measuring
from peitho.core.pods import template_check
from peitho.core.sweeping.sweeper import Finding
from peitho.core.tasks import BackgroundTasks, until_done
from peitho.errors import NotFound, PeithoError, TemplateRefused, Unavailable
from peitho.formats.images.repositories import is_loopback
from peitho.formats.kubernetes.go_peitho import GoChaincode
from peitho.program import collector, composition, options
from peitho.program.checks.kept import KeptChecks
from peitho.program.composition import Composition, Shared
from peitho.program.reloading import Reloading
from peitho.settings.loading import LoadedSettings, SettingsSource
from peitho.settings.models import DEFAULT_TENANT, AuditSettings, ServerSettings, Settings
from peitho.settings.tenants import each

log = structlog.get_logger()

# Peers should not be refused for longer while the cluster is away.
_CHECK_SECONDS = 5.0


async def serve(source: SettingsSource, loaded: LoadedSettings) -> None:
    """
    Run Peitho until SIGTERM or SIGINT, following its settings as they change.

    Raises PeithoError before anything is started or touched: also Conflict where another Peitho
    serves from the data directory, and CannotListen where one has the address.
    """
    with _own_files(), composition.locked_data_directory(loaded.settings):
        try:
            await _serve(source, loaded)
        except* CannotListen as raised:
            raise raised.exceptions[0] from None


@contextmanager
def _own_files() -> Iterator[None]:
    """Have all files and folders that are made here readable by their owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


async def _serve(source: SettingsSource, loaded: LoadedSettings) -> None:
    collector.begin()
    settings, stop = loaded.settings, _stop_signal()
    reloading = Reloading(source, loaded)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.tell)
    async with (
        composition.connected(settings) as kubernetes,
        composition.docker(settings.docker) as docker,
    ):
        is_checked = await _are_templates_checked(settings, kubernetes)
        await _run(settings, kubernetes, docker, stop, reloading, is_checked=is_checked)


async def _are_templates_checked(settings: Settings, kubernetes: Kubernetes) -> bool:
    """
    Check the templates before anything is started; False if the cluster does not tell soon.

    Peitho starts all the same then: a 2.x peer that starts meanwhile, and is refused, remembers it
    for its life. Raises TemplateRefused.
    """
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await template_check.check(kubernetes, composition.templates(settings))
    except (TimeoutError, Unavailable) as error:
        log.warning("templates not checked yet", cause=str(error) or "no answer")
        return False
    return True


async def _check_templates(settings: Settings, kubernetes: Kubernetes) -> None:
    """Check them once the cluster is there; what is wrong is told as for changed settings."""
    check = partial(template_check.check, kubernetes, composition.templates(settings))
    try:
        await until_done(
            check,
            what="check of the templates",
            passes=lambda error: not isinstance(error, TemplateRefused),
        )
    except TemplateRefused as error:
        metrics.SETTINGS_REFUSED.set(1)
        log.error("settings refused", problems=str(error).splitlines())  # noqa: TRY400  no fault


async def _look_at_namespaces(tenants: Mapping[str, Composition]) -> None:
    """Tell of tenants whose namespaces admit no Pod of the templates: that stops no other."""
    for name, parts in tenants.items():
        if name == DEFAULT_TENANT:
            continue
        try:
            await template_check.check(parts.kubernetes, composition.templates(parts.settings.now))
        except PeithoError as error:
            log.warning("templates not admitted", tenant=name, problems=str(error).splitlines())


async def adopt(settings: Settings, *, dry_run: bool) -> AsyncIterator[tuple[GoChaincode, str]]:
    """
    Take over the Go project's chaincode.

    Yields each when it is done, and why it is not, if one cannot be; that keeps no other from it.
    Raises Unavailable.
    """
    async with composition.connected(settings) as cluster:
        namespaces = {own.kubernetes.namespace or cluster.namespace for _, own in each(settings)}
        for kubernetes in map(cluster.in_namespace, sorted(namespaces)):
            for chaincode in await adoption.survey(kubernetes):
                failure = ""
                if not dry_run:
                    try:
                        await adoption.adopt(kubernetes, chaincode)
                    except PeithoError as error:
                        failure = str(error)
                yield chaincode, failure


async def _run(  # noqa: PLR0913  what a run is made of, once
    settings: Settings,
    kubernetes: Kubernetes,
    docker: Docker | None,
    stop: asyncio.Event,
    reloading: Reloading,
    *,
    is_checked: bool,
) -> None:
    tls = _Tls.of(settings.server)
    composition.make_data_directory(settings)
    async with composition.audit_trail(settings.audit) as trail, asyncio.TaskGroup() as group:
        tasks = BackgroundTasks(group)
        if trail:
            tasks.run(trail.run(), name="audit trail")
        shared = Shared.of(settings, kubernetes, docker=docker)
        tenants = composition.compose_all(shared, tasks)
        # Once the addresses are ours, no other Peitho is at work here.
        clear = partial(composition.clear_data_directory, settings)
        opened: dict[str, asyncio.Server] = {}
        lines = _lines(tenants, opened, tls)
        checks = KeptChecks(shared.settings, kubernetes, tasks)
        page = PageParts(shared.settings.map(options.page_access), checks.look)
        listeners = _listeners(tenants, shared, tls, lines, page)
        async with listening(*listeners, bound=clear, opened=opened):
            _start(tenants, reloading, tasks)
            storages = [parts.services.storage for parts in tenants.values()]
            measuring = Measuring(storages, [shared.delivery_tls, *tls.files()])
            tasks.spawn(measuring.run(), name="measuring")
            tasks.spawn(measuring.run_lag(), name="measuring of the loop")
            tasks.spawn(collector.run(_lists(tenants)), name="collector")
            if not is_checked:
                tasks.spawn(_check_templates(settings, kubernetes), name="templates")
            tasks.spawn(_look_at_namespaces(tenants), name="templates of tenants")
            audit.record("peitho started", version=__version__)
            log.info("peitho started", version=__version__, namespace=kubernetes.namespace)
            await stop.wait()
            audit.record("peitho stopping")
            log.info("peitho stopping")
        for parts in tenants.values():
            await parts.services.sweeper.keep_usage()
        tasks.cancel()
        for parts in tenants.values():
            parts.services.builds.pool.close()


@dataclass(frozen=True, slots=True)
class _Tls:
    """The certificates of the listeners that have one in the settings."""

    api: CertificateFiles | None
    operations: CertificateFiles | None

    @classmethod
    def of(cls, server: ServerSettings) -> Self:
        """Read them. Raises Unavailable."""
        return cls(
            composition.api_tls(server.tls), composition.operations_tls(server.operations_tls)
        )

    def files(self) -> list[CertificateFiles]:
        """Return those that there are."""
        return [each for each in (self.api, self.operations) if each]


def _start(
    tenants: Mapping[str, Composition], reloading: Reloading, tasks: BackgroundTasks
) -> None:
    """Start all background tasks: with `run` those that Peitho needs, with `spawn` the others."""
    default = tenants[DEFAULT_TENANT]
    tasks.run(reloading.run(default.shared), name="settings")
    tasks.run(default.shared.registries.run(), name="registries")
    tasks.run(default.services.surroundings.run(), name="surroundings")
    for name, parts in tenants.items():
        with _working_for(name if default.shared.settings.now.access.tenants else ""):
            _start_tenant(parts, tasks)


@contextmanager
def _working_for(tenant: str) -> Iterator[None]:
    """Have the log and the audit trail name a tenant with all that is begun here."""
    if not tenant:
        yield
        return
    before = audit.caller()
    audit.set_caller(replace(before, tenant=tenant))
    try:
        with structlog.contextvars.bound_contextvars(tenant=tenant):
            yield
    finally:
        audit.set_caller(before)


def _start_tenant(parts: Composition, tasks: BackgroundTasks) -> None:
    """Start the tasks of one tenant."""
    services, pool = parts.services, parts.services.builds.pool
    looked = parts.relabelling.looked
    tasks.run(parts.exits.run(), name="exit recorder")
    parts.lost_pods.start()
    tasks.spawn(parts.relabelling.run(), name="relabelling")
    tasks.run(_once(looked, services.watch.run()), name="pod watch")
    tasks.spawn(parts.started.run(), name="watch of started containers")
    tasks.run(_once(looked, parts.record_watch.run()), name="record watch")
    tasks.run(services.sweeper.run(), name="sweeper")
    tasks.spawn(parts.pull_secret.run(), name="pull secret")
    tasks.run(services.builds.run(), name="builds left behind")
    clearing = until_done(pool.clear_leftovers, what="clearing of leftovers")
    tasks.spawn(_once(looked, clearing), name="leftover builds")
    if parts.former_builds:
        clear_pods = partial(parts.former_builds.clear_leftovers, ())
        clearing = until_done(clear_pods, what="clearing of leftover Pods")
        tasks.spawn(_once(looked, clearing), name="leftover build pods")


def _lists(tenants: Mapping[str, Composition]) -> Iterator[asyncio.Event]:
    """What is set once the lists of all that runs are there."""
    for parts in tenants.values():
        yield from (parts.services.watch.synced, parts.record_watch.synced)


async def _once(word: asyncio.Event, work: Coroutine[Any, Any, object]) -> None:
    """Do something once the word is given."""
    try:
        await word.wait()
        await work
    finally:
        work.close()


def _listeners(
    tenants: Mapping[str, Composition],
    shared: Shared,
    tls: _Tls,
    lines: Sequence[Lines],
    page: PageParts,
) -> list[Listener]:
    server = shared.settings.now.server
    calls = OpenCalls(routes.LONG)
    named = server.tls.client_ca_file is not None
    parts = {name: composition.services for name, composition in tenants.items()}
    api = routes.application(_served(parts, shared), calls, need_certificate=named)
    is_open = not (named or is_loopback(server.api))
    if is_open:
        _warn_of_open_api(server)
    return [
        Listener(api, server.api, calls, tls.api, name="docker api"),
        Listener(
            delivery.application(parts),
            server.delivery,
            tls=shared.delivery_tls,
            name="delivery",
        ),
        Listener(
            health.application(
                parts[DEFAULT_TENANT], is_open=is_open, lines=lines, tenants=parts, page=page
            ),
            server.operations,
            tls=tls.operations,
            name="operations",
        ),
    ]


def _lines(
    tenants: Mapping[str, Composition],
    opened: Mapping[str, asyncio.Server],
    tls: _Tls,
) -> list[Lines]:
    """What `/readyz?verbose` tells of the parts, beside what is outside."""
    delivery_tls = tenants[DEFAULT_TENANT].shared.delivery_tls
    lines: list[Lines] = [
        partial(readiness.listeners, opened),
        partial(readiness.certificates, delivery_tls),
    ]
    for name, parts in tenants.items():
        tenant = name if len(tenants) > 1 else ""
        lines.append(partial(readiness.pod_watch, parts.services.watch, tenant=tenant))
        lines.append(partial(readiness.record_watch, parts.record_watch, tenant=tenant))
    lines += [partial(readiness.certificates, files) for files in tls.files()]
    return lines


def _served(parts: Mapping[str, Services], shared: Shared) -> Services | Tenants:
    """Return the parts of the one tenant, for whoever comes in, or of those in the settings."""
    if not shared.settings.now.access.tenants:
        return parts[DEFAULT_TENANT]
    return Tenants(parts, shared.settings.map(lambda settings: settings.access.tenants))


async def sweep(settings: Settings, *, dry_run: bool) -> list[Finding]:
    """
    Sweep once by hand, perhaps beside a running Peitho.

    It does not find orphans: whether a peer stays away shows only in time. Raises PeithoError.
    """
    if not (settings.data_dir / "images").is_dir():
        raise NotFound(f"No Peitho keeps its data in {settings.data_dir}: sweep where it runs")
    async with (
        composition.audit_trail(AuditSettings() if dry_run else settings.audit),
        composition.connected(settings) as kubernetes,
    ):
        try:
            async with asyncio.TaskGroup() as group:
                return await _sweep(settings, kubernetes, BackgroundTasks(group), dry_run=dry_run)
        except* PeithoError as raised:
            raise raised.exceptions[0] from None


async def _sweep(
    settings: Settings, kubernetes: Kubernetes, tasks: BackgroundTasks, *, dry_run: bool
) -> list[Finding]:
    shared = Shared.of(settings, kubernetes, looks=dry_run)
    tenants = {
        name: composition.compose(shared, tasks, tenant=name, looks=dry_run)
        for name, own in each(settings)
        if (own.data_dir / "images").is_dir()  # else it has never been served
    }
    for parts in tenants.values():
        await relabelling.look(parts.kubernetes, parts.settings.now.peitho.instance)
        tasks.run(parts.services.watch.run(), name="pod watch")
        tasks.run(parts.record_watch.run(), name="record watch")
    try:
        findings: list[Finding] = []
        for name, parts in tenants.items():
            findings += await _sweep_tenant(
                name if settings.access.tenants else "", parts, dry_run=dry_run
            )
        return findings
    finally:
        tasks.cancel()


async def _sweep_tenant(tenant: str, parts: Composition, *, dry_run: bool) -> list[Finding]:
    """Sweep what a tenant has; without tenants its name is empty, and an error is one of all."""
    with _working_for(tenant):
        try:
            await parts.chaincodes.synced()
            swept = await parts.services.sweeper.sweep(dry_run=dry_run)
        except PeithoError as error:
            if not tenant:
                raise
            swept = [Finding("sweep", "of all", "it was due", failure=str(error))]
    return [replace(finding, tenant=tenant) for finding in swept]


def _warn_of_open_api(server: ServerSettings) -> None:
    """Say once, and loudly, that whoever reaches the Docker API may use it."""
    log.warning(
        "the docker api is open: whoever reaches it may run commands in builds and replace "
        "chaincode; set server.tls with a client-ca-file, and a NetworkPolicy",
        address=server.api,
        tls=server.tls.cert_file is not None,
    )


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
