import json
from typing import Any

import pytest

from peitho.errors import InvalidArgument
from peitho.rehearsal import command
from tests.support.rehearsed_daemon import RehearsedDaemon

OPTIONS: dict[str, Any] = {
    "generation": "all",
    "peer_address": None,
    "listen": "",
    "network_id": "net",
    "peer_id": "peer0",
    "msp_id": "Org1MSP",
    "builder": "",
    "runtime": "",
    "ca_file": None,
    "cert_file": None,
    "key_file": None,
    "output": "table",
}


async def rehearsed(**options: Any) -> tuple[bool, list[str]]:
    """Whether all was right, and what was said."""
    said: list[str] = []
    async with RehearsedDaemon.start() as double:
        endpoint = f"tcp://127.0.0.1:{double.port}"
        return await command.rehearse(endpoint, OPTIONS | options, said.append), said


async def test_a_table_has_a_line_for_each_step_of_each_generation() -> None:
    """
    And one at the end.
    """
    is_right, (heading, *lines, last) = await rehearsed()

    assert is_right
    assert "peer  step                          seconds  limit" == heading
    assert ["1.4"] * 9 + ["2.5"] * 9 + ["3.1"] * 9 == [line.split()[0] for line in lines]
    assert all(line.endswith("  ok") for line in lines)
    assert "all was right" == last


async def test_programs_get_one_document() -> None:
    """
    With seconds, limits and problems.
    """
    is_right, (document,) = await rehearsed(output="json", generation="3.1")

    told = json.loads(document)
    assert is_right is told["ok"]
    assert {"peer", "step", "seconds", "limitSeconds", "problem"} == set(told["steps"][0])


@pytest.mark.parametrize(
    ("endpoint", "listen"),
    [
        *(("unix:///var/run/docker.sock", ""), ("peitho:8080", "")),
        *(("tcp://127.0.0.1:1", listen) for listen in ("here", ":99999")),
    ],
)
async def test_addresses_that_are_none_are_told(endpoint: str, listen: str) -> None:
    """
    Before anything is sent.
    """
    with pytest.raises(InvalidArgument):
        await command.rehearse(endpoint, OPTIONS | {"listen": listen}, print)
