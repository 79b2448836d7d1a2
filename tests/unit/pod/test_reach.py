import json
import socket

import pytest

from peitho.pod import reach


def test_each_address_is_told_with_why_it_cannot_be_reached() -> None:
    """
    Empty where it can.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = f"127.0.0.1:{listening.getsockname()[1]}"
        found = reach.reached([there, "127.0.0.1:1", "nobody.invalid:7052", "odd"])

    assert "" == found[there]
    assert "Connection refused" == found["127.0.0.1:1"]
    assert found["nobody.invalid:7052"]
    assert found["odd"]


def test_what_was_found_is_the_termination_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    On one line of JSON, and the process ends well.
    """
    monkeypatch.setattr("sys.argv", ["reach", "127.0.0.1:1"])

    assert 0 == reach.main()
    assert {"127.0.0.1:1": "Connection refused"} == json.loads(capsys.readouterr().out)
