import pytest

from peitho.errors import InvalidArgument
from peitho.formats.kubernetes import mount_paths

TAKEN = [
    "/proc",
    "/proc/self/environ",
    "//proc/./1",
    "/sys/fs",
    "/dev",
    "/var/run/secrets/kubernetes.io/serviceaccount",
    "/run/secrets",
    "/peitho",
    "/peitho/go",
]


@pytest.mark.parametrize("path", ["/chaincode/input", "//chaincode/./input/", "/procedures"])
def test_a_peers_directories_can_be_had(path: str) -> None:
    """
    Whatever slashes and points are in them.
    """
    assert mount_paths.of_directory(path) in ("/chaincode/input", "/procedures")


@pytest.mark.parametrize("path", [*TAKEN, "/", "/.", "", "input", "/etc", "/usr/local/", "/a/../b"])
def test_a_directory_that_a_pod_cannot_have_is_refused_with_its_path(path: str) -> None:
    """
    What belongs to the kernel, the kubelet or Peitho, and what would hide the image's own files.
    """
    with pytest.raises(InvalidArgument, match="the path"):
        mount_paths.of_directory(path)


@pytest.mark.parametrize("path", TAKEN)
def test_a_file_that_a_pod_cannot_have_is_refused_with_its_path(path: str) -> None:
    """
    A file in `/etc` is fine: it is mounted alone.
    """
    assert "/etc/hyperledger/fabric/peer.crt" == mount_paths.of_file(
        "//etc/hyperledger/fabric/peer.crt"
    )
    with pytest.raises(InvalidArgument, match="belongs to Kubernetes or Peitho"):
        mount_paths.of_file(path)
