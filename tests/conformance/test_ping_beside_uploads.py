"""What is done with archives of others holds up nobody else."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from peitho.formats.records import ContainerSpec
from tests.support.archives import archive_bytes, file
from tests.support.hostile_archives import corpus
from tests.support.in_process import Running, running

pytestmark = pytest.mark.alone

SPEC = ContainerSpec(image="ccenv", command=("go",), entrypoint=(), env=())
MOST_MILLISECONDS = 50.0
# Another process may take the machine for a moment: one round of these has to be undisturbed.
ROUNDS = 4


async def called(*words: str) -> str:
    """What a process says that calls Peitho."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.calls_beside", *words, stdout=-1
    )
    said, _ = await process.communicate()
    return said.decode()


async def slowest_ping(peitho: Running, folder: Path, *, uploads: int) -> float:
    """Milliseconds that 99 of 100 pings take at most while so many builds get all archives."""
    builds = [peitho.services.builds.create(SPEC, peer=f"{n}") for n in range(uploads)]
    async with asyncio.TaskGroup() as group:
        ids = [build.id for build in builds]
        sending = group.create_task(called("upload", peitho.api, str(folder), *ids))
        pinged = await called("ping", peitho.api, "2")
        assert pinged
        await sending
    for build in builds:
        await build.remove()
    return float(pinged)


async def least(peitho: Running, folder: Path, *, uploads: int) -> float:
    """The same in the best of some rounds."""
    took = MOST_MILLISECONDS
    for _ in range(ROUNDS):
        took = min(took, await slowest_ping(peitho, folder, uploads=uploads))
        if took < MOST_MILLISECONDS:
            break
    return took


@pytest.mark.timeout(180)
async def test_ping_answers_beside_20_uploads_of_2000_files(tmp_path: Path) -> None:
    """
    Those are read in threads, and the loop waits for the interpreter no longer than this.
    """
    folder = tmp_path / "archives"
    folder.mkdir()
    sources = [file(f"src/{n % 40}/{n}.go", os.urandom(1500)) for n in range(2000)]
    (folder / "source.tar.gz").write_bytes(archive_bytes(sources, compression="gz"))
    async with running(tmp_path) as peitho:
        assert await least(peitho, folder, uploads=20) < MOST_MILLISECONDS


@pytest.mark.timeout(180)
async def test_ping_answers_beside_hostile_archives(tmp_path: Path) -> None:
    """
    Each tenth of the corpus, to two builds at once.
    """
    folder = tmp_path / "archives"
    folder.mkdir()
    for number, (_, data) in enumerate(corpus()):
        if number % 10 == 0:
            (folder / f"{number:04}").write_bytes(data)
    async with running(tmp_path) as peitho:
        assert await least(peitho, folder, uploads=2) < MOST_MILLISECONDS
