"""
Builds in Pods: the builder image with the peer's command, and Peitho's helper beside it.

Output, exit code and result come from the helper. Where the helper can say nothing (an OOM kill, an
eviction, an image that cannot be pulled), the Pod's status tells. Whichever comes first counts.
"""

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from peitho import metrics
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.clients.kubernetes.records import Records
from peitho.core.builds.build import NEVER_RAN, OUTPUT_DIRECTORY, Build
from peitho.core.clock import now, unix_seconds
from peitho.core.pods import user_namespaces, waiting
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.explaining import Asked
from peitho.core.pods.tokens import DeliveryTokens, Holder, build_scope
from peitho.core.tasks import to_its_end
from peitho.errors import PeithoError, StartFailed, Unavailable
from peitho.formats.kubernetes import build_pod, labels, names, record_secrets, user_namespace
from peitho.formats.kubernetes.build_pod import HELPER
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pod_status import NODE_LOST
from peitho.formats.records import BUILD, SIGKILLED, DamagedRecord, Exit, RecordMetadata

log = structlog.get_logger()

# The helper nearly always tells first; when the Pod's status does, we wait this long for it.
_HELPER_SECONDS = 5.0
# The kubelet ends a build at its deadline; after this, there is no kubelet.
_LATE_SECONDS = 30.0
# If the command was killed for memory, the kubelet says so within a second or two.
_REASON_SECONDS = 3.0
_RESULT_SECONDS = 60.0
_IMAGE_SECONDS = 2.0
# For what a build downloaded, once its peer has the result.
_PACKAGES_SECONDS = 120.0
# Another Peitho's settings may allow more than ours.
_OTHERS_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class PodBackendOptions:
    """What the operator decided about the Pods of builds."""

    pods: PodOptions
    start_timeout_seconds: float
    deadline_seconds: int


