"""
What an earlier Peitho has made is given the labels of today, while chaincode runs on.

The former ones were those of Helm's charts, by which Argo CD 2 knows its own
(docs/decisions/0034-labels-of-our-own.md).  Until an object has them it is known by the others.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import structlog

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.following import DAMAGE
from peitho.core.clock import growing_pauses
from peitho.errors import PeithoError, Unavailable
from peitho.formats.kubernetes import job_status, labels
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.objects import Manifest

log = structlog.get_logger()

# All that Peitho makes, but Events, which nobody looks for by labels. Secrets come first: what they
# own is nothing that Argo CD removes.
_KINDS = ("Secret", "Job", "Pod")
_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 600.0
# A right that is missing is missing for all objects of a kind.
_REFUSALS_IN_A_ROW = 5
# It was removed meanwhile, or its name is another's.
_NOBODYS = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
_ERRORS = (PeithoError, *DAMAGE)


@dataclass(frozen=True, slots=True)
class Former:
    """An object with former labels; `awaits_pod` if it is a Job that may get its Pod yet."""

    name: str
    uid: str
    awaits_pod: bool = False


async def look(kubernetes: Kubernetes, instance: str) -> list[str]:
    """
    Have all be listed from now on that is of a Peitho, whichever labels it has.

    Returns the kinds of which some have former labels, or of which the cluster does not tell.
    """
    kinds, is_there = [], True
    for kind in _KINDS:
        try:
            if is_there and not await kubernetes.has_former(kind, instance):
                continue
        except _ERRORS as error:
            log.debug("objects with former labels not found out", kind=kind, cause=str(error))
            is_there = not isinstance(error, Unavailable)
        kinds.append(kind)
    if "Job" in kinds and "Pod" not in kinds:  # it makes its Pod with the labels of its template
        kinds.append("Pod")
    for kind in kinds:
        kubernetes.expect_former(kind, instance)
    return kinds


class Relabelling:
    """Relabels the objects of one Peitho in one namespace."""

    def __init__(self, kubernetes: Kubernetes, instance: str) -> None:
        self._kubernetes = kubernetes
        self._instance = instance
        self._left: set[str] = set()
        self._told: Counter[str] = Counter()
        self.looked = asyncio.Event()

    async def run(self) -> None:
        """Find out what there is and relabel it; what is refused is tried again, ever later."""
        try:
            kinds = await look(self._kubernetes, self._instance)
        finally:
            self.looked.set()  # watches wait for it
        for pause_seconds in growing_pauses(_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS):
            kinds = await self._left_of(kinds)
            if not kinds:
                return
            await asyncio.sleep(pause_seconds)

    async def _left_of(self, kinds: Sequence[str]) -> list[str]:
        """Relabel all objects of these kinds; return those of which some are left, or may come."""
        left: list[str] = []
        for kind in kinds:
            is_done = await self._relabel_all(kind)
            if is_done and not (kind == "Pod" and "Job" in left):
                self._kubernetes.forget_former(kind, self._instance)
            else:
                left.append(kind)
        return left

    async def _relabel_all(self, kind: str) -> bool:
        """
        Relabel all objects of a kind; whether none is left.

        A Job that has no Pod yet is left, so that it tells, to the next start too, of one to come.
        """
        try:
            listing = await self._kubernetes.listed(
                kind,
                _read_job if kind == "Job" else _read,
                labels=labels.former_labels(self._instance),
                metadata_only=kind != "Job",
            )
        except _ERRORS as error:
            self._tell(kind, [str(error)])
            return False
        ready = [each for each in listing.items if not each.awaits_pod]
        causes = await self._relabel_each(kind, ready)
        self._tell(kind, causes)
        return not causes and len(ready) == len(listing.items)

    async def _relabel_each(self, kind: str, found: Sequence[Former]) -> list[str]:
        """Relabel these; return why some are left."""
        causes: list[str] = []
        done = refused = 0
        # Those that were refused before come last, so they keep no other waiting.
        for each in sorted(found, key=lambda each: each.uid in self._left):
            try:
                await self._relabel(kind, each)
            except _ERRORS as error:
                self._left.add(each.uid)
                causes.append(f"{each.name}: {error}")
                refused += 1
            else:
                self._left.discard(each.uid)
                done, refused = done + 1, 0
            if refused == _REFUSALS_IN_A_ROW:
                break
        if done:
            log.info("objects relabelled", kind=kind, objects=done)
        return causes

    async def _relabel(self, kind: str, each: Former) -> None:
        change = {"metadata": {"uid": each.uid, "labels": labels.renewal(self._instance)}}
        try:
            await self._kubernetes.patch(kind, each.name, change)
        except KubernetesError as error:
            if error.code not in _NOBODYS or error.is_contended:
                raise

    def _tell(self, kind: str, causes: Sequence[str]) -> None:
        """Log why objects of a kind are left, unless as many were before."""
        if causes and self._told[kind] != len(causes):
            log.warning(
                "objects keep their former labels for now",
                kind=kind,
                objects=len(causes),
                cause=causes[0],
            )
        self._told[kind] = len(causes)


def _read(found: Manifest) -> Former:
    metadata = found["metadata"]
    return Former(str(metadata["name"]), str(metadata.get("uid", "")))


def _read_job(found: Manifest) -> Former:
    status = job_status.read(found)
    return replace(_read(found), awaits_pod=isinstance(status, JobStatus) and status.awaits_pod)
