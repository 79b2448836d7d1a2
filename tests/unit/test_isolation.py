"""
That what one tenant has does not exist for another: every route, whichever way it is asked for.

The calls are made from the table of routes, so a new one cannot be left out. Each is asked for what
is another's and for a twin that does not exist: the answers must be the same, byte for byte but for
the name. That they take the same time is so by construction: neither is looked for where the other
tenant's things are, which is told by the requests to the cluster.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from peitho.api import archives, attach, containers, delivery, images, routes, system
from peitho.clients.disk.build_cache import BuildCache, KeptBuild
from peitho.core.images.store import tagged
from peitho.core.pods.tokens import Holder, blob_scope
from peitho.formats.records import ContainerSpec
from tests.support.contexts import chunks, context
from tests.support.in_process import listening
from tests.support.tenants import ACME, OTHER, Peer, Served, served, settings_of, tenants_of

HASH = "ab" * 32
NAME = f"lab-peer0.acme-mycc_1-{HASH}"
IMAGE = f"{NAME}-{HASH}"
# As long, and nobody's.
TWIN_NAME = NAME.replace("mycc", "none")
TWIN_IMAGE = IMAGE.replace("mycc", "none")
BUILDER = "hyperledger/fabric-ccenv:2.5"

# What a route needs beside what it is about.
QUERIES: Mapping[object, tuple[str, ...]] = {
    archives.put: ("path=%2F", "path=%2Fchaincode%2Finput", ""),
    archives.get: ("path=%2Fchaincode%2Foutput%2F.", "path=%2F", ""),
    attach.attach: ("logs=1&stderr=1&stdout=1&stream=1", ""),
    containers.logs: ("stdout=1&follow=1", "stdout=1", ""),
    containers.inspect: ("", "size=1"),
    containers.stop: ("t=0", ""),
    containers.kill: ("", "signal=KILL"),
    containers.wait: ("", "condition=removed"),
    containers.remove: ("force=1", ""),
    images.remove: ("force=1", ""),
}
VERSIONS = ("", "/v1.44")
LENGTHS = (64, 12, 4, 1)

# Routes that are about nothing in particular, or about what their query or body names.
FIXED = {
    system.ping,
    system.version,
    system.info,
    containers.create,
    containers.list_all,
    images.build,
    images.list_all,
    images.pull,
}


FILTERS: tuple[Mapping[str, list[str]], ...] = (
    {"name": [NAME]},
    {"name": [f"^/{NAME}$"]},
    {"name": ["lab"]},
    {"status": ["created", "running", "exited"]},
    {"exited": ["0"]},
    {"label": ["peitho"]},
    {"ancestor": [IMAGE]},
    {"ancestor": [BUILDER]},
    {"ancestor": ["hyperledger/fabric-baseos:2.5"]},
)
IMAGE_FILTERS: tuple[Mapping[str, list[str]], ...] = (
    {"reference": [IMAGE]},
    {"reference": ["*"]},
    {"dangling": ["false"]},
    {"label": ["org.hyperledger.fabric.chaincode.type=GOLANG"]},
)
# Calls whose answers must not change by what another has.
LISTS = (
    "/_ping",
    "/version",
    "/info",
    "/containers/json",
    "/containers/json?all=1",
    "/containers/json?all=1&size=1&limit=5",
    *(f"/containers/json?all=1&filters={quote(json.dumps(each))}" for each in FILTERS),
    "/images/json",
    *(f"/images/json?filters={quote(json.dumps(each))}" for each in IMAGE_FILTERS),
)


@dataclass(frozen=True, slots=True)
class Thing:
    """What a tenant has, as it may be asked for, and a twin that nobody has."""

    asked: str
    twin: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A Peitho, what `acme` has there, and the peer of another tenant."""

    peitho: Served
    owner: Peer
    other: Peer
    before: Mapping[str, tuple[int, str]]
    containers: tuple[Thing, ...]
    images: tuple[Thing, ...]

    async def alike(self, method: str, path: str, thing: Thing, **body: Any) -> None:
        """Assert that the other tenant is told the same of a thing and of its twin."""
        answers = []
        for asked in (thing.asked, thing.twin):
            sent: Any = {key: _with(value, asked) for key, value in body.items()}
            # The head of an answer counts, too.
            url = self.other.url + path.replace("THING", quote(asked, safe=""))
            async with self.other.http.request(method, url, **sent) as response:
                headers = {key: value for key, value in response.headers.items() if key != "Date"}
                text = re.sub(_word(asked), "THING", await response.text())
                answers.append((response.status, headers, text))
        assert answers[0] == answers[1], (method, path, thing)
        assert answers[0][0] not in (200, 201, 204, 304) or "/images/create" in path, path


