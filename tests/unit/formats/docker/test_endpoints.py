import pytest

from peitho.errors import InvalidArgument
from peitho.formats.docker import endpoints
from peitho.formats.docker.endpoints import DaemonEndpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:///var/run/docker.sock", DaemonEndpoint(path="/var/run/docker.sock")),
        ("tcp://10.0.0.1:2376", DaemonEndpoint(address="10.0.0.1:2376")),
        ("tcp://docker.builds.svc:2376/", DaemonEndpoint(address="docker.builds.svc:2376")),
        ("tcp://[fd00::1]:2376", DaemonEndpoint(address="[fd00::1]:2376")),
    ],
)
def test_a_socket_or_a_host_is_read(text: str, endpoint: DaemonEndpoint) -> None:
    """
    And written as it was, but for a slash at the end.
    """
    assert endpoint == endpoints.parse(text)
    assert text.rstrip("/") == str(endpoint)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/var/run/docker.sock",
        "unix://docker.sock",
        "unix://",
        "tcp://host",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://user@host:1",
        "tcp://host:1/path",
        "tcp://-:1",
        "ssh://host:22",
        "http://host:80",
        "npipe:////./pipe/docker",
    ],
)
def test_anything_else_is_told_what_is_allowed(text: str) -> None:
    """
    Before a connection is tried.
    """
    with pytest.raises(InvalidArgument, match=r"^must be unix:///PATH or tcp://HOST:PORT$"):
        endpoints.parse(text)
