import http.client
from pathlib import Path

import pytest

from peitho.pod import calls
from peitho.pod.calls import CallError, PeithoClient
from tests.support.serving import hang_up, serving


def read(response: http.client.HTTPResponse) -> bytes:
    """The whole body."""
    return response.read()


def test_a_call_carries_its_token_and_gives_the_answer() -> None:
    """
    Below the path of the URL, as a bearer.
    """
    with serving({"/base/blobs/a": [(200, b"layer")]}) as server:
        assert b"layer" == server.client("/base/", bearer="secret").get("/blobs/a", read)

    assert [("GET", "/base/blobs/a", "Bearer secret", b"")] == server.requests


@pytest.mark.parametrize("status", [500, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """
    A server that is starting, and a connection that was lost.
    """
    with serving({"/a": [(status, b"not yet"), hang_up, (200, b"now")]}) as server:
        assert b"now" == server.client().get("/a", read)

    assert 3 == len(server.requests)
    assert [0.1, 0.2] == server.pauses


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_final(status: int) -> None:
    """
    It is told with Peitho's words, after one try.
    """
    with (
        serving({"/a": [(status, b"this token does not open this\n")]}) as server,
        pytest.raises(CallError, match=f"GET /a: {status} this token does not") as raised,
    ):
        server.client().get("/a", read)

    assert status == raised.value.status
    assert 1 == len(server.requests)


def test_trying_ends() -> None:
    """
    After a minute, in which the pauses grow to three seconds; the last answer is the error.
    """
    with (
        serving({"/a": [(503, b"still not")]}) as server,
        pytest.raises(CallError, match="503 still not"),
    ):
        server.client().get("/a", read)

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.0] == pytest.approx(server.pauses[:6])
    assert {3.0} == set(server.pauses[5:])
    assert 57 < sum(server.pauses) <= 60
    assert len(server.pauses) + 1 == len(server.requests)


def test_nobody_listening_is_an_error_of_the_network() -> None:
    """
    It is what the system says, once trying has ended.
    """
    with serving({}) as server:
        pass

    with pytest.raises(ConnectionRefusedError):
        server.client().get("/a", read)


def test_a_body_is_sent_in_chunks_as_it_comes() -> None:
    """
    An empty piece is no end of it.
    """
    with serving({"/log": [(200, b"")]}) as server:
        server.client().send("POST", "/log", [b"one ", b"", b"two"])

    assert [("POST", "/log", "Bearer t", b"one two")] == server.requests


def test_a_body_is_sent_once() -> None:
    """
    Half of it may have arrived.
    """
    with serving({"/log": [(500, b"no")]}) as server, pytest.raises(CallError, match="500 no"):
        server.client().send("POST", "/log", [b"x"])

    assert 1 == len(server.requests)


def test_address_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As the Pod's manifest sets them.
    """
    with serving({"/a": [(200, b"ok")]}) as server:
        monkeypatch.setenv("PEITHO_URL", server.url)
        monkeypatch.setenv("PEITHO_TOKEN", "from-env")
        assert b"ok" == PeithoClient.from_environment().get("/a", read)

    assert "Bearer from-env" == server.requests[0][2]


def test_the_reason_is_said_on_one_line_where_the_cluster_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    In the termination message and in the log, of a length that Kubernetes keeps.
    """
    monkeypatch.setattr(calls, "_TERMINATION_LOG", tmp_path / "termination-log")

    calls.tell("no\n  layer " + "x" * 5000)

    said = capsys.readouterr().out
    assert said.startswith("no layer xxx")
    assert 2001 == len(said)
    assert said.strip() == (tmp_path / "termination-log").read_text()


def test_outside_a_pod_the_reason_is_only_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A missing termination log is no second error.
    """
    monkeypatch.setattr(calls, "_TERMINATION_LOG", tmp_path / "none" / "termination-log")

    calls.tell("why")

    assert "why\n" == capsys.readouterr().out
