import asyncio
import base64
import itertools
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from peitho.formats.images import oci
from tests.support.contexts import DOCKERFILE, context
from tests.support.docker_double import Dockerd, always, refusal
from tests.support.in_process import Running, running
from tests.support.registry_content import fabric
from tests.support.registry_double import USER, RegistryDouble
from tests.support.wire import wire

TYPE = 'org.hyperledger.fabric.chaincode.type="GOLANG"'
VERSION = 'org.hyperledger.fabric.version="2.5.16"'
NAME = "net-peer0.org1-mycc_1-0be83049"


async def ask(
    peitho: Running, method: str, path: str, body: bytes | None = None
) -> tuple[int, Any]:
    """Status and JSON of a call."""
    status, answer, headers = await peitho.ask(method, path, body=body)
    assert "application/json" == headers["Content-Type"]
    return status, json.loads(answer)


async def build(peitho: Running, name: str = NAME, body: bytes | None = None) -> list[str]:
    """Build an image; what the stream says."""
    sent = context() if body is None else body
    status, answer, headers = await peitho.ask("POST", f"/build?t={name}", body=sent)
    assert (200, "application/json") == (status, headers["Content-Type"])
    return [json.loads(line)["stream"] for line in answer.splitlines()]


async def test_a_build_answers_with_dockers_steps(tmp_path: Path) -> None:
    """
    The last line tells the name, as the peers' logs show it.
    """
    async with running(tmp_path) as peitho:
        said = await build(peitho)

    assert [
        "Step 1/4 : FROM hyperledger/fabric-baseos:2.5\n",
        "Step 2/4 : ADD binpackage.tar /usr/local/bin\n",
        f"Step 3/4 : LABEL {TYPE} {VERSION}\n",
        "Step 4/4 : ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16\n",
    ] == said[:4]
    assert said[4].startswith("Successfully built ")
    assert f"Successfully tagged {NAME}:latest\n" == said[5]


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("", context(), "the query parameter 't' is missing"),
        ("?t=Bad", context(), "invalid reference format"),
        ("?t=a&dockerfile=Other", context(), "only a Dockerfile of that name is read"),
        ("?t=a", b"", "not a whole tar archive"),
        ("?t=a", context(f"{DOCKERFILE}\nRUN id"), "Dockerfile line 6: `RUN id`"),
    ],
)
async def test_a_build_that_fails_is_a_status(
    tmp_path: Path, query: str, body: bytes, message: str
) -> None:
    """
    The newer peers do not read errors inside a 200 stream.
    """
    async with running(tmp_path) as peitho:
        status, answer = await ask(peitho, "POST", f"/v1.51/build{query}", body)

    assert 400 == status
    assert message in answer["message"]


def account(address: str) -> str:
    """A header with an account at a registry."""
    said = {"username": "caller", "password": PLANTED, "serveraddress": address}
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


PLANTED = "pass-of-the-caller"
CALLS = ("/images/create?fromImage=x.io/hyperledger/fabric-ccenv:2.5", f"/build?t={NAME}")


DAMAGED = (PLANTED, "e30", f"{account('x.io')}=", "W10=", PLANTED * 400, "=" * 7000)


@pytest.mark.parametrize("header", ["X-Registry-Auth", "X-Registry-Config"])
async def test_damaged_registry_credentials_are_400_and_told_to_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str
) -> None:
    """
    Junk, another padding, no object: neither answer nor log repeats it, and nothing is done.
    """
    async with running(tmp_path) as peitho:
        for value, call in itertools.product(DAMAGED, CALLS):
            status, body, _ = await peitho.ask("POST", call, body=context(), **{header: value})

            message = json.loads(body)["message"].partition(":")[0]
            assert (400, f"invalid {header} header") == (status, message), value
            assert value not in body.decode()
            logged = "".join(capsys.readouterr())
            assert "invalid X-Registry" in logged
            assert value[:15] not in logged.replace("peer=", "")
        assert [] == json.loads((await peitho.ask("GET", "/images/json"))[1])


def content_of(directory: Path) -> bytes:
    """All that is in the files of a directory."""
    return b"".join(each.read_bytes() for each in directory.rglob("*") if each.is_file())


