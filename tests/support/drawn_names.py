"""Names that Docker takes, drawn by hypothesis: put together from texts, which is soon done."""

import string

from hypothesis import strategies as st

_LOWER = string.ascii_lowercase + string.digits
_BEGINNING = string.ascii_letters + string.digits
_ALL = _BEGINNING + "_.-"


def _joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


# [a-zA-Z0-9][a-zA-Z0-9_.-]{1,200}
CONTAINER_NAMES = _joined(st.sampled_from(_BEGINNING), st.text(_ALL, min_size=1, max_size=200))
# What ends in 64 hexadecimal digits, as the names that peers give to images do.
HASHED_NAMES = _joined(
    st.text(_ALL, min_size=1, max_size=130),
    st.just("-"),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)

_WORDS = st.text(_LOWER, min_size=1, max_size=9)
_HOSTS = _joined(
    _WORDS,
    st.just("") | _joined(st.sampled_from(".:"), st.text(string.digits, min_size=1, max_size=5)),
    st.just("/"),
)
_TAILS = _joined(st.sampled_from("._-"), st.text("0123456789abcdef", min_size=1, max_size=12))
# Below a host or not: `a1`, `registry:5000/mycc_1.0-beef`.
IMAGE_NAMES = _joined(st.just("") | _HOSTS, _WORDS, st.lists(_TAILS, max_size=3).map("".join))
