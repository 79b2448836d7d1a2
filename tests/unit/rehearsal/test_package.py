import io
import tarfile

from peitho.formats.docker import dockerfile
from peitho.rehearsal import package
from peitho.rehearsal.generations import BY_NAME


def names(content: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {
            member.name: read.read()
            for member in archive
            if (read := archive.extractfile(member)) is not None
        }


def test_each_package_is_new() -> None:
    """
    Its source differs, so that no kept build is answered with.
    """
    one, other = (names(package.source(nonce)) for nonce in ("a", "b"))

    assert {"src/main.go", "src/go.mod"} == set(one)
    assert one["src/main.go"] != other["src/main.go"]


def test_a_build_context_is_as_peers_make_it() -> None:
    """
    Peitho reads its Dockerfile.
    """
    context = names(package.build_context(BY_NAME["2.5"], b"tar", runtime="fabric-baseos:2.5"))

    read = dockerfile.parse(context["Dockerfile"].decode())
    assert ("fabric-baseos:2.5", b"tar") == (read.base, context["binpackage.tar"])


def test_the_files_of_a_launch_have_absolute_names() -> None:
    """
    As those of a peer have.
    """
    assert "/etc/hyperledger/fabric/client.key" in names(package.launch_files())


def test_a_binary_package_has_what_the_output_had() -> None:
    """
    Without the directory that it was in.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        directory = tarfile.TarInfo("./")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        header = tarfile.TarInfo("./chaincode")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"elf"))

    assert {"chaincode": b"elf"} == names(package.binary_package([out.getvalue()]))


def test_an_image_has_the_name_that_peers_give_it() -> None:
    """
    As a recorded peer of 1.4 named it.
    """
    container = "trace-1.4.12-peer0.org1.lab-ab-1"

    assert (
        f"{container}-f4ebd86a72490fb795476875e4673e744325ee5af0845d2db1ccd911deb4f30e"
        == package.image_name(container)
    )
