import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peitho import audit
from peitho.clients.disk.audit_file import AuditFile
from peitho.errors import NotFound
from peitho.formats.audit_chain import Verification
from peitho.formats.records import Exit
from tests.support.archives import archive_bytes, file
from tests.support.contexts import context
from tests.support.in_process import Running, running

SOURCE = archive_bytes([file("main.go", b"package main")], compression="gz")
BUILD = b'{"Image": "ccenv", "Cmd": ["go", "build"], "Env": ["TOKEN=planted"]}'
CHAINCODE = b'{"Image": "mycc", "Cmd": ["chaincode"], "Env": ["CORE_KEY=planted"]}'


@contextmanager
def trail() -> Iterator[list[Mapping[str, Any]]]:
    """The events of a test."""
    events: list[Mapping[str, Any]] = []
    with audit.kept_by(events.append):
        yield events


def told(events: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Events and their outcomes."""
    return [(event["event"], event["outcome"]) for event in events]


async def created(peitho: Running, query: str, body: bytes) -> str:
    """The ID of a new container."""
    _, answer, _ = await peitho.ask("POST", f"/containers/create{query}", body=body)
    return str(json.loads(answer)["Id"])


async def test_a_build_is_in_the_trail_with_its_source_and_its_caller(tmp_path: Path) -> None:
    """
    Its end is told for whoever created it, and has nothing of its variables.
    """
    async with running(tmp_path) as peitho:
        with trail() as events:
            container = await created(peitho, "", BUILD)
            await peitho.ask(
                "PUT", f"/containers/{container}/archive?path=/chaincode/input", body=SOURCE
            )
            build = peitho.services.builds.find(container)
            assert build is not None
            await peitho.begun(build)
            peitho.services.builds.pool.get(container).set_exit_code(3)
            await build.wait()
            await peitho.ask("DELETE", f"/containers/{container}?force=1")

    assert [
        ("container created", "done"),
        ("build ended", "exit code 3"),
        ("container removed", "done"),
    ] == told(events)
    end = events[1]
    assert (container, "ccenv", 3) == (end["id"], end["image"], end["code"])
    assert [build.uploads[0].tree] == end["sources"]
    assert events[0]["request"] == end["request"] != events[2]["request"]
    assert {"127.0.0.1"} == {event["address"] for event in events}
    assert "planted" not in str(events)


async def test_images_and_chaincode_are_in_the_trail_with_their_digests(tmp_path: Path) -> None:
    """
    Also what was refused, and why a start failed.
    """
    async with running(tmp_path, chaincode={"startTimeoutSeconds": 1}) as peitho:
        with trail() as events:
            await peitho.ask("POST", "/build?t=mycc", body=context())
            await peitho.ask("POST", "/build?t=mycc", body=b"no archive")
            await created(peitho, "?name=dev-mycc", CHAINCODE)
            await peitho.ask("POST", "/containers/create?name=dev-mycc", body=CHAINCODE)
            await peitho.ask("POST", "/containers/dev-mycc/start")
            await peitho.ask("DELETE", "/containers/dev-mycc")
            await peitho.ask("DELETE", "/images/mycc")
            image = events[0]

    (built, bad, create, again, start, removal, image_removal) = told(events)
    assert ("image built", "done") == built
    assert ("image built", bad[1]) == bad != built
    assert ("container created", "done") == create
    assert again[1].startswith("Conflict")
    assert "container started" == start[0]
    assert "done" != start[1]
    assert ("container removed", "done") == removal
    assert ("image removed", "done") == image_removal
    assert (image["id"], image["layer"]) == (events[-1]["id"], events[-1]["layer"])
    assert image["layer"] == events[4]["layer"]
    assert "planted" not in str(events)


def test_what_peitho_does_by_itself_has_no_caller() -> None:
    """
    Nobody asked for it.
    """
    with trail() as events:
        audit.record("chaincode ended", outcome="exit code 1", container="dev-mycc")

    assert ("", "", "default") == tuple(
        events[0][name] for name in ("address", "certificate", "tenant")
    )


async def test_a_delivery_without_its_token_is_in_the_trail(tmp_path: Path) -> None:
    """
    As every 403.
    """
    async with running(tmp_path) as peitho:
        with trail() as events:
            async with peitho.http.get(f"{peitho.delivery}/blobs/sha256:00") as response:
                assert 403 == response.status

    assert ["refused"] == [event["event"] for event in events]


async def test_an_outcome_is_an_errors_or_that_nobody_waited() -> None:
    """
    And is as long as a line bears.
    """
    with trail() as events:
        with pytest.raises(NotFound), audit.recording("x", name="n"):
            raise NotFound("y" * 5000)
        with pytest.raises(asyncio.CancelledError), audit.recording("x"):
            raise asyncio.CancelledError
        with audit.recording("x") as fields:
            fields["id"] = Exit(0).code

    assert ["y" * 1000, "the caller hung up, or Peitho stops", "done"] == [
        event["outcome"] for event in events
    ]
    assert ("n", 0) == (events[0]["name"], events[2]["id"])


async def test_whatever_a_caller_names_the_chain_goes_on(tmp_path: Path) -> None:
    """
    Where the last line of the file is found again.
    """
    file = tmp_path / "audit.jsonl"
    async with running(tmp_path) as peitho:
        for image in ("é" * 200_000, "x" * 400_000, "\x01" * 150_000):
            kept = AuditFile(file)
            with audit.kept_by(kept.keep):
                body = json.dumps({"Image": image, "Cmd": ["x"]}, ensure_ascii=False).encode()
                status, _, _ = await peitho.ask("POST", "/containers/create", body=body)
                assert 400 == status
            assert await kept.write()

    lines = file.read_bytes().splitlines()
    assert [1, 2, 3] == [json.loads(line)["number"] for line in lines]
    assert max(map(len, lines)) < 20_000
    assert [] == list(Verification().problems(lines))
