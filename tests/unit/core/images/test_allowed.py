import json
from pathlib import Path
from typing import Any

import pytest

from peitho.core.images.allowed import AllowedBaseImages, AllowedImages
from peitho.core.images.base import BaseImage, NodeImages
from peitho.errors import Forbidden, InvalidArgument
from peitho.formats.images import references
from peitho.program import options
from peitho.settings.live import Live
from peitho.settings.models import Settings
from tests.support.contexts import context
from tests.support.docker_double import Dockerd
from tests.support.in_process import Running, running

MIRROR = {"fabric-ccenv": "mirror.local/x/builder@sha256:" + "0" * 64, "acme/*": "mirror.local/a/*"}
# As core.yaml names them, from Fabric 1.4 to 3.1, and as mirrors do.
FABRICS = [
    "hyperledger/fabric-ccenv:2.5",
    "hyperledger/fabric-ccenv",
    "docker.io/hyperledger/fabric-baseos:amd64-0.4.22",
    "hyperledger/fabric-baseimage:amd64-0.4.22",
    "ghcr.io/hyperledger/fabric-nodeenv:3.1",
    "127.0.0.1:5000/hyperledger/fabric-javaenv@sha256:" + "a" * 64,
]
OTHERS = [
    "ubuntu",
    "ubuntu:fabric-ccenv",
    "evil/not-fabric-ccenv",
    "fabric-ccenv.evil.example/x",
    "docker.io/library/kubectl:latest",
    "registry.example/fabric-production/secrets:1",
    "registry.example/a/fabric-b/c",
]


def allowed(**settings: Any) -> AllowedImages:
    """What settings allow."""
    return AllowedImages(Live(options.allowed_images(Settings.model_validate(settings))))


@pytest.mark.parametrize("name", FABRICS)
def test_the_images_of_fabric_may_be_used(name: str) -> None:
    """
    From any registry.
    """
    allowed().check(name)


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_image_may_be_used(name: str) -> None:
    """
    Whatever of its name looks like Fabric's.
    """
    with pytest.raises(Forbidden, match=r"may not be used here.*access\.images"):
        allowed().check(name)


def test_what_a_rewrite_names_may_be_used() -> None:
    """
    On the left, as peers name it, and on the right.
    """
    check = allowed(images={"rewrite": MIRROR}).check
    for name in ("acme/builder:1", "mirror.local/a/builder", MIRROR["fabric-ccenv"]):
        check(name)
    for name in ("mirror.local/b/builder", "mirror.local/x/builder", "ubuntu"):
        with pytest.raises(Forbidden):
            check(name)


def test_a_list_of_the_operators_is_the_whole_list() -> None:
    """
    Fabric's own names are then not in it, nor the rewrite's.
    """
    only = allowed(access={"images": ["acme/*:1.0"]}, images={"rewrite": MIRROR})

    only.check("acme/builder:1.0")
    for name in (*FABRICS, "acme/builder:1.1", "acme/builder"):
        with pytest.raises(Forbidden):
            only.check(name)
    with pytest.raises(Forbidden):
        allowed(access={"images": []}).check(FABRICS[0])


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["a", "b.example/c:1"], []),
        ("*/x-*-y", ["a/x-b-y", "a/b/x-b/c-y"], ["a/x-y", "a/x-b-z", "b/c-x-a-y"]),
        ("b.example/*/c*:1.*", ["b.example/a/cd:1.2"], ["b.example/a/cd", "b.example/a/cd:2.1"]),
        ("*/aba*aba", ["x/abaaba", "x/abacaba"], ["x/aba", "x/ababa"]),
        ("builder", ["builder:1", "docker.io/library/builder"], ["x/builder", "builder2"]),
    ],
)
def test_a_pattern_may_have_several_stars(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    """
    Each stands for any text, and no text counts twice.
    """
    for name in matching:
        assert references.matches(pattern, references.parse(name)), name
    for name in others:
        assert not references.matches(pattern, references.parse(name)), name


def test_what_is_no_name_is_told_as_before() -> None:
    """
    In Docker's words.
    """
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        allowed().check("Bad Name")


@pytest.mark.parametrize("pattern", ["Bad Name", "", "a*b:c:d", "@sha256:1"])
def test_a_pattern_that_is_none_is_told(pattern: str) -> None:
    """
    When the settings are read.
    """
    assert references.pattern_problem(pattern)
    with pytest.raises(ValueError, match=r"access\.images"):
        Settings.model_validate({"access": {"images": [pattern]}}, by_alias=True)


async def told(peitho: Running, method: str, path: str, body: bytes | None = None) -> str:
    """The message of a refusal."""
    status, answer, _ = await peitho.ask(method, path, body=body)
    assert 403 == status
    return str(json.loads(answer)["message"])


async def test_every_call_that_names_an_image_is_held_to_it(tmp_path: Path) -> None:
    """
    A builder at its create, a runtime image in its Dockerfile, both when they are pulled.
    """
    create = b'{"Image": "ubuntu", "Cmd": ["id"]}'
    async with running(tmp_path, access={"images": None}) as peitho:
        for method, path, body in (
            ("POST", "/containers/create", create),
            ("POST", "/v1.44/images/create?fromImage=ubuntu&tag=24.04", None),
            ("POST", "/build?t=mycc", context("FROM ubuntu\nADD binpackage.tar /usr/local/bin\n")),
        ):
            assert "the image 'ubuntu" in await told(peitho, method, path, body)

        assert [] == peitho.services.builds.list()
        assert [] == peitho.services.images.list()
        status, *_ = await peitho.ask("POST", "/build?t=mycc", body=context())
        assert 200 == status


async def test_a_daemon_is_not_even_asked_for_another(tmp_path: Path) -> None:
    """
    It would pull it with the operator's account.
    """
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        async with running(tmp_path, daemon=docker, access={"images": None}) as peitho:
            await told(peitho, "POST", "/images/create?fromImage=ubuntu")
            await told(peitho, "POST", "/containers/create", b'{"Image": "ubuntu", "Cmd": ["id"]}')

        assert [] == daemon.asked("POST", "/images/create")


class Anything(NodeImages):
    """A place that has every image."""

    async def find(self, name: str) -> BaseImage | None:
        """It is there."""
        return BaseImage(name)


@pytest.mark.parametrize(("hides", "there"), [(False, True), (True, False)])
async def test_what_a_tenant_may_not_name_is_not_there(hides: bool, there: bool) -> None:  # noqa: FBT001
    """
    A daemon may have it for another. Where there are no tenants, it is told as it is.
    """
    patterns = Live(("*/fabric-*",))
    images = AllowedBaseImages(Anything(), AllowedImages(patterns, hides=hides))

    assert there == (await images.find("mirror.other/builder:1") is not None)
    assert there == (await images.find("sha256:" + "a" * 64) is not None)
    assert await images.find("mirror/fabric-ccenv:2.5") is not None
