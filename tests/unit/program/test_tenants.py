"""Tenants of a whole Peitho: their limits, their place, and what was there before them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from peitho.program import composition
from peitho.settings import changes
from peitho.settings.models import Settings
from tests.support.contexts import context, package
from tests.support.in_process import running
from tests.support.tenants import ACME, OTHER, Peer, served, settings_of, tenants_of

BUILDER = "hyperledger/fabric-ccenv:2.5"
OWN = "lab-peer0.acme-mycc-1"


def limited(folder: Path, directory: Path, **limits: int) -> Settings:
    """Settings in which `acme` has limits."""
    acme = {"limits": {name.replace("_", "-"): value for name, value in limits.items()}}
    access = {"images": ["*"], "tenants": tenants_of(acme=acme)}
    return settings_of(folder, directory, access=access)


async def created(peer: Peer) -> tuple[int, str]:
    """The answer to a build's create."""
    spec = {"Image": BUILDER, "Cmd": ["x"]}
    status, text = await peer.ask("POST", "/containers/create", json=spec)
    return status, json.loads(text).get("message", json.loads(text).get("Id", ""))


async def test_one_tenants_containers_take_nobody_elses_room(
    tmp_path: Path, certificates: Path
) -> None:
    """
    It is told how many it may have, and what to do; a limit that is raised counts at once.
    """
    folder = certificates / "ours"
    settings = limited(folder, tmp_path, containers=1)
    async with (
        served(tmp_path, folder, settings) as peitho,
        peitho.peer(ACME) as acme,
        peitho.peer(OTHER) as other,
    ):
        status, made = await created(acme)
        assert 201 == status
        status, told = await created(acme)
        assert (507, True) == (status, "limits.containers of access.tenants" in told)
        assert [201, 201] == [(await created(other))[0] for _ in range(2)]

        assert 204 == (await acme.ask("DELETE", f"/containers/{made}"))[0]
        assert 201 == (await created(acme))[0]

        shared = peitho.tenants["acme"].shared
        wanted = limited(folder, tmp_path, containers=2)
        shared.follow(changes.change(shared.settings.now, wanted).settings)
        assert 201 == (await created(acme))[0]


async def test_one_tenants_uploads_are_as_large_as_it_may(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Into a build, and into an image; another's are as large as all may be.
    """
    folder = certificates / "ours"
    settings = limited(folder, tmp_path, upload_bytes=20_000)
    large = context(binpackage=package(bytes(50_000)))
    async with (
        served(tmp_path, folder, settings) as peitho,
        peitho.peer(ACME) as acme,
        peitho.peer(OTHER) as other,
    ):
        for peer, name, status in ((acme, "acme", 400), (other, "other", 200)):
            image = f"/build?t=lab-peer0.{name}-mycc-1"
            answered, told = await peer.ask("POST", image, data=large)
            assert status == answered, told
            _, build = await created(peer)
            upload = f"/containers/{build}/archive?path=%2Fchaincode%2Finput"
            answered, told = await peer.ask("PUT", upload, data=large)
            assert status == answered, told
            assert status == 200 or "20000" in told
        assert 200 == (await acme.ask("POST", f"/build?t={OWN}", data=context()))[0]


async def test_one_tenants_store_is_as_large_as_it_may(tmp_path: Path, certificates: Path) -> None:
    """
    An image past it is refused, and told why; there is room again once one is removed.
    """
    folder = certificates / "ours"
    settings = limited(folder, tmp_path, stored_bytes=100_000)
    async with served(tmp_path, folder, settings) as peitho, peitho.peer(ACME) as acme:

        async def build(name: str, content: bytes) -> tuple[int, str]:
            body = context(binpackage=package(content))
            return await acme.ask("POST", f"/build?t=lab-peer0.acme-{name}", data=body)

        assert 200 == (await build("a", b"a" * 60_000))[0]
        status, told = await build("b", b"b" * 60_000)
        assert (507, True) == (status, "limits.stored-bytes of access.tenants" in told)
        assert 404 == (await acme.ask("GET", "/images/lab-peer0.acme-b/json"))[0]
        assert 200 == (await acme.ask("DELETE", "/images/lab-peer0.acme-a"))[0]
        assert 200 == (await build("b", b"b" * 60_000))[0]


@pytest.mark.parametrize("name", ["default", "acme"])
async def test_what_was_there_before_is_of_default_or_is_moved(
    tmp_path: Path, certificates: Path, name: str
) -> None:
    """
    As the guide has it: one tenant keeps the name, or the files go below its own.
    """
    async with running(tmp_path) as before:
        status, _, _ = await before.ask("POST", f"/build?t={OWN}", body=context())
        assert 200 == status

    folder, data = certificates / "ours", tmp_path / "data"
    if name != "default":
        place = data / "tenants" / name
        place.mkdir(parents=True)
        for moved in ("images", "blobs", "builds", "usage.json"):
            if (data / moved).exists():
                shutil.move(data / moved, place)
    tenant: dict[str, Any] = {
        "match": [{"cn": "admin"}],
        "msp-ids": ["AcmeMSP"],
        "networks": ["lab"],
        "peers": ["peer*.acme"],
    }
    access = {"images": ["*"], "tenants": {name: tenant}}
    settings = settings_of(folder, tmp_path, access=access)
    async with served(tmp_path, folder, settings) as peitho, peitho.peer(ACME) as acme:
        assert 200 == (await acme.ask("GET", f"/images/{OWN}/json"))[0]
        (image,) = json.loads((await acme.ask("GET", "/images/json"))[1])
        assert [f"{OWN}:latest"] == image["RepoTags"]


async def test_builders_are_no_chaincode_images_of_tenants(
    tmp_path: Path, certificates: Path
) -> None:
    """
    In a registry, they are where nodes would pull them with Peitho's account.
    """
    registry = {"server-address": "r.io:5000", "project": "chaincode"}
    settings = settings_of(
        certificates / "ours",
        tmp_path,
        peitho={"imageMode": "registry"},
        docker={"registry": registry},
    )
    spec = {"Image": "", "Cmd": ["x"]}
    async with served(tmp_path, certificates / "ours", settings) as peitho:
        assert "chaincode/acme" == peitho.tenants["acme"].settings.now.docker.registry.project
        async with peitho.peer(OTHER) as other:
            for image, expected in (
                (f"r.io:5000/chaincode/acme/{OWN}", 403),
                (f"r.io:5000/chaincode/acme/{OWN}:latest", 403),
                (f"r.io:5000/chaincode/lab-peer0.org0-x-{'a' * 64}", 403),
                ("r.io:5000/chaincode/fabric-ccenv:2.5", 201),
                (BUILDER, 201),
            ):
                status, _ = await other.ask(
                    "POST", "/containers/create", json=spec | {"Image": image}
                )
                assert expected == status, image


def test_each_tenant_has_a_key_of_its_own(tmp_path: Path, certificates: Path) -> None:
    """
    The authority of the delivery listener is all's.
    """
    settings = settings_of(certificates / "ours", tmp_path)
    composition.make_data_directory(settings)
    data = tmp_path / "data"

    keys = {path.read_bytes() for path in data.glob("**/delivery.key")}
    assert 3 == len(keys)
    assert [data / "delivery-ca.json"] == list(data.glob("**/delivery-ca.json"))
