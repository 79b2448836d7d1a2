import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from peitho.core.builds.container import BuildContainer
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT
from peitho.formats.records import Exit
from tests.support.contexts import chunks, context
from tests.support.in_process import Running, running

PROBE = b'{"Image": "hyperledger/fabric-ccenv:2.5", "Cmd": ["go", "version"], "Env": null}'
BOTH = "stdout=1&stderr=1"
CHAINCODE = b'{"Image": "mycc", "Cmd": ["chaincode"], "HostConfig": {"Memory": 2147483648}}'


async def ask(
    peitho: Running, method: str, path: str, body: bytes | None = None
) -> tuple[int, Any]:
    """Status and JSON of a call."""
    status, answer, _ = await peitho.ask(method, path, body=body)
    return status, json.loads(answer) if answer else None


async def create_build(peitho: Running) -> BuildContainer:
    """A build, created over HTTP."""
    status, answer = await ask(peitho, "POST", "/containers/create", PROBE)
    assert 201 == status
    found = peitho.services.builds.find(answer["Id"])
    assert found is not None
    return found


async def create_chaincode(peitho: Running, name: str) -> str:
    """A chaincode, created over HTTP after its image; its ID."""
    await peitho.services.images.build("mycc", chunks(context()))
    status, answer = await ask(peitho, "POST", f"/containers/create?name={name}", CHAINCODE)
    assert 201 == status
    return str(answer["Id"])


async def test_create_answers_with_an_id(tmp_path: Path) -> None:
    """
    64 digits, and no warnings.
    """
    async with running(tmp_path) as peitho:
        status, answer = await ask(peitho, "POST", "/v1.51/containers/create", PROBE)

    assert 201 == status
    assert {"Id": answer["Id"], "Warnings": []} == answer
    assert 64 == len(answer["Id"])


