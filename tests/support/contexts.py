"""Build contexts as peers send them, for tests."""

import io
from collections.abc import AsyncIterator

from tests.support.archives import Member, archive_bytes, directory, file

DOCKERFILE = """\
FROM hyperledger/fabric-baseos:2.5
ADD binpackage.tar /usr/local/bin
LABEL org.hyperledger.fabric.chaincode.type="GOLANG" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16"""


def package(content: bytes = b"elf") -> bytes:
    """What a build's output becomes: `binpackage.tar`."""
    return archive_bytes([directory("."), file("./chaincode", content, mode=0o755)])


def context(dockerfile: str = DOCKERFILE, *more: Member, binpackage: bytes | None = None) -> bytes:
    """The body of `POST /build`."""
    added = file("binpackage.tar", package() if binpackage is None else binpackage)
    return archive_bytes([file("Dockerfile", dockerfile.encode()), added, *more], compression="gz")


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    """A body as it comes from the network."""
    stream = io.BytesIO(body)
    while chunk := stream.read(4096):
        yield chunk
