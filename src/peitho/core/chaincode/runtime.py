"""
Which runtime image a chaincode runs on: its node tells once the process is there.

Mostly it is the one that was tried, which its Job says from the beginning. If it is another, the
Job is told: that is one request more, and none that a peer waits for.
"""

import asyncio
from contextlib import suppress

import structlog

from peitho.core.chaincode.launch import Launch
from peitho.errors import PeithoError
from peitho.formats.kubernetes import chaincode_job, labels
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE

log = structlog.get_logger()

# A node tells of a process within its second, with the image.
_PATIENCE_SECONDS = 60.0


async def note_runtime(launch: Launch, *, told: str) -> None:
    """Have the Job of a launch say which runtime image runs, if that is not what was told."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            pod = await _with_image(launch)
            runs = pod.proof.get(labels.RUNTIME_ID, "") if pod else ""
            if not runs or runs == told:
                return
            await _patch(launch, runs)


async def _with_image(launch: Launch) -> PodStatus | None:
    """Return the Pod once its node has told of the image; None if it has gone or ended before."""
    async for sighting in launch.watch.sightings(launch.key):
        pod = sighting.pod
        if pod and pod.image_id(CHAINCODE):
            return pod
        if sighting.gone or (pod and pod.has_ended):
            break
    return None


async def _patch(launch: Launch, runs: str) -> None:
    name = launch.job["metadata"]["name"]
    try:
        await launch.kubernetes.patch("Job", name, chaincode_job.runtime_patch(runs))
    except PeithoError as error:  # it may be removed by now
        log.info("runtime image not noted", job=name, cause=str(error))
