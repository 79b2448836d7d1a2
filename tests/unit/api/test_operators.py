import asyncio
from pathlib import Path

from peitho.core.pods.tokens import Holder
from peitho.formats import operator_token
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT
from peitho.formats.records import ContainerSpec
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks
from tests.support.counted import Counted
from tests.support.in_process import Running, running

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=("SECRET=planted",))


async def begun(peitho: Running) -> str:
    """The ID of a build whose command has said two lines."""
    build = peitho.services.builds.create(SPEC, peer="10.0.0.7")
    source = archive_bytes([file("main.go", b"package main")], compression="gz")
    await build.put_archive("/chaincode/input", chunks(source))
    peitho.services.builds.tasks.spawn(build.start(), name="start")
    await peitho.cluster.until_asked("POST", "pods")
    run = peitho.services.builds.pool.get(build.id)
    said = streams.frame(STDOUT, b"first\n") + streams.frame(STDERR, b"go: downloading x\n")
    await run.append_output(chunks(said))
    return build.id


async def ask(peitho: Running, path: str, token: str) -> tuple[int, str]:
    """Status and text of the operations listener, for a caller with a token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with peitho.http.get(peitho.operations + path, headers=headers) as response:
        return response.status, await response.text()


async def test_builds_are_told_to_whoever_reads_the_data_directory(tmp_path: Path) -> None:
    """
    Their phase, whose they are and the last line; no variable's value.
    """
    async with running(tmp_path) as peitho:
        build_id = await begun(peitho)
        token = operator_token.issue(peitho.services.storage.delivery_key())
        headers = {"Authorization": f"Bearer {token}"}
        async with peitho.http.get(f"{peitho.operations}/builds", headers=headers) as response:
            (row,) = await response.json()
            text = await response.text()
        log = await ask(peitho, f"/builds/{build_id[:8]}/log", token)
        other = await ask(peitho, "/builds/0000ffff/log", token)

    assert (build_id, "running", "ccenv", "10.0.0.7", 1, "go: downloading x") == tuple(
        row[key] for key in ("id", "phase", "image", "peer", "peers", "lastLine")
    )
    assert "planted" not in text
    assert (200, "first\ngo: downloading x\n") == log
    assert 404 == other[0]


async def test_nobody_else_is_told(tmp_path: Path) -> None:
    """
    Neither without a token nor with a Pod's; that is counted.
    """
    refused = Counted("peitho_refused_total", "reason")
    async with running(tmp_path) as peitho:
        build_id = await begun(peitho)
        holder = Holder("build-x", build_id)
        pod = peitho.services.tokens.issue(f"build:{build_id}", holder)
        answers = [
            await ask(peitho, path, token)
            for path in ("/builds", f"/builds/{build_id}/log", "/builds/0000ffff/log")
            for token in ("", pod, "x")
        ]

    assert {403} == {status for status, _ in answers}
    assert build_id not in "".join(text for _, text in answers)
    assert {"token": 9} == refused.grown


async def test_a_log_is_followed_to_the_end(tmp_path: Path) -> None:
    """
    And whoever reads it keeps no peer's wait from its answer.
    """
    async with running(tmp_path) as peitho, asyncio.TaskGroup() as group:
        build_id = await begun(peitho)
        token = operator_token.issue(peitho.services.storage.delivery_key())
        read = group.create_task(ask(peitho, f"/builds/{build_id}/log?follow=1", token))
        run = peitho.services.builds.pool.get(build_id)
        await asyncio.sleep(1)
        assert not read.done()
        run.set_exit_code(1)
        status, text = await read

    assert (200, "first\ngo: downloading x\n") == (status, text)