class PodBackend:
    """
    Carries builds out in Pods; a build keeps the options it began with.

    `tokens` and `ca`, a certificate in PEM, are for the calls of its helper.
    """

    def __init__(  # noqa: PLR0913  what a build needs, given once by the composition root
        self,
        kubernetes: Kubernetes,
        watch: PodWatch,
        *,
        tokens: DeliveryTokens,
        ca: str,
        owner: str,
        options: PodBackendOptions,
        account_secrets: AccountSecrets,
    ) -> None:
        self._kubernetes = kubernetes
        self._records = Records(kubernetes)
        self._watch = watch
        self._tokens = tokens
        self._ca = ca
        self._owner = owner
        self._options = options
        self._account_secrets = account_secrets

    async def carry_out(self, build: Build) -> None:
        """
        Create the build's Pod, wait for its result, and remove it.

        Raises StartFailed with the cluster's words.
        """
        try:
            await self._make_pod(build)
            await self._until_running(build)
            build.mark_started()
            self._note_image(build)
            build.end(await self._exit(build))
            await waiting.first(_result(build), self._until_helper_ends(build))
            if build.result is None:
                build.set_no_result(self._no_result(build))
            await self._until_image_known(build)
            await self._until_packages_sent(build)
        finally:
            await to_its_end(self._drop_pod(build))

    async def clear_leftovers(self, known: Collection[str]) -> None:
        """
        Remove the Pods of builds that an earlier Peitho of this data directory left.

        One of another that has the same name may be at work; no build of it lasts for ever.
        """
        own = labels.kind_labels(self._options.pods.instance, BUILD)
        found = await self._records.find_with_damaged(own)
        # Not before: a build that began meanwhile is among the found.
        used = {names.build_name(build_id) for build_id in known}
        for record in found:
            if record.kubernetes_name not in used and self._is_left(record):
                await self._clear(record)

    def _note_image(self, build: Build) -> None:
        pod = self._watch.see(_key(build)).pod
        build.note_image(pod.image_id(BUILD) if pod else "")

    async def _until_image_known(self, build: Build) -> None:
        """Note which image a build ran in; the node tells within its second, if it has not yet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_IMAGE_SECONDS if build.result else 0):
                async for sighting in self._watch.sightings(_key(build)):
                    self._note_image(build)
                    if build.image_id or sighting.gone or _is_over(sighting):
                        return
        self._note_image(build)

    async def _until_packages_sent(self, build: Build) -> None:
        """Let the helper send what a build that is done downloaded, if that is kept."""
        if not build.lacks_packages or build.result is None or build.has_failed:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_PACKAGES_SECONDS):
                await self._until_helper_ends(build)

    def _is_left(self, record: RecordMetadata | DamagedRecord) -> bool:
        """Whether nobody carries a build out; an earlier version gave it no owner."""
        if record.labels.get(labels.OWNER) in (None, "", self._owner):
            return True
        if isinstance(record, DamagedRecord):
            return False
        age = time.time() - unix_seconds(record.created)
        longest = self._options.start_timeout_seconds + self._options.deadline_seconds
        return age > longest + _OTHERS_SECONDS

    async def _clear(self, record: RecordMetadata | DamagedRecord) -> None:
        """Remove one leftover; one that stays keeps no other there."""
        try:
            await self._records.remove(record)
            await self._kubernetes.delete("Pod", record.kubernetes_name, grace_seconds=1)
        except PeithoError as error:
            metrics.SWEEP_ERRORS.labels("leftover").inc()
            log.warning("leftover build stays", secret=record.kubernetes_name, cause=str(error))
        else:
            log.info("leftover build removed", secret=record.kubernetes_name)

    async def _make_pod(self, build: Build) -> None:
        holder = Holder(names.build_name(build.id), build.id)
        secret = record_secrets.build_secret(
            instance=self._options.pods.instance,
            owner=self._owner,
            container_id=build.id,
            spec=build.spec,
            token=self._tokens.issue(build_scope(build.id), holder),
            ca=self._ca,
            created=now(),
        )
        try:
            record = await self._records.create_build(secret)
            pod = await self._account_secrets.added(self._pod(build, record), self._options.pods)
            pod = await user_namespaces.suited(self._kubernetes, pod)
            await self._kubernetes.create(pod)
        except Unavailable:
            raise
        except PeithoError as error:
            cause = user_namespace.explained(str(error))
            raise StartFailed(f"the build's Pod was refused: {cause}") from error

    def _pod(self, build: Build, record: RecordMetadata) -> Manifest:
        return build_pod.manifest(
            record,
            build.spec,
            options=self._options.pods,
            uploads=sorted({upload.path for upload in build.uploads}),
            output=OUTPUT_DIRECTORY,
            deadline_seconds=self._options.deadline_seconds,
        )

    async def _until_running(self, build: Build) -> None:
        try:
            await waiting.first(build.until_started(), self._until_pod_runs(build))
        except StartFailed:
            if not build.started_at:  # else the helper reported the start in the same moment
                raise

    async def _until_pod_runs(self, build: Build) -> None:
        seconds = self._options.start_timeout_seconds
        try:
            for container in (BUILD, HELPER):
                asked = Asked(self._kubernetes, self._watch, _key(build))
                await waiting.until_started(
                    self._watch, _key(build), container, seconds=seconds, asked=asked
                )
        except StartFailed as error:
            raise StartFailed(f"the build's Pod cannot run: {error}") from error

    async def _exit(self, build: Build) -> Exit:
        """Return how the command ended; nobody enforces the deadline of a Pod on a lost node."""
        seconds = self._options.deadline_seconds
        try:
            async with asyncio.timeout(seconds + _LATE_SECONDS):
                return await waiting.first(
                    self._exit_from_helper(build), self._exit_from_pod(build)
                )
        except TimeoutError:
            return Exit(SIGKILLED, f"DeadlineExceeded: it took more than {seconds} s, {NODE_LOST}")

    def _no_result(self, build: Build) -> PeithoError:
        pod = self._watch.see(_key(build)).pod
        said = pod.last_words(HELPER) if pod else ""
        return PeithoError(f"the build's output did not arrive{said and f': {said}'}")

    async def _exit_from_helper(self, build: Build) -> Exit:
        """Return the command's exit code from the helper; if it failed, with the Pod's reason."""
        told = await build.until_exit_code()
        if told.code:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REASON_SECONDS):
                    return replace(told, reason=(await self._until_build_ends(build)).reason)
        return told

    async def _exit_from_pod(self, build: Build) -> Exit:
        """Return the exit that the Pod's status shows, unless the helper still tells one."""
        end = await self._until_pod_ends(build)
        with suppress(TimeoutError):
            async with asyncio.timeout(_HELPER_SECONDS):
                return replace(await build.until_exit_code(), reason=end.reason)
        return end

    async def _until_build_ends(self, build: Build) -> Exit:
        return await waiting.until_ended(self._watch, _key(build), BUILD)

    async def _until_pod_ends(self, build: Build) -> Exit:
        return await waiting.first(self._until_build_ends(build), self._until_helper_fails(build))

    async def _until_helper_fails(self, build: Build) -> Exit:
        end = await self._until_helper_ends(build)
        if end.code == 0:
            return await self._until_build_ends(build)
        pod = self._watch.see(_key(build)).pod
        said = pod.last_words(HELPER) if pod else ""
        return Exit(NEVER_RAN, f"the helper beside the build failed: {said or end.reason}")

    async def _until_helper_ends(self, build: Build) -> Exit:
        return await waiting.until_ended(self._watch, _key(build), HELPER)

    async def _drop_pod(self, build: Build) -> None:
        name = names.build_name(build.id)
        try:
            await self._kubernetes.delete("Pod", name, grace_seconds=1)
            await self._kubernetes.delete("Secret", name)
        except PeithoError as error:
            log.warning("build pod not removed", pod=name, cause=str(error))


async def _result(build: Build) -> None:
    """Wait for the result. After a failed build, which has none, wait only for a moment."""
    with suppress(PeithoError):  # whoever asks for it is told
        await build.until_result(_REASON_SECONDS if build.has_failed else _RESULT_SECONDS)


def _is_over(sighting: Sighting) -> bool:
    return sighting.pod is not None and sighting.pod.has_ended


def _key(build: Build) -> str:
    return labels.container_label(build.id)
