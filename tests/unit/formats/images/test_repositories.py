import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats.images import references
from peitho.formats.images.repositories import (
    ImageLocation,
    PublishedImages,
    api_host,
    is_loopback,
    location,
    split_server,
)
from tests.support.drawn_names import IMAGE_NAMES

HASH = "0be8304940a1b9ac2a1ab3d5fd47fd2d4ac0fcd1ef1d05b2b5b1ab5a3a3c27f4"
OF_A_PEER = f"lab-peer0.org1.lab-ab_1-{HASH}-{HASH}"


def places(name: str, server: str = "x.io:5000", project: str = "chaincode") -> ImageLocation:
    """The place of a name in a registry of the tests."""
    return location(name, server=server, project=project)


@pytest.mark.parametrize("name", [OF_A_PEER, "mycc", "my.cc_1", "a--b", "a__b"])
def test_what_a_peer_names_is_named_so(name: str) -> None:
    """
    It is found in the registry's own pages as it is found in the peer's log.
    """
    assert ImageLocation(f"chaincode/{name}", "latest") == places(name)
    assert ImageLocation(f"chaincode/{name}", "2") == places(f"{name}:2")
    assert ImageLocation(name, "latest") == places(name, project="")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("x.io:5000/a/mycc", "chaincode/x-io-5000-a-mycc-"),
        ("x.io:5000/a/mycc:1", "chaincode/x-io-5000-a-mycc-"),
        (f"{OF_A_PEER}{'x' * 100}", f"chaincode/lab-peer0-org1-lab-ab-1-{HASH}-"),
        ("mycc-0123456789", "chaincode/mycc-0123456789-"),
    ],
)
def test_another_name_stays_recognizable(name: str, beginning: str) -> None:
    """
    With a hash of it behind; also one that looks as if it had such a hash.
    """
    found = places(name)

    assert found.repository.startswith(beginning)
    assert references.parse(f"x.io:5000/{found.repository}:{found.tag}")
    assert found == places(name)


def test_the_longest_name_fits_whole() -> None:
    """
    Address and project count as well.
    """
    assert 255 == len(f"x.io:5000/{places('a' * 235).repository}")
    assert 255 == len(f"x.io:5000/{places('a' * 236).repository}")
    assert places("a" * 236) != places("a" * 237)


@given(st.lists(IMAGE_NAMES, min_size=2, max_size=20, unique=True))
def test_two_names_have_two_places(names: list[str]) -> None:
    """
    And each is one that a registry takes.
    """
    found = {name: places(name) for name in names}

    assert len(found) == len(set(found.values()))
    for each in found.values():
        assert references.parse(f"x.io:5000/{each.repository}:{each.tag}")


def test_no_name_is_refused() -> None:
    """
    In Docker's words.
    """
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        places("Bad Name")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("x.io", ("x.io", "")),
        ("x.io:5000/", ("x.io:5000", "")),
        ("x.io/team/a", ("x.io", "team/a")),
    ],
)
def test_an_address_has_a_host_and_a_path(address: str, parts: tuple[str, str]) -> None:
    """
    The path belongs to the repositories, as nodes read it.
    """
    assert parts == split_server(address)


def test_docker_hubs_api_is_elsewhere() -> None:
    """
    Every other registry's is where its name says.
    """
    assert "registry-1.docker.io" == api_host("docker.io") == api_host("index.docker.io")
    assert "x.io:5000" == api_host("x.io:5000")


@pytest.mark.parametrize(
    ("domain", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("127.8.9.10", True),
        ("localhost.x.io", False),
        ("127.evil.example.com", False),
        ("127.0.0.1.evil.example.com:5000", False),
        ("[::2]:5000", False),
        ("x.io:5000", False),
    ],
)
def test_a_registry_on_this_machine_is_known(domain: str, loopback: bool) -> None:  # noqa: FBT001
    """
    By its name alone.
    """
    assert loopback == is_loopback(domain)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"r.io/p/c/lab-peer0-x-{'a' * 64}", True),
        ("r.io/p/c/lab-peer0-x-0123456789", True),
        ("r.io/p/c/acme/fabric-lab-peer0-x", True),
        ("r.io/p/c/acme/x:1", True),
        ("r.io/p/c/fabric-ccenv:2.5", False),
        ("r.io/p/c/mirror/fabric-ccenv:2.5", False),
        ("R.IO/p/c/acme/x", True),
        ("mirror/acme/x", True),
        ("mirror/fabric-ccenv", False),
        ("r.io/p/cc/acme/x", False),
        ("r.io/acme/x", False),
        (f"other.io/p/c/lab-{'a' * 64}", False),
        # Nodes reach the same registry by these.
        ("r.io:443/p/c/acme/x", True),
        ("R.io:0443/p/c/acme/x", True),
        ("r.io:80/p/c/acme/x", True),
        ("r.io:5000/p/c/acme/x", False),
    ],
)
def test_where_tenants_have_their_images_is_known(name: str, expected: bool) -> None:  # noqa: FBT001
    """
    Those of `default` are beside images that are nobody's.
    """
    published = PublishedImages("r.io/p/c", ("default", "acme"), {"mirror/*": "r.io/p/c/*"})

    assert expected == published.has(references.parse(name))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("docker.io/p", "p/acme/x"),
        ("docker.io/p", "index.docker.io/p/acme/x"),
        ("docker.io/p", "registry-1.docker.io:443/p/acme/x"),
        ("docker.io/p", "DOCKER.io/p/acme/x"),
        ("r.io:5000/p", "R.io:05000/p/acme/x"),
        ("[fd00::1]:5000/p", "[FD00:0:0::1]:5000/p/acme/x"),
        ("r.io", "r.io:443/acme/x"),
    ],
)
def test_a_registry_is_the_same_by_whatever_name(place: str, name: str) -> None:
    """
    Of those that tell that they are its own.
    """
    assert PublishedImages(place, ("acme",)).has(references.parse(name))
