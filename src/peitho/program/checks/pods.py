"""Real Pods, where chaincode and builds would be: do their images come, and what do they reach?"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from peitho.clients.kubernetes.api import Kubernetes
from peitho.core.pods import user_namespaces
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.patience import Patience
from peitho.core.tasks import to_its_end
from peitho.errors import PeithoError, StartFailed
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import labels, pod_status, trial_job
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE
from peitho.program import options
from peitho.program.checks.finding import Finding, ok, wrong
from peitho.settings.models import Settings

_LOOK_SECONDS = 0.5
# The termination message of a Pod, which has what was found, is not long.
_MOST_PEERS = 15
# An image of Fabric has 500 MB and more.
_LONGEST_SECONDS = 120.0
_PULL = (
    "see to its name and registry, to images.rewrite for a mirror, and to imagePullSecrets of the "
    "templates"
)
_REACH = "see to NetworkPolicies, DNS of the namespace, and "


async def images(
    settings: Settings, kubernetes: Kubernetes, *, builders: Sequence[str], runtimes: Sequence[str]
) -> AsyncIterator[Finding]:
    """Have a node pull each image, in Pods like those of builds and of chaincode."""
    asked = [(name, options.build_pods(settings)) for name in builders]
    asked += [(name, options.chaincode_pods(settings)) for name in runtimes]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_pulled(kubernetes, name, pods), name=name) for name, pods in asked
        ]
    for task in tasks:
        yield task.result()


async def _pulled(kubernetes: Kubernetes, name: str, pods: PodOptions) -> Finding:
    trial_id = secrets.token_hex(32)
    job = trial_job.manifest(_image(name), trial_id, options=pods)
    job = await AccountSecrets(kubernetes).added(job, pods)
    pulled = pods.pulled(name)
    said = name if pulled == name else f"{name} (as {pulled})"
    try:
        await _until(kubernetes, job, trial_id, is_over=lambda pod: pod.has_image(CHAINCODE))
    except PeithoError as error:
        return wrong("images", f"no Pod has {said}: {error}", _PULL)
    return ok("images", f"a Pod has {said}")


async def reach(
    settings: Settings, kubernetes: Kubernetes, *, peers: Sequence[str]
) -> AsyncIterator[Finding]:
    """Tell whether a Pod of chaincode reaches Peitho's delivery, and each peer that is known."""
    delivery, peers = settings.peitho.puller_access_address, peers[:_MOST_PEERS]
    trial_id = secrets.token_hex(32)
    pods = options.chaincode_pods(settings)
    job = trial_job.reaching([delivery, *peers], trial_id, options=pods)
    job = await AccountSecrets(kubernetes).added(job, pods)
    try:
        pod = await _until(
            kubernetes, job, trial_id, is_over=lambda pod: pod.exit_of(CHAINCODE) is not None
        )
    except PeithoError as error:
        yield wrong(
            "delivery", f"no Pod with Peitho's image runs: {error}", "set peitho.pullerImage"
        )
        return
    causes = _causes(pod)
    if causes is None:
        yield wrong("delivery", "the Pod of the trial told nothing", "set peitho.pullerImage")
        return
    for address in (delivery, *peers):
        name = "delivery" if address == delivery else "peers"
        if cause := causes.get(address, "not tried"):
            what = "peitho.pullerAccessAddress" if name == "delivery" else "k8s.dns"
            yield wrong(name, f"{address} is not reached from a Pod: {cause}", f"{_REACH}{what}")
        else:
            yield ok(name, f"{address} is reached from a Pod")


async def _until(
    kubernetes: Kubernetes, job: Manifest, trial_id: str, *, is_over: Callable[[PodStatus], bool]
) -> PodStatus:
    """Return the Pod of a trial once it is so far. Raises StartFailed with what keeps it back."""
    name, patience = job["metadata"]["name"], Patience()
    key = {labels.CONTAINER: labels.container_label(trial_id)}
    try:
        await kubernetes.create(await user_namespaces.suited(kubernetes, job))
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                while True:
                    for pod in await _pods(kubernetes, key):
                        if is_over(pod):
                            return pod
                        obstacle = pod.start_obstacle(CHAINCODE)
                        patience.see(obstacle, version=pod.resource_version)
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            last = patience.last
            raise StartFailed(str(last) if last else "no node has taken it") from None
    finally:
        await to_its_end(_dropped(kubernetes, name))


async def _pods(kubernetes: Kubernetes, key: Mapping[str, str]) -> list[PodStatus]:
    found = [pod_status.read(pod) for pod in await kubernetes.find("Pod", labels=key)]
    return [pod for pod in found if isinstance(pod, PodStatus)]


async def _dropped(kubernetes: Kubernetes, name: str) -> None:
    try:
        await kubernetes.delete("Job", name)
    except PeithoError:
        return  # the cluster removes it after a while


def _causes(pod: PodStatus) -> dict[str, str] | None:
    messages = [each.termination.message for each in pod.containers if each.termination]
    try:
        told = json.loads(messages[0])
    except (ValueError, IndexError):
        return None
    return {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else None


def _image(name: str) -> Image:
    return Image(name, name, "", 0, "", (), {}, {}, "", "")
