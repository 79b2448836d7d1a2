"""The operator's part of Pods: templates, overrides, other images, and what the peer allows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.machine import LabError
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import pods

SIDECAR = {
    "name": "sidecar",
    "image": "hyperledger/fabric-baseos:2.5",
    "command": ["sleep", "60"],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    },
}
SETTINGS: dict[str, Any] = {
    "images": {"rewrite": {"mirror.example/*": "hyperledger/*"}},
    "chaincode": {
        "template": {
            "metadata": {"annotations": {"team": "everyone"}},
            "spec": {"containers": [{"name": "chaincode", "env": [{"name": "TZ", "value": "A"}]}]},
        },
        "overrides": [
            {
                "match": {"mspId": "Org1MSP", "label": "asset*"},
                "template": {
                    "metadata": {"annotations": {"team": "assets"}},
                    "spec": {"containers": [SIDECAR]},
                },
            }
        ],
    },
    "builder": {"template": {"metadata": {"annotations": {"team": "builds"}}}},
}
DOCKERFILE = "FROM mirror.example/fabric-baseos:2.5\nADD binpackage.tar /usr/local/bin\n"
SCRIPT = b'#!/bin/sh\necho "TZ is $TZ"; df -k /dev/shm | tail -1; sleep 60\n'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fitted(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """A Peitho with the templates above, in a namespace with `enforce=restricted`."""
    folder = tmp_path_factory.mktemp("templates")
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **SETTINGS) as running,
    ):
        yield running


@beside
async def test_chaincode_is_launched_as_the_templates_have_it(fitted: Peitho) -> None:
    """
    One for all, one for those that it names, and an image from elsewhere.
    """
    async with Calls.to(fitted) as calls:
        package = archive({"chaincode": (0o755, SCRIPT)})
        assert 200 == (await calls.build("image", context(package, DOCKERFILE))).status
        for name, label in (("plain", "other_1"), ("asset", "asset_1")):
            body = {
                "Image": "image",
                "Cmd": ["chaincode"],
                "Env": [f"CORE_CHAINCODE_ID_NAME={label}:ab", "CORE_PEER_LOCALMSPID=Org1MSP"],
                "HostConfig": {"ShmSize": 2**23, "NanoCpus": 500_000_000, "CpuShares": 2},
            }
            created = await calls.call(
                "POST", "/containers/create", params={"name": name}, json=body
            )
            assert 201 == created.status, created
            assert 204 == (await calls.start(name)).status

        (plain,), (asset,) = pods(fitted, "plain"), pods(fitted, "asset")
        assert ("everyone", "assets") == tuple(
            each["metadata"]["annotations"]["team"] for each in (plain, asset)
        )
        of_plain = {each["name"]: each for each in plain["spec"]["containers"]}
        of_asset = {each["name"] for each in asset["spec"]["containers"]}
        assert ["chaincode"] == list(of_plain)
        assert {"sidecar"} == of_asset - of_plain.keys()
        main = of_plain["chaincode"]
        assert "hyperledger/fabric-baseos:2.5" == main["image"]
        assert ("500m", "2m") == tuple(
            main["resources"][each]["cpu"] for each in ("limits", "requests")
        )
        logs = ("logs", plain["metadata"]["name"])
        said = await asyncio.to_thread(fitted.kubectl, *logs)
        assert "TZ is A" in said
        assert " 8192 " in said
        for name in ("plain", "asset"):
            assert 204 == (await calls.stop(name)).status
            assert 204 == (await calls.remove(name)).status


@beside
async def test_a_build_runs_as_its_template_has_it(fitted: Peitho) -> None:
    """
    Nothing else about it is different.
    """
    async with Calls.to(fitted) as calls:
        build = await calls.create_build("sleep 1")
        assert 204 == (await calls.start(build)).status
        teams = {each["metadata"]["annotations"].get("team") for each in fitted.objects("pods")}
        assert 0 == await calls.wait(build)
        await calls.remove(build)

    assert "builds" in teams


@beside
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"nodeSelektor": {"a": "b"}}, 'unknown field "spec.nodeSelektor"'),
        ({"hostNetwork": True}, "violates PodSecurity"),
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"containers": [{"name": "sidecar"}]}, "spec.containers[0].image: Required value"),
        ({"restartPolicy": "Always"}, "may not change spec.restartPolicy"),
    ],
)
async def test_a_template_that_the_cluster_refuses_ends_peitho_at_once(
    cluster: Cluster, fitted: Peitho, tmp_path: Path, spec: dict[str, Any], words: str
) -> None:
    """
    With the API server's own words, before a peer is answered.
    """
    with pytest.raises(LabError) as raised:
        async with Peitho.start(
            cluster, fitted.namespace, tmp_path, chaincode={"template": {"spec": spec}}
        ):
            pass

    assert "chaincode.template: " in str(raised.value)
    assert words in str(raised.value)
