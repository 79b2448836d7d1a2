"""The commands of operators, at a real cluster: what they show, and that nothing stays behind."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import PROJECT, Peitho, namespace
from tests.support.docker_calls import Calls, archive
from tests.support.observe import alive, until

# What an operator has beside the kubeconfig: nothing of Peitho.
LAPTOP = ("--dataDir", "/nonexistent")


async def operate(peitho: Peitho, *words: str, on_laptop: bool = True) -> tuple[int, str, str]:
    """Exit status and both outputs of a command, on a laptop or where Peitho is."""
    command, *rest = words
    place = ["--kubeconfig", str(peitho.cluster.kubeconfig), "-n", peitho.namespace, *LAPTOP]
    where = place if on_laptop else ["-c", str(peitho.folder / "peitho.yml")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peitho", command, *where, *rest),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},  # noqa: TID251  its own process
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def rows(peitho: Peitho, *words: str, on_laptop: bool = True) -> list[dict[str, Any]]:
    """What a command knows."""
    code, out, err = await operate(peitho, *words, "-o", "json", on_laptop=on_laptop)
    assert 0 == code, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


@beside
@pytest.mark.timeout(240)  # a dozen commands, each a process
async def test_chaincode_from_a_laptop(cluster: Cluster, tmp_path: Path) -> None:
    """
    It is listed, read and removed with a kubeconfig alone; the running Peitho notes the removal.
    """
    trail = tmp_path / "audit.jsonl"
    settings: dict[str, Any] = {
        "audit": {"file": str(trail)},
        "sweeper": {"enable": False},
        "chaincode": {"settleSeconds": 0},
    }
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, **settings) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image("image-lives")
        await calls.make_image("image-ends", "echo last words; sleep 1; exit 3")
        for each in ("lives", "ends"):
            await calls.create(each, f"image-{each}")
            await calls.start(each)
        assert 3 == await calls.wait("ends")

        ends, lives = await rows(peitho, "ps")
        assert [("ends", "exited", 3), ("lives", "running", None)] == [
            (row["name"], row["phase"], row["exitCode"]) for row in (ends, lives)
        ]
        assert lives["node"]
        code, out, _ = await operate(peitho, "logs", "lives")
        assert (0, "started with -peer.address=10.0.0.1:7052\n") == (code, out)
        code, out, _ = await operate(peitho, "logs", ends["id"][:12], "--follow")
        assert (0, True) == (code, out.endswith("last words\n"))
        reasons = {row["reason"] for row in await rows(peitho, "events", "lives")}
        assert {"SuccessfulCreate", "Scheduled", "Started"} <= reasons

        code, out, err = await operate(peitho, "rm", "lives", "ends", "--yes")
        assert (0, "lives: removed\nends: removed\n") == (code, out), err
        assert [] == await rows(peitho, "ps")
        await until(lambda: not alive(peitho, "lives"))
        await until(lambda: not _left(peitho))
        await until(lambda: _removed(trail) == {"lives", "ends"})


def _left(peitho: Peitho) -> list[Any]:
    """All objects of chaincode."""
    own = "peitho/kind=chaincode"
    kinds = ("secrets", "jobs", "pods")
    return [each for kind in kinds for each in peitho.objects(kind, labels=own)]


def _removed(trail: Path) -> set[str]:
    """What the trail has that somebody else removed."""
    lines = [json.loads(line) for line in trail.read_text().splitlines()]
    said = "done by somebody else, in the cluster"
    return {line["container"] for line in lines if line["outcome"] == said}


@beside
@pytest.mark.timeout(240)
async def test_builds_and_images_where_peitho_is(cluster: Cluster, tmp_path: Path) -> None:
    """
    A build is told while it runs, its log is followed to the end, and then it is kept.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        script = "echo first; sleep 8; echo last; touch /chaincode/output/chaincode"
        build = await calls.create_build(script)
        # What has no source is run each time, and not kept.
        assert (
            200 == (await calls.put(build, archive({"main.go": (0o644, b"package main")}))).status
        )
        await calls.start(build)
        await until(lambda: _is_seen(peitho, "running", build, "first"))
        code, out, err = await operate(peitho, "logs", build[:12], "-f", on_laptop=False)
        assert (0, "first\nlast\n") == (code, out), err

        await until(lambda: _is_seen(peitho, "kept"))
        found = await rows(peitho, "builds", on_laptop=False)
        (kept,) = (row["name"] for row in found if row["phase"] == "kept")
        code, out, err = await operate(peitho, "logs", kept, on_laptop=False)
        assert (0, "first\nlast\n") == (code, out), err
        await calls.make_image("image-mine")
        (image,) = await rows(peitho, "images", on_laptop=False)
        assert "image-mine" == image["name"]


async def _is_seen(peitho: Peitho, phase: str, build: str = "", line: str = "") -> bool:
    """Whether a build is at a phase, is this one, and has said this last."""
    return any(
        (phase, line) == (row["phase"], row["lastLine"]) and build in (row["id"], "")
        for row in await rows(peitho, "builds", on_laptop=False)
    )
