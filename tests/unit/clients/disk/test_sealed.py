import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.clients.disk.sealed import BrokenSealError, is_sealed, seal, unseal


@given(st.dictionaries(st.text(), st.text()))
def test_a_record_is_read_as_it_was_sealed(fields: dict[str, str]) -> None:
    """
    The file is JSON, with the record's digest before it.
    """
    record = json.dumps(fields).encode()
    content = seal(record)

    assert record == unseal(content)
    assert {"sha256": hashlib.sha256(record).hexdigest(), "record": fields} == json.loads(content)


def test_a_record_without_a_seal_is_read_as_it_is() -> None:
    """
    An earlier Peitho wrote it.
    """
    assert b'{"name": "mycc"}' == unseal(b'{"name": "mycc"}')
    assert (False, True) == (is_sealed(b"{}"), is_sealed(seal(b"{}")))


def test_a_broken_seal_is_told() -> None:
    """
    With both digests.
    """
    content = seal(b'{"name": "mycc"}').replace(b"mycc", b"myco")

    with pytest.raises(BrokenSealError, match=r"its sha256 is \w{64} instead of \w{64}$"):
        unseal(content)
