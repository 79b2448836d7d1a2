"""How the three generations of peers speak to a Docker daemon."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Generation:
    """
    What tells the peers of an age apart on the wire.

    `releases` are those of Fabric.  Measured with real peers: their client libraries are
    go-dockerclient of two ages, and moby's client.
    """

    name: str
    releases: str
    greeting: tuple[str, str]
    is_versioned: bool = False
    build_prefix: str = ""
    is_kept_alive: bool = False
    half_closes: bool = True
    asks_for_go: bool = False
    takes_frames_apart: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    builder: str = "hyperledger/fabric-ccenv:2.5"
    runtime: str = "hyperledger/fabric-baseos:2.5"


GENERATIONS = (
    Generation(
        "1.4",
        "1.4",
        ("GET", "/version"),
        headers={"User-Agent": "go-dockerclient", "Content-Type": "plain/text"},
        builder="hyperledger/fabric-ccenv:1.4",
        # `$(ARCH)-$(BASE_VERSION)` of core.yaml: there are images of amd64 alone.
        runtime="hyperledger/fabric-baseos:amd64-0.4.22",
    ),
    Generation(
        "2.5",
        "2.0 to 2.5.14, 3.0 to 3.1.3",
        ("GET", "/version"),
        build_prefix="/v1.25",
        headers={"User-Agent": "go-dockerclient", "Content-Type": "plain/text"},
    ),
    Generation(
        "3.1",
        "2.5.15 on, 3.1.4 on",
        ("HEAD", "/_ping"),
        is_versioned=True,
        is_kept_alive=True,
        half_closes=False,
        asks_for_go=True,
        takes_frames_apart=False,
        headers={"User-Agent": "moby-client/v0.4.1 linux/amd64"},
        builder="hyperledger/fabric-ccenv:3.1",
        runtime="hyperledger/fabric-baseos:3.1",
    ),
)
BY_NAME: Mapping[str, Generation] = {each.name: each for each in GENERATIONS}
