from hypothesis import given
from hypothesis import strategies as st

from peitho.core.builds.tail import Tail


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=0, max_value=2000))
def test_whoever_looks_in_reads_on_from_there(pieces: list[bytes], position: int) -> None:
    """
    What was added since, or its end where that was long.
    """
    tail = Tail(16)
    for piece in pieces:
        tail.add(piece)
    everything = b"".join(pieces)

    assert len(everything) == tail.added_bytes
    since = tail.since(position)
    assert everything[position:][-16:] == since
    assert everything[-5:] == tail.last(5)


def test_it_stays_small() -> None:
    """
    However much is added, and smaller still once nobody follows.
    """
    tail = Tail(1000)
    for _ in range(1000):
        tail.add(b"x" * 999)
    tail.cut(10)

    assert b"x" * 10 == tail.since(0)
    assert 999_000 == tail.added_bytes
