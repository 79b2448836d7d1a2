"""What a rehearsal sends: a package's source, a build's context, the files of a launch."""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from importlib import resources

from peitho.rehearsal.generations import Generation

SOURCE_DIRECTORY = "/chaincode/input"
OUTPUT_DIRECTORY = "/chaincode/output"
# Nothing but the standard library, so that nothing is downloaded.
BUILD = (
    f"set -e; cd {SOURCE_DIRECTORY}/src; "
    f"CGO_ENABLED=0 GO111MODULE=on go build -o {OUTPUT_DIRECTORY}/chaincode ."
)
_MODULE = "module rehearsal\n\ngo 1.13\n"
_TLS = "/etc/hyperledger/fabric"
# The names that a peer uploads; chaincode of a rehearsal looks whether the first is there.
_TLS_FILES = ("client.key", "client.crt", "client_pem.key", "client_pem.crt", "peer.crt")


def source(nonce: str) -> bytes:
    """
    Return the package as a peer uploads it to a build: a gzip'd tar with `src/`.

    The nonce makes it new, so that it is compiled and not found among kept builds.
    """
    program = resources.files(__package__).joinpath("chaincode.go").read_text()
    files = {"src/main.go": f"// {nonce}\n{program}".encode(), "src/go.mod": _MODULE.encode()}
    return _archive(files, mode=0o644)


def launch_files() -> bytes:
    """Return what a peer with TLS uploads before a launch; the names are absolute."""
    files = {f"{_TLS}/{name}": b"of a rehearsal, for nothing\n" for name in _TLS_FILES}
    return _archive(files, mode=0o644)


def build_context(generation: Generation, binary_package: bytes, *, runtime: str) -> bytes:
    """Return the context of `/build`; the binary package is what the build's output was."""
    dockerfile = (
        f"FROM {runtime}\nADD binpackage.tar /usr/local/bin\n"
        'LABEL org.hyperledger.fabric.chaincode.type="GOLANG" \\\n'
        f'      org.hyperledger.fabric.version="{generation.name}"\n'
        f"ENV CORE_CHAINCODE_BUILDLEVEL={generation.name}\n"
    )
    files = {"Dockerfile": dockerfile.encode(), "binpackage.tar": binary_package}
    return _archive(files, mode=0o644)


def image_name(container: str) -> str:
    """Return the image's name that belongs to a container's, as peers make it."""
    return f"{container.lower()}-{hashlib.sha256(container.encode()).hexdigest()}"


def environment(chaincode_id: str, msp_id: str) -> list[str]:
    """Return the variables that a peer gives its chaincode, as far as a rehearsal needs them."""
    return [
        f"CORE_CHAINCODE_ID_NAME={chaincode_id}",
        "CORE_CHAINCODE_LOGGING_LEVEL=info",
        "CORE_PEER_TLS_ENABLED=true",
        f"CORE_TLS_CLIENT_KEY_PATH={_TLS}/client.key",
        f"CORE_TLS_CLIENT_CERT_PATH={_TLS}/client.crt",
        f"CORE_PEER_TLS_ROOTCERT_FILE={_TLS}/peer.crt",
        f"CORE_PEER_LOCALMSPID={msp_id}",
    ]


def binary_package(chunks: Iterable[bytes]) -> bytes:
    """Return the archive of a build's output without its directory, as peers pack it again."""
    content = io.BytesIO(b"".join(chunks))
    with tarfile.open(fileobj=content) as output:
        files = {
            member.name.removeprefix("./"): read.read()
            for member in output
            if (read := output.extractfile(member))
        }
    return _archive(files, mode=0o755)


def _archive(files: Mapping[str, bytes], *, mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.mode, header.size = mode, len(content)
            archive.addfile(header, io.BytesIO(content))
    return out.getvalue()
