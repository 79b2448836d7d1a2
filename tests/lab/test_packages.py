"""The registry of packages, as Maven, Gradle and npm ask it."""

import time
from http.client import HTTPConnection

from tests.lab.packages import Packages, serving

JAR = b"a jar"


def test_files_and_their_digests_are_told_by_get_and_by_head() -> None:
    """
    A HEAD has no body, what is not there is 404, and each is counted once.
    """
    there = Packages({"/org/a/1/a-1.jar": JAR, "/@scope/name": b"{}"}, "/")
    asked = [
        ("GET", "/org/a/1/a-1.jar"),
        ("HEAD", "/org/a/1/a-1.jar"),
        ("GET", "/org/a/1/a-1.jar.sha1"),
        ("GET", "/@scope%2fname"),
        ("HEAD", "/org/a/1/a-1.pom"),
        ("GET", "/org/a/1/a-1.pom.sha1"),
    ]
    with serving("127.0.0.1", there) as registry:
        assert f"{registry.url}/" == registry.npm_url
        connection = HTTPConnection(registry.url.removeprefix("http://"))
        answers = []
        for method, path in asked:
            connection.request(method, path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.headers["Content-Length"], answer.read()))
        connection.close()

        assert [
            (200, "5", JAR),
            (200, "5", b""),
            (200, "40", b"f19a57f67e570fa19754b1d59f4574a511a06423"),
            (200, "2", b"{}"),
            (404, "0", b""),
            (404, "0", b""),
        ] == answers
        assert [6, 0] == [registry.requests(), registry.requests()]


def test_an_answer_is_as_late_as_the_registry_is_far() -> None:
    """
    Over one connection, one answer after the other is.
    """
    with serving("127.0.0.1", Packages({"/a": b"1"}), delay_seconds=0.02) as registry:
        connection = HTTPConnection(registry.url.removeprefix("http://"))
        began = time.monotonic()
        for _ in range(3):
            connection.request("GET", "/a")
            assert b"1" == connection.getresponse().read()
        connection.close()

        assert time.monotonic() - began >= 0.06
