import dataclasses
import json
from pathlib import Path

import pytest

from peitho.core.pods import template_check
from peitho.errors import TemplateRefused
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.templates import TemplateOverride
from tests.support.kubernetes_double import ApiServer, always, answer, refusal
from tests.support.manifests import SETTINGS
from tests.support.restricted import violations

SELECTOR = {"spec": {"nodeSelector": {"disk": "ssd"}}}


async def tried(
    directory: Path, builder: PodOptions, chaincode: PodOptions, *, refused: int = 0
) -> list[Manifest]:
    """The Pods that the API server is asked about, while it refuses the first of them."""
    async with ApiServer.start() as server, server.client(directory) as kubernetes:
        no = always(lambda: refusal(403, "Forbidden", "no: x"))
        yes = always(lambda: answer({}))
        server.script("POST", "pods", *[no] * refused, *[yes] * 4)
        await template_check.check(
            kubernetes, template_check.template_checks(builder=builder, chaincode=chaincode)
        )
    for _, _, query, _ in server.requests:
        assert {"dryRun": "All", "fieldValidation": "Strict"} == query
    return [json.loads(body) for _, _, _, body in server.requests]


def using(template: Manifest, *overrides: Manifest) -> PodOptions:
    """Settings with a template, and overrides for nobody in particular."""
    found = tuple(TemplateOverride("Org9MSP", "none", each) for each in overrides)
    return dataclasses.replace(SETTINGS, template=template, overrides=found)


async def test_without_templates_nothing_is_asked(tmp_path: Path) -> None:
    """
    A start does not wait for the cluster then.
    """
    assert [] == await tried(tmp_path, SETTINGS, SETTINGS)


async def test_whole_pods_are_asked_about(tmp_path: Path) -> None:
    """
    One of a build and one of a chaincode, as they will be but for their names and owners.
    """
    build, chaincode = await tried(tmp_path, using(SELECTOR), using(SELECTOR))

    for pod in (build, chaincode):
        assert ("Pod", "peitho-template") == (pod["kind"], pod["metadata"]["name"])
        assert "ownerReferences" not in pod["metadata"]
        assert {"disk": "ssd"} == pod["spec"]["nodeSelector"]
        assert [] == violations(pod["spec"])


def test_chaincodes_pod_is_offered_as_it_is_launched() -> None:
    """
    With the puller beside it, whose requests a quota counts.
    """
    beside = dataclasses.replace(SETTINGS, puller_beside=True)

    pod = template_check.plain_pods(builder=SETTINGS, chaincode=beside)["chaincode"]

    assert ["puller", "chaincode"] == [each["name"] for each in pod["spec"]["containers"]]


async def test_an_override_is_asked_about_with_what_it_goes_over(tmp_path: Path) -> None:
    """
    Whomever it is for.
    """
    other = {"spec": {"priorityClassName": "high"}}
    template, override = (
        pod["spec"] for pod in await tried(tmp_path, SETTINGS, using(SELECTOR, other))
    )

    assert "priorityClassName" not in template
    assert ("high", {"disk": "ssd"}) == (override["priorityClassName"], override["nodeSelector"])


async def test_what_the_api_server_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    """
    With the template's key; the same Pod without the template was taken.
    """
    with pytest.raises(TemplateRefused, match=r"^builder\.template: .*no: x$"):
        await tried(tmp_path, using(SELECTOR), SETTINGS, refused=1)


async def test_what_is_refused_without_the_template_too_is_not_its_fault(tmp_path: Path) -> None:
    """
    A quota that is used up keeps nobody from starting.
    """
    assert 2 == len(await tried(tmp_path, using(SELECTOR), SETTINGS, refused=2))


async def test_what_peitho_relies_on_is_told_with_the_key(tmp_path: Path) -> None:
    """
    Of every template at once, and the API server is not asked.
    """
    broken = {"spec": {"restartPolicy": "Always"}}

    with pytest.raises(TemplateRefused) as raised:
        await tried(tmp_path, using(broken), using({}, SELECTOR, broken))

    assert [
        f"{key}: a template may not change spec.restartPolicy, which Peitho relies on"
        for key in ("builder.template", "chaincode.overrides.1.template")
    ] == str(raised.value).splitlines()