async def test_registry_credentials_are_kept_and_told_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Neither in an answer, nor in the log, nor in a file, nor in the cluster.
    """
    auth = account("x.io")
    config = base64.urlsafe_b64encode(json.dumps({"docker.io": {"password": PLANTED}}).encode())
    said = b""
    async with running(tmp_path) as peitho:
        for call in CALLS:
            status, body, _ = await peitho.ask(
                "POST",
                call,
                body=context(),
                **{"X-Registry-Auth": auth, "X-Registry-Config": config.decode()},
            )
            assert 200 == status
            said += body
        said += (await peitho.ask("GET", f"/images/{NAME}/json"))[1]
        kept = await asyncio.to_thread(content_of, tmp_path)
        asked = b"".join(body for *_, body in peitho.cluster.requests)

    logged = capsys.readouterr()
    everything = said + kept + asked + (logged.out + logged.err).encode()
    for secret in (PLANTED, auth, config.decode()):
        assert secret.encode() not in everything


async def test_other_calls_go_on_while_a_builds_body_is_open(tmp_path: Path) -> None:
    """
    It comes when the compile is done, on other connections, minutes after its head.
    """
    body = context()
    async with running(tmp_path) as peitho, wire(peitho.api) as peer:
        peer.send(
            "POST",
            f"/v1.25/build?networkmode=bridge&t={NAME}",
            headers="Transfer-Encoding: chunked\r\nConnection: close\r\n",
            body=b"a\r\n" + body[:10] + b"\r\n",
        )
        status, _ = await ask(peitho, "GET", f"/images/{NAME}/json")
        assert 404 == status
        peer.send_more(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body) - 10, body[10:]))

        assert "200 OK" in await peer.head()
        assert b"Successfully tagged" in await peer.rest()


async def test_an_image_is_inspected_by_any_of_its_names(tmp_path: Path) -> None:
    """
    Bare, tagged, by ID.
    """
    async with running(tmp_path) as peitho:
        await build(peitho, "x.io/a/mycc")
        _, image = await ask(peitho, "GET", "/images/x.io/a/mycc/json")

        assert ["x.io/a/mycc:latest"] == image["RepoTags"]
        for name in ("x.io/a/mycc:latest", image["Id"]):
            assert (200, image) == await ask(peitho, "GET", f"/v1.51/images/{name}/json")
        assert 1 == len((await ask(peitho, "GET", "/images/json"))[1])


async def test_an_image_that_is_not_there_is_404_as_peers_match_it(tmp_path: Path) -> None:
    """
    By case.
    """
    async with running(tmp_path) as peitho:
        for method, path in (("GET", "/images/mycc/json"), ("DELETE", "/images/mycc")):
            assert (404, {"message": "No such image: mycc:latest"}) == await ask(
                peitho, method, path
            )


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ("fromImage=hyperledger/fabric-ccenv&tag=2.5", "hyperledger/fabric-ccenv:2.5"),
        ("fromImage=hyperledger/fabric-ccenv:2.5", "hyperledger/fabric-ccenv:2.5"),
        ("fromImage=x.io/a&tag=sha256:" + "0a" * 32, "x.io/a@sha256:" + "0a" * 32),
    ],
)
async def test_a_pull_is_left_to_the_nodes(tmp_path: Path, query: str, reference: str) -> None:
    """
    The peer's next question is answered as if it were there.
    """
    async with running(tmp_path) as peitho:
        assert 404 == (await ask(peitho, "GET", f"/images/{reference}/json"))[0]
        status, said = await ask(peitho, "POST", f"/images/create?{query}")
        found, image = await ask(peitho, "GET", f"/images/{reference}/json")

    assert 200 == status
    assert said["stream"].startswith(f"Status: {reference} is pulled by the node")
    assert (200, [reference]) == (found, image["RepoTags"])


async def test_with_a_daemon_a_pull_is_its_pull(tmp_path: Path) -> None:
    """
    What cannot be pulled is an error with a status, in the daemon's words.
    """
    async with (
        Dockerd.start(tmp_path) as daemon,
        daemon.client() as docker,
        running(tmp_path, daemon=docker) as peitho,
    ):
        assert (404, "No such image: a/b:1") == await told(peitho, "GET", "/images/a/b:1/json")
        status, said = await ask(peitho, "POST", "/images/create?fromImage=a%2Fb&tag=1")
        assert (200, "Status: a/b:1 is there\n") == (status, said["stream"])
        status, image = await ask(peitho, "GET", "/images/a/b:1/json")
        assert (200, "sha256:cc", "arm64") == (status, image["Id"], image["Architecture"])

        daemon.script("POST", "/images/create", always(lambda: refusal(500, "no route to host")))
        path = "/images/create?fromImage=a%2Fc&tag=1"
        assert (500, "no route to host") == await told(peitho, "POST", path)


async def told(peitho: Running, method: str, path: str) -> tuple[int, str]:
    """Status and message of a call that fails."""
    status, answer = await ask(peitho, method, path)
    return status, answer["message"]


async def test_a_pull_of_no_reference_is_400(tmp_path: Path) -> None:
    """
    As it is without a name.
    """
    async with running(tmp_path) as peitho:
        for query in ("fromImage=Bad%20Name", "tag=1"):
            assert 400 == (await ask(peitho, "POST", f"/images/create?{query}"))[0]


async def test_an_image_is_removed(tmp_path: Path) -> None:
    """
    Its name and its ID are told, as Docker does.
    """
    async with running(tmp_path) as peitho:
        await build(peitho)
        _, image = await ask(peitho, "GET", f"/images/{NAME}/json")

        assert (200, [{"Untagged": f"{NAME}:latest"}, {"Deleted": image["Id"]}]) == await ask(
            peitho, "DELETE", f"/images/{NAME}?force=1"
        )
        assert 404 == (await ask(peitho, "GET", f"/images/{NAME}/json"))[0]


async def test_an_image_that_a_container_has_is_removed_by_force_alone(tmp_path: Path) -> None:
    """
    In Docker's words, whether or not the container runs.
    """
    async with running(tmp_path) as peitho:
        await build(peitho)
        _, image = await ask(peitho, "GET", f"/images/{NAME}/json")
        body = json.dumps({"Image": NAME, "Cmd": ["chaincode"]}).encode()
        _, made = await ask(peitho, "POST", "/containers/create?name=dev-mycc", body)
        using = f"container {made['Id'][:12]} is using its referenced image {image['Id'][7:19]}"
        for name in (NAME, f"{NAME}:latest", image["Id"]):
            assert (
                409,
                f'conflict: unable to remove repository reference "{name}" (must force) - {using}',
            ) == await told(peitho, "DELETE", f"/images/{name}?force=0&noprune=0")

        assert 200 == (await ask(peitho, "DELETE", f"/images/{NAME}?force=1"))[0]


async def test_docker_images_shows_what_is_asked_for(tmp_path: Path) -> None:
    """
    A filter that is none is told, and lists nothing.
    """
    async with running(tmp_path) as peitho:
        for name in (NAME, "other"):
            await build(peitho, name)

        for query, expected in (
            ('{"reference":["net-*"]}', [f"{NAME}:latest"]),
            ('{"reference":{"dev-*":true}}', []),
            ('{"since":["' + NAME + '"]}', ["other:latest"]),
        ):
            _, listed = await ask(peitho, "GET", f"/images/json?filters={quote(query)}")
            assert expected == [tag for image in listed for tag in image["RepoTags"]]
        unknown = quote('{"x":[]}')
        path = f"/images/json?filters={unknown}"
        assert (400, "invalid filter 'x'") == await told(peitho, "GET", path)


async def test_an_image_in_a_registry_is_told_with_its_digest(tmp_path: Path) -> None:
    """
    It is built, inspected, listed and removed as any other; Pods pull it with the account.
    """
    async with RegistryDouble.start(auth="basic") as double:
        fabric(double)
        settings: dict[str, Any] = {
            "peitho": {"imageMode": "registry"},
            "images": {"rewrite": {"hyperledger/*": f"{double.address}/hyperledger/*"}},
            "docker": {
                "registry": {
                    "server-address": double.address,
                    "project": "chaincode",
                    "username": USER.username,
                    "password": USER.password,
                    "insecure": True,
                }
            },
        }
        async with running(tmp_path, **settings) as peitho:
            await build(peitho)
            _, image = await ask(peitho, "GET", f"/images/{NAME}/json")
            digest = oci.digest_of(double.repository(f"chaincode/{NAME}").manifests["latest"][1])
            assert [f"{double.address}/chaincode/{NAME}@{digest}"] == image["RepoDigests"]
            (listed,) = (await ask(peitho, "GET", "/images/json"))[1]
            assert image["Id"] == listed["Id"]
            await peitho.cluster.until_asked("POST", "secrets")
            assert "secrets/peitho-registry" in peitho.cluster.objects

            assert 200 == (await ask(peitho, "DELETE", f"/images/{NAME}"))[0]
            assert 404 == (await ask(peitho, "GET", f"/images/{NAME}/json"))[0]


async def test_a_push_that_fails_is_a_status_in_the_registrys_words(tmp_path: Path) -> None:
    """
    Peers show it to their operators.
    """
    async with RegistryDouble.start() as double:
        settings: dict[str, Any] = {
            "peitho": {"imageMode": "registry"},
            "images": {"rewrite": {"hyperledger/*": f"{double.address}/hyperledger/*"}},
            "docker": {"registry": {"server-address": double.address, "insecure": True}},
        }
        async with running(tmp_path, **settings) as peitho:
            status, answer = await ask(peitho, "POST", f"/build?t={NAME}", context())

    assert 500 == status
    assert "hyperledger/fabric-baseos:2.5: there is no such image in" in answer["message"]


async def test_one_damaged_record_harms_no_call(tmp_path: Path) -> None:
    """
    Its own image is not there, and is built anew like any other.
    """
    async with running(tmp_path) as peitho:
        await build(peitho)
        await build(peitho, "other")
        (path,) = (each.path for each in peitho.services.storage.images() if each.is_of(NAME))
        path.write_bytes(path.read_bytes()[:-10])

        listed = await ask(peitho, "GET", "/images/json")
        assert [["other:latest"]] == [each["RepoTags"] for each in listed[1]]
        assert 1 == (await ask(peitho, "GET", "/info"))[1]["Images"]
        assert 404 == (await ask(peitho, "GET", f"/images/{NAME}/json"))[0]
        assert 200 == (await ask(peitho, "GET", "/images/other/json"))[0]
        assert 404 == (await ask(peitho, "DELETE", f"/images/{NAME}"))[0]
        await build(peitho, "third")
        assert 200 == (await ask(peitho, "DELETE", "/images/third"))[0]

        await build(peitho)
        assert 200 == (await ask(peitho, "GET", f"/images/{NAME}/json"))[0]


async def test_an_image_whose_layer_is_gone_is_not_listed_and_can_be_removed(
    tmp_path: Path,
) -> None:
    """
    What is left of it is its record.
    """
    async with running(tmp_path) as peitho:
        await build(peitho)
        layer = peitho.services.images.get(NAME).layer
        peitho.services.storage.remove_blob(layer)

        assert (200, []) == await ask(peitho, "GET", "/images/json")
        assert 404 == (await ask(peitho, "GET", f"/images/{NAME}/json"))[0]
        assert 200 == (await ask(peitho, "DELETE", f"/images/{NAME}"))[0]
        assert [] == peitho.services.images.list()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/images/{NAME}/json", None),
        ("GET", "/images/json", None),
        ("GET", "/info", None),
        ("DELETE", f"/images/{NAME}", None),
        ("POST", f"/build?t={NAME}", context()),
        ("POST", "/containers/create", b'{"Image": "ccenv"}'),
        ("POST", "/containers/create?name=dev-mycc", b'{"Image": "mycc"}'),
    ],
)
async def test_without_the_data_directory_every_call_tells_the_cause(
    tmp_path: Path, method: str, path: str, body: bytes | None
) -> None:
    """
    And what to do; nothing is told as gone that may be back soon.
    """
    async with running(tmp_path) as peitho:
        await build(peitho)
        shutil.rmtree(tmp_path / "data")
        status, answer = await ask(peitho, method, path, body)

    assert 500 == status
    message = answer["message"]
    assert message.startswith("The data directory cannot be used (No such file or directory: ")
    assert "see that its volume is there" in message
