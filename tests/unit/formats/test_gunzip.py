import gzip
import io
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats.gunzip import Gunzip, unpacked

LIMIT_BYTES = 1024**2


def read(data: bytes, *, limit_bytes: int = LIMIT_BYTES) -> bytes:
    reader = Gunzip(io.BytesIO(data), limit_bytes=limit_bytes)
    chunks = []
    while chunk := reader.read(1000):
        chunks.append(chunk)
    return b"".join(chunks)


@given(st.lists(st.binary(max_size=5000), min_size=1, max_size=4), st.integers(0, 2000))
def test_what_was_compressed_is_read(contents: list[bytes], zeros: int) -> None:
    """
    Of one gzip member or several, with zeros behind or not.
    """
    packed = b"".join(gzip.compress(content) for content in contents) + bytes(zeros)

    assert b"".join(contents) == read(packed)


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[:12],
        lambda packed: packed[:-8] + bytes(4) + packed[-4:],
        lambda packed: packed[:-4] + bytes(4),
        lambda packed: packed + b"garbage",
        lambda packed: packed + packed[:5],
        lambda packed: packed[:10] + b"\xff" * 20,
    ],
    ids=["cut", "no data", "checksum", "length", "garbage", "half a member", "damaged"],
)
def test_what_is_damaged_is_refused(change: Callable[[bytes], bytes]) -> None:
    """
    Its checksum and its length count, and where it ends.
    """
    with pytest.raises(InvalidArgument, match="not a whole tar archive: its gzip"):
        read(change(gzip.compress(b"content" * 100)))


def test_nothing_is_read_past_the_limit() -> None:
    """
    However little it is compressed.
    """
    with pytest.raises(InvalidArgument, match="unpacks to more than 5000 bytes"):
        read(gzip.compress(bytes(5001)), limit_bytes=5000)


def test_a_bomb_is_refused_by_its_ratio() -> None:
    """
    Long before the limit: what is 1,000 times its size was made to do harm.
    """
    packed = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packed.compress(bytes(1024**2)) for _ in range(40)) + packed.flush()

    with pytest.raises(InvalidArgument, match="more than 200 times its size"):
        read(bomb, limit_bytes=1024**4)


def test_what_is_not_compressed_is_left_as_it_is() -> None:
    """
    Also if it begins like a name of another program.
    """
    plain = io.BytesIO(b"BZhang.java")

    with unpacked(plain, limit_bytes=LIMIT_BYTES) as found:
        assert b"BZhang.java" == found.read()