def _word(asked: str) -> str:
    """A pattern of a name as it is told: alone, and without a container's slash."""
    return rf"(?<!\w){re.escape(asked.removeprefix('/'))}(?!\w)"


def _with(value: object, asked: str) -> object:
    if isinstance(value, bytes):
        return value
    return json.loads(json.dumps(value).replace("THING", asked))


def _things(owned: str) -> Iterator[Thing]:
    """An ID in all ways: whole, and by its beginning."""
    twin = owned.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    for length in LENGTHS:
        yield Thing(owned[:length], twin[:length])


@asynccontextmanager
async def scene(tmp_path: Path, folder: Path, *, apart: bool) -> AsyncIterator[Scene]:
    """Tenants in namespaces of their own, or in one; `acme` has one of everything."""
    namespace = {"namespace": "acme-ns" if apart else ""}
    access = {"images": ["*"], "tenants": tenants_of(acme=namespace)}
    settings = settings_of(folder, tmp_path, access=access)
    async with (
        served(tmp_path, folder, settings) as peitho,
        peitho.peer(ACME) as owner,
        peitho.peer(OTHER) as other,
    ):
        before = {path: await other.ask("GET", path) for path in LISTS}
        assert 200 == (await owner.ask("POST", f"/build?t={IMAGE}", data=context()))[0]
        (image,) = json.loads((await owner.ask("GET", "/images/json"))[1])
        digits = image["Id"].removeprefix("sha256:")
        made = [
            json.loads((await owner.ask("POST", f"/containers/create{query}", json=spec))[1])["Id"]
            for query, spec in (
                (f"?name={NAME}", {"Image": IMAGE, "Cmd": ["x"]}),
                ("", {"Image": BUILDER, "Cmd": ["x"]}),
            )
        ]
        names = (Thing(NAME, TWIN_NAME), Thing(f"/{NAME}", f"/{TWIN_NAME}"))
        ids = [thing for thing in _things(digits) if len(thing.asked) >= 12]
        yield Scene(
            peitho,
            owner,
            other,
            before,
            (*names, *_things(made[0]), *_things(made[1])),
            (
                Thing(IMAGE, TWIN_IMAGE),
                Thing(f"{IMAGE}:latest", f"{TWIN_IMAGE}:latest"),
                *ids,
                *(Thing(f"sha256:{each.asked}", f"sha256:{each.twin}") for each in ids),
            ),
        )


