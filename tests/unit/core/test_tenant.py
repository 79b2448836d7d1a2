import pytest

from peitho.core.tenant import OwnNames, TenantOptions
from peitho.errors import Forbidden
from peitho.formats.records import ContainerSpec
from peitho.settings.live import Live

HASH = "0" * 64
IMAGE = f"lab-peer0.org1-mycc_1-{HASH}-{HASH}"


def own(networks: tuple[str, ...] = ("lab",), peers: tuple[str, ...] = ("peer*.org1",)) -> OwnNames:
    """The names of a tenant."""
    return OwnNames(Live(TenantOptions("acme", ("Org1MSP", "Org3*"), networks, peers)))


def spec(*env: str, image: str = IMAGE) -> ContainerSpec:
    """What a peer asks for."""
    return ContainerSpec(image=image, command=("x",), entrypoint=(), env=env)


@pytest.mark.parametrize(
    "name",
    [
        f"lab-peer0.org1-mycc_1-{HASH}",  # of 2.x and 3.x
        "lab-peer12.org1-mycc-1.0",  # of 1.4
    ],
)
def test_a_peers_own_names_are_taken(name: str) -> None:
    """
    Whichever Fabric made them.
    """
    own().check_container(name, spec("CORE_PEER_LOCALMSPID=Org1MSP", "A=b"))
    own().check_container(name, spec("CORE_PEER_LOCALMSPID=Org3MSP"))
    own().check_container(name, spec())
    own().check_image(f"{name.lower()}-{HASH}")
    own().check_image(f"{name.lower()}-{HASH}:latest")


@pytest.mark.parametrize(
    ("name", "asked", "field"),
    [
        ("lab-peer0.org2-mycc-1", spec(), "name"),
        ("net-peer0.org1-mycc-1", spec(), "name"),
        ("Lab-peer0.org1-mycc-1", spec(), "name"),
        ("lab-peer0.org1", spec(), "name"),
        ("peer0.org1-mycc", spec(), "name"),
        ("lab-peer0.org1-mycc-1", spec(image=IMAGE.replace("org1", "org2")), "Image"),
        ("lab-peer0.org1-mycc-1", spec(image=f"registry.example/org2/{IMAGE}"), "Image"),
        ("lab-peer0.org1-mycc-1", spec("CORE_PEER_LOCALMSPID=Org2MSP"), "CORE_PEER_LOCALMSPID"),
        ("lab-peer0.org1-mycc-1", spec("CORE_PEER_LOCALMSPID="), "CORE_PEER_LOCALMSPID"),
        (
            "lab-peer0.org1-mycc-1",
            spec("CORE_PEER_LOCALMSPID=Org1MSP", "CORE_PEER_LOCALMSPID=Org2MSP"),
            "CORE_PEER_LOCALMSPID",
        ),
        ("lab-peer0.org1-mycc-1", spec("CORE_PEER_ID=peer0.org2"), "CORE_PEER_ID"),
        ("lab-peer0.org1-mycc-1", spec("CORE_PEER_NETWORKID=net"), "CORE_PEER_NETWORKID"),
        ("", spec("CORE_PEER_LOCALMSPID=Org2MSP"), "CORE_PEER_LOCALMSPID"),
        ("", spec("CORE_PEER_ID=peer0.org2", image="ccenv"), "CORE_PEER_ID"),
    ],
)
def test_anothers_are_refused_with_the_field(name: str, asked: ContainerSpec, field: str) -> None:
    """
    And with the setting that has the patterns.
    """
    with pytest.raises(Forbidden, match=rf"^{field}: .*access\.tenants\.acme"):
        own().check_container(name, asked)


@pytest.mark.parametrize(
    "name",
    [
        "lab-peer0.org2-x",
        "ubuntu",
        "acme/lab-peer0.org1-x",
        "a" * 12,
        "sha256:" + HASH,
        "LAB-peer0.org1-x",
    ],
)
def test_no_image_is_built_with_anothers_name(name: str) -> None:
    """
    Nor with one that looks like an ID, or like a path in a registry.
    """
    with pytest.raises(Forbidden, match=r"^t: "):
        own().check_image(name)


def test_an_image_may_be_asked_for_by_its_id() -> None:
    """
    It is looked for among the tenant's own.
    """
    assert own().may_be_image("sha256:" + HASH)
    assert own().may_be_image(HASH[:12])
    assert own().may_be_image(IMAGE)
    assert not own().may_be_image("hyperledger/fabric-ccenv:2.5")


def test_a_build_may_have_any_image_here() -> None:
    """
    `access.images` is for that.
    """
    own().check_container("", spec("CORE_PEER_LOCALMSPID=Org1MSP", image="any/image"))


@pytest.mark.parametrize(
    ("networks", "peers", "name"),
    [
        (("",), ("peer0.org1",), "peer0.org1-mycc-1"),
        (("lab",), ("",), "lab-mycc-1"),
        (("net:1",), ("peer 0",), "net-1-peer-0-mycc"),
        (("*",), ("peer0.org1",), "my-net-peer0.org1-mycc"),
        (("a", "lab"), ("b", "*.org1"), "lab-x.org1-mycc"),
    ],
)
def test_patterns_are_made_to_names_as_peers_make_them(
    networks: tuple[str, ...], peers: tuple[str, ...], name: str
) -> None:
    """
    An empty ID leaves its part out, and what Docker does not take becomes a dash.
    """
    own(networks, peers).check_container(name, spec(image=f"{name}-{HASH}"))
