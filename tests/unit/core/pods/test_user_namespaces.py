"""User namespaces, before a double of the API server that admits what a test says."""

import json
from pathlib import Path

import pytest
from aiohttp import web

from peitho.core.pods import user_namespaces
from peitho.formats.kubernetes.objects import Manifest
from tests.support.kubernetes_double import ApiServer, answer, refusal

REFUSED = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
ROOT: Manifest = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "x"},
    "spec": {"securityContext": {"runAsUser": 0}, "containers": [{"name": "a"}]},
}
JOB: Manifest = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "x"},
    "spec": {"backoffLimit": 0, "template": {"metadata": {}, "spec": ROOT["spec"]}},
}


async def asked_for(
    tmp_path: Path, made: Manifest, *, admits: str, words: str = REFUSED
) -> tuple[Manifest, list[bool]]:
    """What is made of a manifest, and whether each Pod that was asked about had a namespace."""
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:

        async def decide(request: web.Request) -> web.StreamResponse:
            inside = (await request.json())["spec"].get("hostUsers") is False
            if admits == "all" or (admits == "inside" and inside):
                return answer({}, status=201)
            return refusal(403, "Forbidden", words)

        server.rule("POST", "pods", decide)
        found = await user_namespaces.suited(kubernetes, made)
    bodies = [json.loads(body) for _, _, _, body in server.requests]
    return found, ["hostUsers" in each["spec"] for each in bodies]


@pytest.mark.parametrize("made", [ROOT, JOB], ids=["pod", "job"])
async def test_a_user_0_that_is_refused_gets_a_namespace(tmp_path: Path, made: Manifest) -> None:
    """
    The Pod of a build, or of a Job; all else is as it was.
    """
    found, asked = await asked_for(tmp_path, made, admits="inside")

    spec = found["spec"] if made is ROOT else found["spec"]["template"]["spec"]
    assert {**ROOT["spec"], "hostUsers": False} == spec
    assert [False, True] == asked
    assert found["spec"].keys() >= made["spec"].keys()


@pytest.mark.parametrize(
    ("admits", "words", "times"), [("all", "", 1), ("none", REFUSED, 2), ("none", "quota: q", 1)]
)
async def test_any_other_is_made_as_it_is(
    tmp_path: Path, admits: str, words: str, times: int
) -> None:
    """
    One that is admitted, that is refused in any case, or that is refused for something else.
    """
    found, asked = await asked_for(tmp_path, ROOT, admits=admits, words=words)

    assert ROOT is found
    assert times == len(asked)


@pytest.mark.parametrize(
    "spec",
    [
        {"securityContext": {"runAsUser": 500}, "containers": []},
        {"securityContext": {"runAsNonRoot": True}, "containers": [{}]},
        {"securityContext": {"runAsUser": 0}, "containers": [], "hostUsers": True},
    ],
)
async def test_nothing_is_asked_for_others(tmp_path: Path, spec: Manifest) -> None:
    """
    Other users, and a template that says which users the Pod has on the node.
    """
    made = ROOT | {"spec": spec}

    assert (made, []) == await asked_for(tmp_path, made, admits="none")
