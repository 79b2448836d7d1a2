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


@pytest.mark.parametrize("path", ["/" + "a" * 256, "/" + "ä" * 128, "/a" * 2048, "/a\udc80"])
def test_a_path_that_no_file_has_is_refused(path: str) -> None:
    """
    The kubelet would tell of it only when the Pod starts.
    """
    with pytest.raises(InvalidArgument, match=r"longer than Linux takes|not in UTF-8"):
        mount_paths.of_file(path)
    for longest in ("/" + "a" * 255, "/a" * 2047):
        assert longest == mount_paths.of_directory(longest)


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
