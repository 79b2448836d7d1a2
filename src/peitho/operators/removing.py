"""Removing chaincode by hand, the way that its peer and the sweeper go: nothing is left behind."""

import asyncio
import os
import pwd
from collections.abc import Sequence
from contextlib import suppress

from peitho import audit
from peitho.clients.kubernetes.records import Records
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.chaincode.process import ChaincodeProcess
from peitho.core.chaincode.seen import Chaincode
from peitho.core.tasks import BackgroundTasks
from peitho.errors import PeithoError
from peitho.formats.records import DamagedRecord
from peitho.operators.chaincode import Cluster
from peitho.program import composition
from peitho.settings.models import DEFAULT_TENANT, AuditSettings

_LIST_SECONDS = 30.0


async def remove(
    cluster: Cluster, chosen: Sequence[Chaincode], trail: AuditSettings, *, tenant: str = ""
) -> list[tuple[str, str]]:
    """
    Remove each: its Job, its Pod, its record; return its name, and why it is still there if it is.

    The trail has it, where its file is here; a running Peitho notes in its own what others remove.
    """
    audit.set_caller(audit.Caller(f"operator {_user()}", tenant=tenant or DEFAULT_TENANT))
    async with composition.audit_trail(trail), asyncio.TaskGroup() as group:
        tasks = BackgroundTasks(group)
        tasks.run(cluster.watch.run(), name="pod watch")
        try:
            with suppress(
                TimeoutError
            ):  # without it, the API server is asked whether Pods are gone
                async with asyncio.timeout(_LIST_SECONDS):
                    await cluster.watch.synced.wait()
            return [(each.name, await _removed(cluster, each, tasks)) for each in chosen]
        finally:
            tasks.cancel()


async def _removed(cluster: Cluster, found: Chaincode, tasks: BackgroundTasks) -> str:
    try:
        with audit.recording("container removed", container=found.name, id=found.id):
            await _remove(cluster, found, tasks)
    except PeithoError as error:
        return str(error)
    return ""


async def _remove(cluster: Cluster, found: Chaincode, tasks: BackgroundTasks) -> None:
    kubernetes, record = cluster.kubernetes, found.record
    if isinstance(record, DamagedRecord):
        await Records(kubernetes).remove(record)
        return
    exits = ExitRecorder(kubernetes, cluster.watch, instance=cluster.instance, tasks=tasks)
    process = ChaincodeProcess(kubernetes, cluster.watch, exits, record)
    await process.remove(Records(kubernetes), drained=_at_once)


async def _at_once() -> None:
    """Nobody of this process reads the log."""


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a Pod
        return f"with user ID {os.getuid()}"