async def test_chaincode_without_its_image_is_404(tmp_path: Path) -> None:
    """
    A 1.4 peer builds when it hears it, and matches the text by case.
    """
    async with running(tmp_path) as peitho:
        found = await ask(peitho, "POST", "/containers/create?name=dev-mycc", CHAINCODE)

    assert (404, {"message": "No such image: mycc:latest"}) == found


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("", b"{", "invalid JSON"),
        ("", b"{}", "Image: Field required"),
        ("?name=a%20b", PROBE, "Invalid container name"),
        ("", b" " * (1024 * 1024 + 1), "the body is larger than 1 MiB"),
    ],
)
async def test_a_create_that_cannot_be_is_400(
    tmp_path: Path, query: str, body: bytes, message: str
) -> None:
    """
    With what is wrong with it.
    """
    async with running(tmp_path) as peitho:
        status, answer = await ask(peitho, "POST", f"/containers/create{query}", body)

    assert 400 == status
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("query", "more", "field"),
    [
        ("", {"HostConfig": {"Privileged": True}}, "HostConfig.Privileged"),
        ("?name=dev-mycc", {"HostConfig": {"Binds": ["/:/host"]}}, "HostConfig.Binds"),
        ("?name=dev-mycc", {"User": "0"}, "User"),
    ],
)
async def test_a_create_that_reaches_past_its_container_is_403(
    tmp_path: Path, query: str, more: dict[str, Any], field: str
) -> None:
    """
    For a build and for chaincode, and nothing is created.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.images.build("mycc", chunks(context()))
        body = json.dumps(json.loads(CHAINCODE) | more).encode()
        status, answer = await ask(peitho, "POST", f"/containers/create{query}", body)
        listed = await ask(peitho, "GET", "/containers/json?all=1")

    assert 403 == status
    assert answer["message"].startswith(f"{field}: may not be asked for here")
    assert (200, []) == listed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"Binds": ["/:/host"], "Privileged": true}', 403),
        (b'{"Dns": ["10.0.0.1"]}', 404),
        (b"null", 404),
        (b"[" * 100_000, 404),
    ],
)
async def test_a_start_cannot_ask_for_more_than_a_create(
    tmp_path: Path, body: bytes, expected: int
) -> None:
    """
    Until API 1.24 a HostConfig could come with it; it does not count, and may not say everything.
    """
    async with running(tmp_path) as peitho:
        status, _ = await ask(peitho, "POST", "/containers/nobody/start", body)

    assert expected == status


async def test_a_name_in_use_is_409(tmp_path: Path) -> None:
    """
    As the peer's own retry reads it.
    """
    async with running(tmp_path) as peitho:
        await create_chaincode(peitho, "dev-mycc")
        status, answer = await ask(peitho, "POST", "/containers/create?name=dev-mycc", CHAINCODE)

    assert 409 == status
    assert 'The container name "/dev-mycc" is already in use' in answer["message"]


OF_NOBODY = (
    ("POST", "start", "No such container: nobody"),
    ("POST", "stop?t=0", "No such container: nobody"),
    ("POST", "kill", "cannot kill container: nobody: No such container: nobody"),
    ("POST", "wait", "No such container: nobody"),
    ("GET", "json", "No such container: nobody"),
    ("GET", f"logs?{BOTH}", "No such container: nobody"),
)


async def test_a_container_that_is_not_there_is_404(tmp_path: Path) -> None:
    """
    The peers' first calls of every launch.
    """
    async with running(tmp_path) as peitho:
        for method, path, message in OF_NOBODY:
            answer = await ask(peitho, method, f"/containers/nobody/{path}")

            assert (404, {"message": message}) == answer


async def test_wait_answers_its_head_at_once_and_the_code_at_the_end(tmp_path: Path) -> None:
    """
    The code is the command's own.
    """
    async with running(tmp_path) as peitho:
        build = await create_build(peitho)
        url = f"{peitho.api}/containers/{build.id}/wait"
        async with peitho.http.post(url) as response:
            assert 200 == response.status
            assert "application/json" == response.headers["Content-Type"]
            (await peitho.begun(build)).end(Exit(42))
            assert {"StatusCode": 42} == json.loads(await response.read())


async def test_a_condition_that_docker_lacks_is_400(tmp_path: Path) -> None:
    """
    Those it has are all taken.
    """
    async with running(tmp_path) as peitho:
        build = await create_build(peitho)
        path = f"/containers/{build.id}/wait?condition="
        assert 400 == (await ask(peitho, "POST", f"{path}someday"))[0]

        (await peitho.begun(build)).end(Exit(0))
        for condition in ("not-running", "next-exit"):
            assert (200, {"StatusCode": 0}) == await ask(peitho, "POST", f"{path}{condition}")


async def test_who_waits_for_a_removal_is_told_then(tmp_path: Path) -> None:
    """
    Not when the command ends.
    """
    async with running(tmp_path) as peitho, asyncio.TaskGroup() as group:
        build = await create_build(peitho)
        (await peitho.begun(build)).end(Exit(0))
        path = f"/containers/{build.id}/wait?condition=removed"
        waits = group.create_task(ask(peitho, "POST", path))
        await ask(peitho, "GET", "/containers/json")
        assert not waits.done()
        await build.remove()

        assert (200, {"StatusCode": 0}) == await waits


async def test_a_peer_that_hangs_up_ends_its_wait(tmp_path: Path) -> None:
    """
    Or each would outlive its peer.
    """
    async with running(tmp_path) as peitho:
        build = await create_build(peitho)
        async with peitho.http.post(f"{peitho.api}/containers/{build.id}/wait") as response:
            assert 200 == response.status
            response.close()
        async with asyncio.timeout(5):
            while b"peitho_open_waits 0.0" not in await metrics(peitho):
                pass


async def metrics(peitho: Running) -> bytes:
    """What Prometheus would read."""
    async with peitho.http.get(f"{peitho.operations}/metrics") as response:
        return await response.read()


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("", "multiplexed-stream", streams.frames(STDOUT, b"a") + streams.frames(STDERR, b"b")),
        ("/v1.51", "raw-stream", b"ab"),
    ],
)
async def test_logs_are_framed_or_raw_by_the_clients_generation(
    tmp_path: Path, version: str, kind: str, expected: bytes
) -> None:
    """
    As attach has it, and as inspect's `Tty` says.
    """
    async with running(tmp_path) as peitho:
        build = await create_build(peitho)
        said = streams.frame(STDOUT, b"a") + streams.frame(STDERR, b"b")
        await (await peitho.begun(build)).append_output(chunks(said))
        _, body, headers = await peitho.ask("GET", f"{version}/containers/{build.id}/logs?{BOTH}")
        _, about = await ask(peitho, "GET", f"{version}/containers/{build.id}/json")

    assert expected == body
    assert f"application/vnd.docker.{kind}" == headers["Content-Type"]
    assert bool(version) == about["Config"]["Tty"]


async def test_a_build_is_removed_with_its_files(tmp_path: Path) -> None:
    """
    204, and then it is not there.
    """
    async with running(tmp_path) as peitho:
        build = await create_build(peitho)
        assert (204, None) == await ask(peitho, "DELETE", f"/containers/{build.id}")

        assert 404 == (await ask(peitho, "DELETE", f"/containers/{build.id}"))[0]
    assert [] == list((tmp_path / "data/spool").iterdir())


async def test_what_was_never_started_does_not_run(tmp_path: Path) -> None:
    """
    Stop says so by 304, kill by 409.
    """
    async with running(tmp_path) as peitho:
        await create_chaincode(peitho, "dev-mycc")

        assert 304 == (await ask(peitho, "POST", "/containers/dev-mycc/stop"))[0]
        status, answer = await ask(peitho, "POST", "/containers/dev-mycc/kill")
        assert 409 == status
        assert answer["message"].startswith("cannot kill container: dev-mycc: container ")
        assert answer["message"].endswith(" is not running")


async def test_docker_ps_shows_what_is_there(tmp_path: Path) -> None:
    """
    A build that has ended is shown with `all` alone, with its code and how long ago.
    """
    async with running(tmp_path) as peitho:
        chaincode = await create_chaincode(peitho, "dev-mycc")
        build = await create_build(peitho)
        (await peitho.begun(build)).end(Exit(3))

        assert (200, []) == await ask(peitho, "GET", "/containers/json")
        status, listed = await ask(peitho, "GET", "/v1.51/containers/json?all=1")

    assert 200 == status
    by_id = {each["Id"]: each for each in listed}
    assert ("Created", ["/dev-mycc"]) == (by_id[chaincode]["Status"], by_id[chaincode]["Names"])
    assert "Exited (3) 0 seconds ago" == by_id[build.id]["Status"]


async def test_inspect_tells_what_was_asked_for(tmp_path: Path) -> None:
    """
    And where in the cluster it is.
    """
    async with running(tmp_path) as peitho:
        chaincode = await create_chaincode(peitho, "dev-mycc")
        _, about = await ask(peitho, "GET", "/containers/dev-mycc/json")

    assert (chaincode, "/dev-mycc", "mycc") == (
        about["Id"],
        about["Name"],
        about["Config"]["Image"],
    )
    assert 2**31 == about["HostConfig"]["Memory"]
    assert about["Config"]["Labels"]["peitho/kubernetes-name"].startswith("cc-dev-mycc-")


async def ids(peitho: Running, query: str) -> list[str]:
    """The IDs that a list has."""
    status, listed = await ask(peitho, "GET", f"/containers/json?{query}")
    assert 200 == status
    return [each["Id"] for each in listed]


def filtered(**wanted: list[str]) -> str:
    """Filters as they stand in a query."""
    return f"filters={quote(json.dumps(wanted))}"


async def test_docker_ps_shows_what_is_asked_for(tmp_path: Path) -> None:
    """
    A limit shows what does not run too, and so does a filter by status; `exited` does not.
    """
    async with running(tmp_path) as peitho:
        chaincode = await create_chaincode(peitho, "dev-mycc")
        build = await create_build(peitho)
        (await peitho.begun(build)).end(Exit(3))

        assert [] == await ids(peitho, filtered(label=["service=hyperledger-fabric"]) + "&all=1")
        assert [chaincode] == await ids(peitho, filtered(name=["dev-my*"]) + "&all=1")
        assert [build.id] == await ids(peitho, "limit=1")
        assert [] == await ids(peitho, "limit=0&all=0&size=0&trunc_cmd=0")
        assert [build.id, chaincode] == await ids(peitho, "limit=-1&all=True")
        assert [chaincode] == await ids(peitho, filtered(status=["created"]))
        assert [] == await ids(peitho, filtered(exited=["3"]))
        assert [build.id] == await ids(peitho, filtered(exited=["3"]) + "&all=1")
        assert [chaincode] == await ids(peitho, f"all=1&before={build.id}")
        assert [build.id] == await ids(peitho, "all=1&since=dev-mycc")
        assert 400 == (await ask(peitho, "GET", "/containers/json?limit=x"))[0]


@pytest.mark.parametrize("name", ["", "cc"])
async def test_a_list_is_filtered_by_the_labels_of_the_request(tmp_path: Path, name: str) -> None:
    """
    As `--label` gave them, to a build and to chaincode; what is Peitho's own stays.
    """
    given = {"org": "one", "peitho/kind": "mine"}
    body = json.dumps({"Image": "mycc", "Cmd": ["x"], "Labels": given}).encode()
    async with running(tmp_path) as peitho:
        await peitho.services.images.build("mycc", chunks(context()))
        query = f"?name={name}" if name else ""
        _, made = await ask(peitho, "POST", f"/containers/create{query}", body)
        found = {}
        for label in ("org=one", "org", "org=two"):
            asked = quote(json.dumps({"label": [label]}))
            _, listed = await ask(peitho, "GET", f"/containers/json?all=1&filters={asked}")
            found[label] = [each["Id"] for each in listed]
        _, inspected = await ask(peitho, "GET", f"/containers/{made['Id']}/json")

    assert {"org=one": [made["Id"]], "org": [made["Id"]], "org=two": []} == found
    assert "one" == inspected["Config"]["Labels"]["org"]
    if name:
        assert "chaincode" == inspected["Config"]["Labels"]["peitho/kind"]


async def test_labels_that_no_object_could_hold_are_400(tmp_path: Path) -> None:
    """
    With the field's name.
    """
    body = json.dumps({"Image": "mycc", "Cmd": ["x"], "Labels": {"a": "x" * 20_000}}).encode()
    async with running(tmp_path) as peitho:
        status, answer = await ask(peitho, "POST", "/containers/create", body)

    assert 400 == status
    assert "Labels" in answer["message"]


async def test_a_list_shows_the_labels_that_inspect_shows(tmp_path: Path) -> None:
    """
    By which it can be filtered; and what the image is large, if that is asked for.
    """
    async with running(tmp_path) as peitho:
        await create_chaincode(peitho, "dev-mycc")
        _, about = await ask(peitho, "GET", "/containers/dev-mycc/json?size=1")
        _, (listed,) = await ask(peitho, "GET", "/containers/json?all=1&size=1")
        _, (plain,) = await ask(peitho, "GET", "/containers/json?all=1")

    assert about["Config"]["Labels"] == listed["Labels"]
    assert "dev-mycc" == listed["Labels"]["peitho/container-name"]
    assert 10240 == about["SizeRootFs"] == listed["SizeRootFs"]
    assert "SizeRootFs" not in plain


SIGNALS = (
    ("stop?t=x", 400, "invalid value for 't': 'x' is no number"),
    ("stop?signal=SIGHUP", 501, "the signal SIGHUP is not part of what Peitho does"),
    ("kill?signal=hup", 501, "the signal SIGHUP is not part of what Peitho does"),
    ("kill?signal=1", 501, "the signal SIGHUP is not part of what Peitho does"),
    ("kill?signal=never", 400, "Invalid signal: NEVER"),
    ("kill?signal=9", 409, "is not running"),
    ("kill?signal=SIGINT", 409, "is not running"),
    ("kill?signal=TERM", 409, "is not running"),
    ("kill?signal=", 409, "is not running"),
)


async def test_a_signal_that_would_not_end_the_process_is_refused(tmp_path: Path) -> None:
    """
    Whatever its spelling: name, short name or number.
    """
    async with running(tmp_path) as peitho:
        await create_chaincode(peitho, "dev-mycc")
        for call, status, message in SIGNALS:
            found, answer = await ask(peitho, "POST", f"/containers/dev-mycc/{call}")

            assert status == found, call
            assert message in answer["message"]


async def test_logs_are_refused_by_status_where_they_cannot_be_had(tmp_path: Path) -> None:
    """
    Before the head of the answer.
    """
    async with running(tmp_path) as peitho:
        build = await create_build(peitho)
        await create_chaincode(peitho, "dev-mycc")
        for path, status in (
            (f"{build.id}/logs?{BOTH}&timestamps=1", 501),
            ("dev-mycc/logs?stdout=1", 501),
            ("dev-mycc/logs", 400),
            ("nobody/logs", 400),
        ):
            assert status == (await ask(peitho, "GET", f"/containers/{path}"))[0], path


async def test_docker_run_rm_of_a_command_ends_with_it(tmp_path: Path) -> None:
    """
    As the CLI runs it: the container is gone when the code is told.
    """
    body = json.dumps(json.loads(PROBE) | {"HostConfig": {"AutoRemove": True}}).encode()
    async with running(tmp_path) as peitho:
        _, answer = await ask(peitho, "POST", "/v1.47/containers/create", body)
        path = f"/v1.47/containers/{answer['Id']}"
        _, about = await ask(peitho, "GET", f"{path}/json")
        assert about["HostConfig"]["AutoRemove"]
        build = peitho.services.builds.find(answer["Id"])
        assert build is not None
        async with peitho.http.post(f"{peitho.api}{path}/wait?condition=removed") as response:
            (await peitho.begun(build)).end(Exit(5))
            assert {"StatusCode": 5} == json.loads(await response.read())

        assert 404 == (await ask(peitho, "GET", f"{path}/json"))[0]
