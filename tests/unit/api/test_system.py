import json
from pathlib import Path

import pytest

from peitho import __version__
from peitho.api import system
from tests.support.in_process import running


@pytest.mark.parametrize("path", ["/_ping", "/v1.51/_ping"])
async def test_ping_tells_the_version_of_the_api(tmp_path: Path, path: str) -> None:
    """
    HEAD is what the newer clients send; without a body.
    """
    async with running(tmp_path) as peitho:
        status, body, headers = await peitho.ask("GET", path)
        head_status, nothing, head = await peitho.ask("HEAD", path)

    assert (200, b"OK") == (status, body)
    assert (200, b"") == (head_status, nothing)
    for each in (headers, head):
        assert "1.47" == each["Api-Version"]
        assert "linux" == each["Ostype"]
        assert "no-cache" in each["Cache-Control"]


async def test_ping_answers_without_a_cluster(tmp_path: Path) -> None:
    """
    A 2.x peer that cannot reach its endpoint at its start remembers it.
    """
    async with running(tmp_path, refused=True) as peitho:
        await peitho.cluster.until_asked("GET", "pods")

        assert 200 == (await peitho.ask("GET", "/_ping"))[0]


async def test_version_is_read_by_the_older_clients(tmp_path: Path) -> None:
    """
    `ApiVersion` is what they compare.
    """
    async with running(tmp_path) as peitho:
        _, body, _ = await peitho.ask("GET", "/version")

    about = json.loads(body)
    assert ("1.47", "1.24", "linux") == (about["ApiVersion"], about["MinAPIVersion"], about["Os"])
    assert (__version__, "Peitho") == (about["Version"], about["Platform"]["Name"])
    assert system.architecture() == about["Arch"]


async def test_info_counts_what_is_there(tmp_path: Path) -> None:
    """
    For people with a docker CLI.
    """
    async with running(tmp_path) as peitho:
        body = b'{"Image": "i", "Cmd": ["true"]}'
        await peitho.ask("POST", "/containers/create", body=body)
        _, answer, _ = await peitho.ask("GET", "/info")

    about = json.loads(answer)
    assert (1, 0, 1, 0) == (
        about["Containers"],
        about["ContainersRunning"],
        about["ContainersStopped"],
        about["Images"],
    )
