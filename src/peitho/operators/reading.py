"""The log of chaincode: its Pod's, or the last lines that are kept where the Pod is gone."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from peitho.core.chaincode.logs import PodLog
from peitho.core.chaincode.seen import Chaincode
from peitho.core.container import OutputOptions
from peitho.errors import NotFound
from peitho.formats.kubernetes import labels
from peitho.formats.records import CHAINCODE, RecordMetadata
from peitho.operators.chaincode import Cluster

# A peer gives a launch no longer.
_START_SECONDS = 300.0


async def log(cluster: Cluster, found: Chaincode, options: OutputOptions) -> AsyncIterator[bytes]:
    """
    Yield what a chaincode said; if followed, until it has ended, as a followed cluster tells.

    Raises NotFound.
    """
    record = found.record
    if not isinstance(record, RecordMetadata):
        raise NotFound(f"The record of {found.name} is damaged: {record.cause}")
    if found.pod is None:
        if record.exit is None:
            raise NotFound(f"{found.name} has said nothing: it was never started")
        yield _last_lines(record.exit.log, options.tail_lines)
        return
    key = labels.container_label(record.id)
    pod_log = PodLog(cluster.kubernetes, cluster.watch, key, CHAINCODE)
    if options.follow:
        await pod_log.until_there(within_seconds=_START_SECONDS)
    elif found.phase == "starting":
        raise NotFound(f"{found.name} has said nothing yet: {found.reason or 'it is starting'}")
    async with aclosing(pod_log.read(options)) as chunks:
        async for chunk in chunks:
            yield chunk


def _last_lines(text: str, tail: int | None) -> bytes:
    lines = text.splitlines()
    kept = lines if tail is None else lines[max(0, len(lines) - tail) :]
    return "".join(f"{line}\n" for line in kept).encode()