def _ways(
    method: str, path: str, queries: Sequence[str], things: Sequence[Thing]
) -> Iterator[tuple[str, str, Thing]]:
    """
    Each thing in one way, and one of them in all ways: queries, HEAD, an API version.

    How it is named and how it is asked for are read by different code.
    """
    first, *others = things
    for query in queries:
        yield method, f"{path}?{query}", first
        for version in VERSIONS if method == "GET" else ():
            yield "HEAD", f"{version}{path}?{query}", first
    yield method, f"{VERSIONS[-1]}{path}?{queries[0]}", first
    for thing in others:
        yield method, f"{path}?{queries[0]}", thing


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "one namespace"])
async def test_nothing_of_another_tenant_exists(
    tmp_path: Path,
    certificates: Path,
    apart: bool,  # noqa: FBT001  pytest gives it by its name
) -> None:
    """
    By no route, name, ID or beginning of one, and nothing happens to it.
    """
    async with scene(tmp_path, certificates / "ours", apart=apart) as it:
        owned = [await it.owner.ask("GET", path) for path in LISTS]
        seen = len(it.peitho.cluster.requests)

        for method, path, handler, _ in routes.ROUTES:
            if handler in FIXED:
                continue
            things = it.images if "{name:.+}" in path else it.containers
            assert "{" in path, f"{path} is new: say in FIXED and below how it is asked"
            concrete = path.replace("{name:.+}", "THING").replace("{id}", "THING")
            for verb, where, thing in _ways(method, concrete, QUERIES.get(handler, ("",)), things):
                body = {"data": context()} if method == "PUT" else {}
                await it.alike(verb, where, thing, **body)

        asked = it.peitho.cluster.requests[seen:]
        if apart:
            assert not [each for each in asked if each[1].startswith("acme-ns:") and "/" in each[1]]
        assert owned == [await it.owner.ask("GET", path) for path in LISTS]


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "one namespace"])
async def test_no_list_count_or_filter_tells_of_another_tenant(
    tmp_path: Path,
    certificates: Path,
    apart: bool,  # noqa: FBT001  pytest gives it by its name
) -> None:
    """
    They are as they were before it had anything, and differ for whoever has it.
    """
    async with scene(tmp_path, certificates / "ours", apart=apart) as it:
        assert it.before == {path: await it.other.ask("GET", path) for path in it.before}
        for path in ("/info", "/containers/json?all=1", "/images/json"):
            assert it.before[path] != await it.owner.ask("GET", path)

        for thing in it.containers:
            for name in ("before", "since"):
                query = quote(json.dumps({name: ["THING"]})).replace(
                    "THING", thing.asked[:0] + "THING"
                )
                await it.alike("GET", f"/containers/json?all=1&filters={query}", thing)
                await it.alike("GET", f"/containers/json?all=1&{name}=THING", thing)
            for name in ("id", "name"):
                query = quote(json.dumps({name: ["THING"]}))
                ours = await it.other.ask(
                    "GET",
                    f"/containers/json?all=1&filters={query}".replace("THING", thing.asked),
                )
                assert (200, "[]\n") == ours
        for thing in it.images:
            for name in ("before", "since"):
                query = quote(json.dumps({name: ["THING"]}))
                await it.alike("GET", f"/images/json?filters={query}", thing)


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "one namespace"])
async def test_what_names_something_of_another_tenant_is_refused(
    tmp_path: Path,
    certificates: Path,
    apart: bool,  # noqa: FBT001  pytest gives it by its name
) -> None:
    """
    With the field, and the same whether or not it is there.
    """
    own = "lab-peer0.other-mycc-1"
    async with scene(tmp_path, certificates / "ours", apart=apart) as it:
        for version in VERSIONS:
            create = f"{version}/containers/create"
            spec = {"Image": "THING", "Cmd": ["x"]}
            for thing in it.images:
                await it.alike("POST", f"{create}?name={own}", thing, json=spec)
                await it.alike("POST", f"{version}/images/create?fromImage=THING", thing)
            for thing in it.images[:2]:
                await it.alike("POST", f"{version}/build?t=THING", thing, data=context())
            for thing in it.containers[:2]:
                anything = {"Image": own, "Cmd": ["x"]}
                await it.alike("POST", f"{create}?name=THING", thing, json=anything)

        answers = {
            "name": await it.other.ask(
                "POST", f"/containers/create?name={NAME}", json={"Image": own, "Cmd": ["x"]}
            ),
            "Image": await it.other.ask(
                "POST", f"/containers/create?name={own}", json={"Image": IMAGE, "Cmd": ["x"]}
            ),
            "t": await it.other.ask("POST", f"/build?t={IMAGE}", data=context()),
        } | {
            variable: await it.other.ask(
                "POST",
                f"/containers/create?name={name}",
                json={"Image": image, "Cmd": ["x"], "Env": [f"{variable}={value}"]},
            )
            for variable, value in (
                ("CORE_PEER_LOCALMSPID", "AcmeMSP"),
                ("CORE_PEER_ID", "peer0.acme"),
                ("CORE_PEER_NETWORKID", "net"),
            )
            for name, image in ((own, own), ("", BUILDER))
        }
        for field, (status, text) in answers.items():
            assert 403 == status, field
            assert json.loads(text)["message"].startswith(f"{field}: "), field


