"""Whatever comes from outside: each reader takes it or refuses it, and nothing else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import mutated
from tests.support.readers import READERS


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_what_is_sound(name: str) -> None:
    """
    Or the changes to it would be changes to nothing.
    """
    for seed in READERS[name].seeds:
        READERS[name].read(seed)


@pytest.mark.parametrize("name", READERS)
@given(data=st.binary(max_size=2000), chance=st.integers(min_value=0))
def test_a_reader_takes_or_refuses_anything(name: str, data: bytes, chance: int) -> None:
    """
    What makes no sense, and what is nearly sound.
    """
    reader = READERS[name]
    reader.survives(data)
    for seed in reader.seeds:
        reader.survives(mutated(seed, random.Random(chance)))  # noqa: S311  no secret
