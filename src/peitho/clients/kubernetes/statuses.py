"""Statuses of Pods and Jobs: they are read here, and typed from here on."""

from collections.abc import Mapping

from peitho.clients.kubernetes.api import Kubernetes
from peitho.formats.kubernetes import job_status, pod_status
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.pod_status import PodStatus


async def get_job(kubernetes: Kubernetes, name: str) -> JobStatus | None:
    """Return a Job; None if it is not there or damaged. Raises KubernetesError, Unavailable."""
    job = await kubernetes.get("Job", name)
    status = job_status.read(job) if job else None
    return status if isinstance(status, JobStatus) else None


async def find_jobs(kubernetes: Kubernetes, labels: Mapping[str, str]) -> list[JobStatus]:
    """List the Jobs that have the labels, without damaged ones. Raises as `get_job` does."""
    jobs = [job_status.read(job) for job in await kubernetes.find("Job", labels=labels)]
    return [job for job in jobs if isinstance(job, JobStatus)]


async def find_pods(kubernetes: Kubernetes, labels: Mapping[str, str]) -> list[PodStatus]:
    """List the Pods that have the labels, without copies and damaged ones. Raises as `get_job`."""
    pods = [pod_status.read(pod) for pod in await kubernetes.find("Pod", labels=labels)]
    return [pod for pod in pods if isinstance(pod, PodStatus) and not pod.is_copy]
