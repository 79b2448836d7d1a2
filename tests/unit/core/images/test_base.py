import base64
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from aiohttp import web

from peitho.clients.docker import Docker, DockerError
from peitho.clients.registry.registries import RegistryAccount
from peitho.core.images.base import BaseImage, DaemonImages, DaemonImagesOptions, NodeImages
from peitho.errors import InvalidArgument, NotFound, PeithoError
from peitho.formats.docker.registry_auth import RegistryAuth, RegistryAuths
from peitho.settings.live import Live
from tests.support.accounts import account
from tests.support.docker_double import CCENV, Dockerd, always, refusal


def images_of(
    docker: Docker,
    server: str = "",
    robot: RegistryAccount | None = None,
    rewrite: Mapping[str, str] = MappingProxyType({}),
) -> DaemonImages:
    """The images of a daemon."""
    return DaemonImages(docker, robot or account(), Live(DaemonImagesOptions(server, rewrite)))


async def test_for_nodes_a_pull_is_a_note() -> None:
    """
    Under whatever form of the name a peer asks for it later.
    """
    images = NodeImages()
    said = await images.pull("docker.io/hyperledger/fabric-ccenv:2.5")

    assert "hyperledger/fabric-ccenv:2.5 is pulled by the node that first needs it" == said
    name = "hyperledger/fabric-ccenv:2.5"
    assert BaseImage(name) == await images.find(name)
    assert await images.find("hyperledger/fabric-ccenv:3.1") is None
    assert await images.find("Not A Name") is None
    await images.require("hyperledger/fabric-ccenv:3.1")
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        await images.pull("Not A Name")


async def test_of_very_many_names_the_last_are_known() -> None:
    """
    They are callers' words, and cost nobody anything.
    """
    images = NodeImages()
    for number in (*range(1000), 0, 1000):
        await images.pull(f"image:{number}")

    assert [True, False, True] == [
        await images.find(f"image:{number}") is not None for number in (0, 1, 2)
    ]


async def test_a_daemon_is_asked_for_its_images(tmp_path: Path) -> None:
    """
    What it does not have is missing in Docker's words, so that tools pull it.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        images = images_of(docker)

        found = await images.find("ccenv")
        assert (
            BaseImage("ccenv:latest", id="sha256:cc", architecture="arm64", size_bytes=5) == found
        )
        assert await images.find("nodeenv") is None
        assert await images.find("Not A Name") is None
        await images.require("ccenv")
        with pytest.raises(NotFound, match=r"^No such image: nodeenv:latest$"):
            await images.require("nodeenv")


async def test_chaincode_images_of_a_daemon_are_none_of_ours(tmp_path: Path) -> None:
    """
    A peer that used the daemon before would think that it need not build.
    """
    labels = {"org.hyperledger.fabric.chaincode.type": "GOLANG"}
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        daemon.images["net-peer-cc"] = CCENV | {"Config": {"Labels": labels}}

        assert await images_of(docker).find("net-peer-cc") is None


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("hyperledger/fabric-ccenv:2.5", "docker.io/hyperledger/fabric-ccenv", "2.5"),
        ("ccenv", "docker.io/library/ccenv", "latest"),
        ("x.io:5/a:1@sha256:" + "0a" * 32, "x.io:5/a", "sha256:" + "0a" * 32),
    ],
)
async def test_a_daemon_pulls_by_full_name(
    tmp_path: Path, name: str, repository: str, tag: str
) -> None:
    """
    By digest where there is one; with no credentials where there are none.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        said = await images_of(docker).pull(name)

        assert [({"fromImage": repository, "tag": tag}, "")] == daemon.asked(
            "POST", "/images/create"
        )
    assert said.endswith(" is there")


