import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from peitho.formats.kubernetes import labels
from peitho.program.checks import outside
from peitho.settings.models import Settings
from tests.support import manifests
from tests.support.check_findings import brief, gathered
from tests.support.docker_double import Dockerd, always, refusal
from tests.support.kubernetes_double import ApiServer
from tests.support.registry_double import USER, RegistryDouble, says


def with_registry(double: RegistryDouble, **more: Any) -> Settings:
    """Settings of registry mode, with the account."""
    registry = {
        "server-address": double.address,
        "project": "chaincode",
        "username": USER.username,
        "password": USER.password,
        "insecure": True,
    }
    return Settings.model_validate(
        {"peitho": {"imageMode": "registry"}, "docker": {"registry": registry | more}}
    )


async def test_a_registry_is_tried_by_pushing_and_pulling() -> None:
    """
    What was pushed is deleted, where the registry does that.
    """
    async with RegistryDouble.start(auth="bearer") as double:
        (only,) = await gathered(outside.registry(with_registry(double)))
        assert ("registry", "ok") == (only.name, only.status)
        assert {} == double.repository("chaincode/peitho-check").manifests

        double.script("DELETE", "manifest", says(405))
        (only,) = await gathered(outside.registry(with_registry(double)))
        assert "it deletes nothing" in only.said


async def test_a_registry_that_takes_nothing_is_told() -> None:
    """
    With its own words, and without the password.
    """
    async with RegistryDouble.start(auth="basic") as double:
        (only,) = await gathered(outside.registry(with_registry(double, password="0" * 9)))

    assert "wrong" == only.status
    assert "401" in only.said
    assert "0" * 9 not in only.said


async def version(_: web.Request) -> web.StreamResponse:
    """What a daemon tells of itself."""
    return web.json_response({"Version": "28.5.2", "ApiVersion": "1.51"})


async def test_a_daemon_is_asked_for_its_version(tmp_path: Path) -> None:
    """
    One that is away is wrong, one without TLS on a network a warning.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        for endpoint, status in ((daemon.endpoint, "ok"), ("tcp://10.0.0.1:2375", "warning")):
            settings = Settings.model_validate({"docker": {"endpoint": endpoint}})
            daemon.script("GET", "/version", version)
            found = await gathered(outside.daemon(settings, docker))
            assert [("Docker daemon", status)] == brief(found)
        daemon.script("GET", "/version", always(lambda: refusal(500, "no")))
        (only,) = await gathered(outside.daemon(settings, docker))
    assert ("wrong", "no") == (only.status, only.said)


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1:peer0",)])
async def test_each_peer_that_is_known_is_connected_to(
    tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    """
    By its address, or where `k8s.dns` says that it is.
    """
    settings = Settings.model_validate({"k8s": {"dns": list(hosts)}})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = "peer0" if hosts else "127.0.0.1"
        address = f"{host}:{listening.getsockname()[1]}"
        async with ApiServer.start() as double, double.client(tmp_path) as kubernetes:
            assert [("peers", "ok")] == brief(await gathered(outside.peers(settings, kubernetes)))
            for name, peer in (("a", address), ("b", "127.0.0.1:1"), ("c", address)):
                secret = manifests.record()
                secret["metadata"]["name"] = name
                secret["metadata"]["annotations"][labels.PEER] = peer
                double.make(f"secrets/{name}", secret)

            found = await gathered(outside.peers(settings, kubernetes))

    assert {(address, "ok"), ("127.0.0.1:1", "wrong")} == {
        (each.said.partition(" ")[0], each.status) for each in found
    }
