import time
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from peitho.errors import Unavailable
from peitho.formats.kubernetes.rights import RIGHTS
from peitho.program.checks import cluster
from peitho.settings.models import Settings
from tests.support.check_findings import brief, gathered
from tests.support.kubernetes_double import ApiServer, answer, refusal


def tells(double: ApiServer, version: str, *, apart_seconds: float = 0.0) -> None:
    """Have the API server tell its version and its clock."""

    async def about(_: web.Request) -> web.StreamResponse:
        date = formatdate(time.time() + apart_seconds, usegmt=True)
        return web.json_response({"gitVersion": version}, headers={"Date": date})

    double.rule("GET", "", about)


def allows(double: ApiServer, *missing: str) -> None:
    """Have it allow all rights but these."""

    async def review(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["spec"]["resourceAttributes"]
        sub = f"/{asked['subresource']}" if "subresource" in asked else ""
        right = f"{asked['verb']} {asked['resource']}{sub}"
        assert "ns" == asked["namespace"]
        return answer({"status": {"allowed": right not in missing}}, status=201)

    double.rule("POST", "", review)


@pytest.mark.parametrize(
    ("version", "apart_seconds", "expected"),
    [
        ("v1.35.4", 0.0, [("Kubernetes", "ok"), ("clock", "ok")]),
        ("v1.35.4", 120.0, [("Kubernetes", "ok"), ("clock", "wrong")]),
        ("v1.20.0+k3s1", -5.0, [("Kubernetes", "warning"), ("clock", "ok")]),
        ("odd", -500.0, [("Kubernetes", "warning"), ("clock", "wrong")]),
    ],
)
async def test_version_and_clock_are_told(
    tmp_path: Path, version: str, apart_seconds: float, expected: list[tuple[str, str]]
) -> None:
    """
    By what each answer of the API server has in its head.
    """
    async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:
        tells(double, version, apart_seconds=apart_seconds)

        assert expected == brief(await gathered(cluster.answers(kubernetes)))


async def test_each_right_that_is_missing_has_its_line(tmp_path: Path) -> None:
    """
    With what it is for; without some, things are told later only.
    """
    async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:
        allows(double, "create jobs", "get pods/log", "watch events")

        found = await gathered(cluster.may_do_its_work(kubernetes))

    assert ["wrong", "warning", "wrong"] == [each.status for each in found]
    assert "may not get pods/log in ns: what a chaincode says" in found[0].said
    assert "may not create jobs in ns" in found[2].said


async def test_all_rights_are_one_line(tmp_path: Path) -> None:
    """
    Each of them was asked for.
    """
    async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:
        allows(double)

        assert [("rights", "ok")] == brief(await gathered(cluster.may_do_its_work(kubernetes)))
        assert len(RIGHTS) == double.count("POST", "")


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot',
            "Pod Security",
        ),
        ('pods "x" is forbidden: exceeded quota: q, requested: pods=1', "quota"),
        ('pods "x" is forbidden: failed quota: q: must specify limits.cpu', "quota"),
        ("pods is forbidden: maximum memory usage per Container is 1Mi", "LimitRange"),
        (
            "requests: Invalid value: must be less than or equal to memory limit of 1Mi",
            "LimitRange",
        ),
        ('namespaces "ns" not found', "namespace"),
        ("admission webhook denied the request: no", "admission"),
    ],
)
async def test_what_keeps_pods_out_is_named(tmp_path: Path, message: str, name: str) -> None:
    """
    In the API server's own words, with what to do.
    """
    async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:

        async def refuse(_: web.Request) -> web.StreamResponse:
            return refusal(403, "Forbidden", message)

        double.rule("POST", "pods", refuse)
        found = await gathered(cluster.takes_its_pods(Settings(), kubernetes))

    assert [(name, "wrong")] * 2 == brief(found)
    assert all(message in each.said and each.do for each in found)


async def test_templates_are_checked_by_themselves(tmp_path: Path) -> None:
    """
    One that changes what Peitho relies on is told with its key.
    """
    template = {"spec": {"restartPolicy": "Always"}}
    settings = Settings.model_validate({"chaincode": {"template": template}})
    async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:
        found = await gathered(cluster.takes_its_pods(settings, kubernetes))

    assert [("admission", "ok"), ("admission", "ok"), ("templates", "wrong")] == brief(found)
    assert "chaincode.template: " in found[2].said


@pytest.mark.parametrize(
    ("admits", "status", "said"),
    [
        ("all", "ok", "which is admitted in ns"),
        ("inside", "ok", "in a user namespace"),
        ("others", "wrong", "runAsNonRoot"),
    ],
)
async def test_the_user_0_of_an_image_has_its_line(
    tmp_path: Path, admits: str, status: str, said: str
) -> None:
    """
    Admitted as it is, admitted in a user namespace, or refused.
    """
    async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:

        async def decide(request: web.Request) -> web.StreamResponse:
            spec = (await request.json())["spec"]
            root, inside = spec["securityContext"]["runAsUser"] == 0, "hostUsers" in spec
            if root and not (admits == "all" or (admits == "inside" and inside)):
                return refusal(403, "Forbidden", 'violates PodSecurity "r": runAsNonRoot != true')
            return answer({}, status=201)

        double.rule("POST", "pods", decide)
        settings = Settings.model_validate({"builder": {"users": {"*javaenv*": 0}}})
        found = await gathered(cluster.takes_its_pods(settings, kubernetes))

    (line,) = [each for each in found if each.name == "user 0"]
    assert status == line.status
    assert said in line.said
    assert "*javaenv*" in line.said


def test_no_cluster_is_one_line() -> None:
    """
    With its cause.
    """
    (only,) = cluster.unreachable(Unavailable("No Kubernetes: why"))

    assert ("Kubernetes", "wrong", "No Kubernetes: why") == (only.name, only.status, only.said)