async def test_credentials_go_to_their_own_registry(tmp_path: Path) -> None:
    """
    And to no other, whatever its name begins with.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        images = images_of(docker, "harbor.local:8099", account("robot", "secret"))
        for name in ("harbor.local:8099/p/a", "harbor.local:80991/p/a", "p/a", "harbor.local/a"):
            await images.pull(name)

        sent = [auth for _, auth in daemon.asked("POST", "/images/create")]
    assert {
        "username": "robot",
        "password": "secret",
        "serveraddress": "harbor.local:8099",
    } == json.loads(base64.urlsafe_b64decode(sent[0]))
    assert ["", "", ""] == sent[1:]


async def test_a_callers_account_goes_to_the_registry_that_it_names(tmp_path: Path) -> None:
    """
    In place of the operator's there, and to no other registry.
    """
    callers = {"x.io": RegistryAuth("x.io", "caller", "word")}
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        images = images_of(docker, "harbor.local", account("robot", "secret"))
        for name in ("x.io/a", "harbor.local/a", "y.io/a", "x.io:443/a", "a"):
            await images.pull(name, RegistryAuths(callers))
        await images.pull("x.io/a")

        sent = [auth for _, auth in daemon.asked("POST", "/images/create")]
    assert [("x.io", "caller"), ("harbor.local", "robot"), None, None, None, None] == [
        auth and (said["serveraddress"], said["username"]) if auth else None
        for auth in sent
        for said in [json.loads(base64.urlsafe_b64decode(auth or "bnVsbA=="))]
    ]


async def test_what_a_registry_repeats_of_an_account_is_not_told(tmp_path: Path) -> None:
    """
    The daemon passes its words on, to whoever reads the peer's log.
    """
    callers = RegistryAuths({"x.io": RegistryAuth("x.io", "caller", "pass-word")})
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        daemon.script("POST", "/images/create", always(lambda: refusal(500, "bad pass-word: no")))
        with pytest.raises(PeithoError, match=r"^bad \*\*\*: no$"):
            await images_of(docker).pull("x.io/a", callers)


async def test_nodes_pull_without_a_callers_account() -> None:
    """
    It is not kept until they do, and that is told.
    """
    callers = RegistryAuths({"x.io": RegistryAuth("x.io", "caller", "word")})
    images = NodeImages()

    assert (await images.pull("x.io/a", callers)).endswith("and not with this request's account")
    assert (await images.pull("y.io/a", callers)).endswith("by the node that first needs it")


@pytest.mark.parametrize(
    "address", ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"]
)
async def test_docker_hub_has_many_names(tmp_path: Path, address: str) -> None:
    """
    They are one registry.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        images = images_of(docker, address, account("robot", "secret"))
        await images.pull("hyperledger/fabric-ccenv:2.5")
        await images.pull("evil-docker.io/fabric-ccenv:2.5")

        hub, other = [auth for _, auth in daemon.asked("POST", "/images/create")]
    assert (True, "") == (bool(hub), other)


async def test_an_account_may_be_in_files(tmp_path: Path) -> None:
    """
    They are read at each pull.
    """
    name, password = tmp_path / "name", tmp_path / "password"
    name.write_text("robot")
    robot = account(username_file=name, password_file=password)
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        for each in ("first", "second"):
            password.write_text(each)
            await images_of(docker, "x.io/team", robot).pull("x.io/a")

        sent = [auth for _, auth in daemon.asked("POST", "/images/create")]
    assert ["first", "second"] == [
        json.loads(base64.urlsafe_b64decode(each))["password"] for each in sent
    ]


async def test_a_daemon_pulls_what_stands_for_an_image(tmp_path: Path) -> None:
    """
    Peers go on to ask by the name that they know.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        images = images_of(docker, rewrite={"hyperledger/*": "m.io/*"})

        assert await images.find("hyperledger/ccenv:1") is None
        assert "hyperledger/ccenv:1 is there" == await images.pull("hyperledger/ccenv:1")
        assert {"fromImage": "m.io/ccenv", "tag": "1"} == daemon.asked("POST", "/create")[0][0]
        found = await images.find("hyperledger/ccenv:1")
    assert found is not None
    assert "hyperledger/ccenv:1" == found.reference


async def test_a_pull_that_fails_is_told(tmp_path: Path) -> None:
    """
    By its status, or by a line of its progress.
    """
    line = b'{"status":"a"}\r\n{"errorDetail":{"message":"m"},"error":"unauthorized: m"}\r\n'
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        images = images_of(docker)
        daemon.script("POST", "/images/create", always(lambda: refusal(404, "pull access denied")))
        with pytest.raises(NotFound, match=r"^pull access denied$"):
            await images.pull("ccenv")

        async def progress(_: web.Request) -> web.StreamResponse:
            return web.Response(body=line)

        daemon.script("POST", "/images/create", progress)
        with pytest.raises(DockerError, match=r"^unauthorized: m$"):
            await images.pull("ccenv")
