"""
User namespaces of Pods: the user 0 of an image is nobody on the node.

Where a namespace refuses a Pod for its user 0, as Pod Security's `restricted` does, it may admit it
with `hostUsers: false`: from Kubernetes 1.35 on, where nodes can (KEP-127). The API server is
asked, as a dry run; nothing is asked for Pods of other users.
"""

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.formats.kubernetes import user_namespace
from peitho.formats.kubernetes.objects import Manifest


async def suited(kubernetes: Kubernetes, made: Manifest) -> Manifest:
    """
    Return a Pod or a Job as the namespace admits it: as it is, or with a user namespace.

    One that is refused in any case is returned as it is: it is told why when it is created.
    """
    pod = user_namespace.pod_of(made)
    if not user_namespace.may_help(pod["spec"]) or not await refusal(kubernetes, pod):
        return made
    inside = user_namespace.given(made)
    if await refusal(kubernetes, user_namespace.pod_of(inside)):
        return made
    return inside


async def refusal(kubernetes: Kubernetes, pod: Manifest) -> str:
    """Return the words by which Pod Security refuses a Pod; empty for any other answer."""
    try:
        await kubernetes.create(pod, dry_run=True)
    except KubernetesError as error:
        return str(error) if user_namespace.is_about_root(str(error)) else ""
    return ""