async def test_no_call_that_is_left_out_tells_of_another_tenant(
    tmp_path: Path, certificates: Path
) -> None:
    """
    501 is the answer, whatever it is about.
    """
    async with scene(tmp_path, certificates / "ours", apart=True) as it:
        for entry in routes.NOT_IMPLEMENTED:
            method, _, path = entry.partition(" ")
            thing = it.images[0] if "{name" in path else it.containers[0]
            concrete = path.replace("{name:.+}", "THING").replace("{id}", "THING")
            verb = "GET" if method == "*" else method
            await it.alike(verb, concrete.replace("{rest:.*}", "/THING"), thing)


async def test_a_wait_ends_by_ones_own_alone(tmp_path: Path, certificates: Path) -> None:
    """
    The other's wait, on an equal name, is for its own.
    """
    async with scene(tmp_path, certificates / "ours", apart=False) as it:
        spec = {"Image": BUILDER, "Cmd": ["x"]}
        _, text = await it.other.ask("POST", "/containers/create", json=spec)
        own = json.loads(text)["Id"]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(it.other.ask("POST", f"/containers/{own}/wait"))
            await asyncio.sleep(0.05)
            build = it.containers[-len(LENGTHS)].asked
            assert 204 == (await it.owner.ask("DELETE", f"/containers/{build}?force=1"))[0]
            assert not waiting.done()
            assert 204 == (await it.other.ask("DELETE", f"/containers/{own}?force=1"))[0]
        assert 200 == waiting.result()[0]


async def test_a_token_is_good_for_its_tenant_alone(tmp_path: Path, certificates: Path) -> None:
    """
    At the delivery listener, which all share: the tenant that it names is asked, and its key.
    """
    async with scene(tmp_path, certificates / "ours", apart=False) as it:
        parts = {name: each.services for name, each in it.peitho.tenants.items()}
        layer = parts["acme"].images.get(IMAGE).layer
        (secret,) = (name for name in it.peitho.cluster.objects if name.startswith("secrets/cc-"))
        holder = Holder(secret.removeprefix("secrets/"), it.containers[2].asked)
        tokens = {
            name: each.tokens.issue(blob_scope(layer), holder) for name, each in parts.items()
        }
        async with (
            listening(delivery.application(parts)) as url,
            aiohttp.ClientSession() as http,
        ):

            async def status(token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"}
                async with http.get(f"{url}/blobs/{layer}", headers=headers) as response:
                    return response.status

            assert 200 == await status(tokens["acme"])
            # Theirs, but of what they do not have.
            assert 404 == await status(tokens["other"])
            assert 403 == await status("x" + tokens["other"])
            for name in ("other", "default", "nobody", ""):
                assert 403 == await status(name + tokens["acme"].removeprefix("acme"))


async def test_what_was_compiled_for_a_tenant_is_given_to_its_builds_alone(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Also where both build the same, in the same image.
    """
    async with scene(tmp_path, certificates / "ours", apart=False) as it:
        runs = {}
        for name in ("acme", "other"):
            builds = it.peitho.services(name).builds
            build = builds.create(ContainerSpec(BUILDER, ("go", "build"), (), ()), peer="a")
            await build.put_archive("/chaincode/input", chunks(context()))
            builds.tasks.spawn(build.start(), name="start")
            await asyncio.sleep(0)
            runs[name] = builds.pool.get(build.id)
        (key,) = {run.compiled_key for run in runs.values()}
        made = tmp_path / "made"
        made.mkdir()
        for file in ("log", "result"):
            (made / file).write_bytes(b"compiled")
        kept = KeptBuild(hashlib.sha256(b"compiled").hexdigest(), "amd64", BUILDER, 1.0, 0.0)
        BuildCache(tmp_path / "data/tenants" / "acme" / "builds").keep(key, kept, made)

        given = {
            name: await it.peitho.services(name).builds.pool.compiled(run)
            for name, run in runs.items()
        }
        assert given["acme"] is not None
        assert b"compiled" == given["acme"].read_bytes()
        assert given["other"] is None


def test_every_route_is_in_the_matrix() -> None:
    """
    Whoever adds one says here what it is about.
    """
    about = {handler for _, path, handler, _ in routes.ROUTES if "{" in path}

    assert {handler for _, _, handler, _ in routes.ROUTES} == about | FIXED
    assert not about & FIXED
    assert QUERIES.keys() <= about
    assert f"{IMAGE}:latest" == tagged(IMAGE)
