import http.client
import ssl
import time
from pathlib import Path

import pytest

from peitho.clients.authority import Authority
from peitho.errors import InvalidArgument
from peitho.pod import calls
from peitho.pod.calls import CallError, PeithoClient
from tests.support.serving import AUTHORITY, hang_up, serving


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
        monkeypatch.setenv("PEITHO_CA", AUTHORITY.pem)
        assert b"ok" == PeithoClient.from_environment().get("/a", read)

    assert "Bearer from-env" == server.requests[0][2]


def test_a_certificate_of_another_ca_is_final() -> None:
    """
    Nothing is said to whoever shows it, the token least of all.
    """
    with (
        serving({"/a": [(200, b"ok")]}, authority=Authority.make(time.time())) as server,
        pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"),
    ):
        server.client().get("/a", read)

    assert [] == server.requests
    assert [] == server.pauses


def test_a_certificate_for_another_name_is_final() -> None:
    """
    Also for a body that is sent.
    """
    with serving({"/a": [(200, b"ok")]}, host="peitho:8081") as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for '127\.0\.0\.1'"):
            server.client().get("/a", read)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for '127\.0\.0\.1'"):
            server.client().send("POST", "/a", [b"x"])

    assert [] == server.requests
    assert [] == server.pauses


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_tls_is_not_spoken() -> None:
    """
    1.2 is the oldest.
    """
    with (
        serving({"/a": [(200, b"ok")]}, version=ssl.TLSVersion.TLSv1_1) as server,
        pytest.raises(OSError, match=r"(?i)version|protocol"),
    ):
        server.client().get("/a", read)

    assert [] == server.requests


@pytest.mark.parametrize(
    ("url", "ca", "expected"),
    [
        ("http://peitho:8081", AUTHORITY.pem, "is not https"),
        ("peitho:8081", AUTHORITY.pem, "is not https"),
        ("https://peitho:8081", "", "there is no CA of Peitho"),
        ("https://peitho:8081", "-----BEGIN CERTIFICATE-----", "cannot be read"),
        ("https://peitho:8081", "é", "cannot be read"),
    ],
)
def test_what_an_earlier_peitho_made_is_told(url: str, ca: str, expected: str) -> None:
    """
    There is no way back to plain HTTP.
    """
    with pytest.raises(InvalidArgument, match=expected):
        PeithoClient(url, "t", ca)


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
