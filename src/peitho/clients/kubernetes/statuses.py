"""Statuses of Pods and Jobs: they are read here, and typed from here on."""

from collections.abc import Collection, Mapping

from peitho.clients.kubernetes.api import Kubernetes
from peitho.formats.kubernetes import job_status, pod_status
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.pod_status import PodStatus

# From here on, a list in pages is less work than as many requests.
_FEW = 20


async def get_job(kubernetes: Kubernetes, name: str) -> JobStatus | None:
    """Return a Job; None if it is not there or damaged. Raises KubernetesError, Unavailable."""
    job = await kubernetes.get("Job", name)
    status = job_status.read(job) if job else None
    return status if isinstance(status, JobStatus) else None


async def get_jobs(
    kubernetes: Kubernetes, names: Collection[str], *, labels: Mapping[str, str]
) -> dict[str, JobStatus]:
    """
    Return the Jobs of these names, which have the labels, as far as they are there.

    A few are asked for by name, many by a list.
    """
    if len(names) > _FEW:
        found = await find_jobs(kubernetes, labels)
    else:
        found = [job for name in names if (job := await get_job(kubernetes, name))]
    wanted = set(names)
    return {job.name: job for job in found if job.name in wanted}


async def find_jobs(kubernetes: Kubernetes, labels: Mapping[str, str]) -> list[JobStatus]:
    """List the Jobs that have the labels, without damaged ones. Raises as `get_job` does."""
    jobs = await kubernetes.listed("Job", job_status.read, labels=labels)
    return [job for job in jobs.items if isinstance(job, JobStatus)]


async def find_pods(kubernetes: Kubernetes, labels: Mapping[str, str]) -> list[PodStatus]:
    """List the Pods that have the labels, without copies and damaged ones. Raises as `get_job`."""
    pods = await kubernetes.listed("Pod", pod_status.read, labels=labels)
    return [pod for pod in pods.items if isinstance(pod, PodStatus) and not pod.is_copy]
