"""The cluster: does it answer, is its clock ours, and does it let Peitho do what it does?"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.core.pods import template_check, user_namespaces
from peitho.errors import PeithoError, TemplateRefused
from peitho.formats.kubernetes import rights, user_namespace
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.rights import RIGHTS
from peitho.program import composition, options
from peitho.program.checks.finding import Finding, ok, warning, wrong
from peitho.settings.models import Settings

_OLDEST = (1, 28)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
# A token of a service account, or a certificate, is not good yet, or not any more.
_SKEWED_SECONDS = 30.0
# What keeps Pods out, by the words of the API server's admission (k8s.io/apiserver, plugin/pkg).
_KEEPS_OUT: Mapping[str, tuple[str, str]] = {
    "PodSecurity": (
        "Pod Security",
        "give the namespace the level `restricted`, or one that admits what the settings ask for",
    ),
    "quota": (
        "quota",
        "raise the ResourceQuota, or set builder.resources and chaincode.resources",
    ),
    # Its largest is a container's limit by default, and a request may not be more.
    "usage per|maximum|minimum|less than or equal to (memory|cpu) limit": (
        "LimitRange",
        "set builder.resources and chaincode.resources within the LimitRange",
    ),
    "namespaces .* not found": ("namespace", "create it, or set k8s.namespace"),
}


async def answers(kubernetes: Kubernetes) -> AsyncIterator[Finding]:
    """Tell whether the API server answers, in which version, and by which clock."""
    about = await kubernetes.about()
    found = _VERSION.match(about.version)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    said = f"{about.version}, namespace {kubernetes.namespace}"
    if version >= _OLDEST:
        yield ok("Kubernetes", said)
    else:
        oldest = ".".join(map(str, _OLDEST))
        yield warning("Kubernetes", f"{said}: Peitho is tried from {oldest} on", "upgrade it")
    if about.unix_seconds:
        yield _clock(abs(time.time() - about.unix_seconds))


def _clock(apart_seconds: float) -> Finding:
    if apart_seconds < _SKEWED_SECONDS:
        return ok("clock", "as the cluster's")
    return wrong(
        "clock",
        f"{apart_seconds:.0f} s from the cluster's: certificates and tokens may not be good yet",
        "see to NTP of both machines",
    )


async def may_do_its_work(kubernetes: Kubernetes) -> AsyncIterator[Finding]:
    """Ask for each right; those that are missing have a line each."""
    async with asyncio.TaskGroup() as group:
        asked = {
            right: group.create_task(
                kubernetes.create(rights.review(right, kubernetes.namespace)), name=str(right)
            )
            for right in RIGHTS
        }
    missing = [right for right, task in asked.items() if not rights.is_allowed(task.result())]
    for right in missing:
        tell = wrong if right.needed else warning
        yield tell(
            "rights",
            f"Peitho's account may not {right} in {kubernetes.namespace}: {right.what_for}",
            "apply the Role of deploy/ there, and its RoleBinding",
        )
    if not missing:
        yield ok("rights", f"all {len(RIGHTS)} that Peitho needs in {kubernetes.namespace}")


async def takes_its_pods(settings: Settings, kubernetes: Kubernetes) -> AsyncIterator[Finding]:
    """Ask, as a dry run, whether Pods of builds and of chaincode would be admitted."""
    pods = template_check.plain_pods(
        builder=options.build_pods(settings), chaincode=options.chaincode_pods(settings)
    )
    for name, pod in pods.items():
        try:
            await kubernetes.create(pod, dry_run=True)
        except KubernetesError as error:
            yield _kept_out(f"{name} in {kubernetes.namespace}", str(error))
        else:
            yield ok("admission", f"Pods of {name} are admitted in {kubernetes.namespace}")
        async for finding in _root(name, pod, settings, kubernetes):
            yield finding
    try:
        await template_check.check(kubernetes, composition.templates(settings))
    except TemplateRefused as error:
        for problem in str(error).splitlines():
            yield wrong("templates", problem, "see docs/guides/pod-templates.md")


async def _root(
    name: str, pod: Manifest, settings: Settings, kubernetes: Kubernetes
) -> AsyncIterator[Finding]:
    """Tell whether Pods of the user 0 are admitted, where a setting gives it to an image."""
    kind = settings.builder if name == "builds" else settings.chaincode
    images = [image for image, user in kind.users.items() if user == 0]
    if not images:
        return
    as_root = user_namespace.as_root(pod)
    said = f"Pods of {name} for {', '.join(images)} have the user 0"
    refused = await user_namespaces.refusal(kubernetes, as_root)
    if not refused:
        yield ok("user 0", f"{said}, which is admitted in {kubernetes.namespace}")
    elif await user_namespaces.suited(kubernetes, as_root) is as_root:
        yield wrong("user 0", f"{said}: {refused}", user_namespace.MISSING.removeprefix("; "))
    else:
        yield ok("user 0", f"{said}, in a user namespace (hostUsers: false): nodes need it, too")


def _kept_out(name: str, said: str) -> Finding:
    for words, (what, do) in _KEEPS_OUT.items():
        if re.search(words, said):
            return wrong(what, f"no Pod of {name} is admitted: {said}", do)
    return wrong("admission", f"no Pod of {name} is admitted: {said}", "see what refuses it")


def unreachable(error: PeithoError) -> Iterator[Finding]:
    """Tell that there is no cluster."""
    yield wrong("Kubernetes", str(error), "set k8s.kubeconfig, or run in a Pod with an account")
