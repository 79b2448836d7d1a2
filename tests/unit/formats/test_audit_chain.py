import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats.audit_chain import BEGINNING, Chain, Verification

EVENTS = [{"time": f"2026-01-0{day}T00:00:00Z", "event": "x", "day": day} for day in range(1, 6)]


def written(chain: Chain | None = None) -> list[bytes]:
    """The lines of five events."""
    chain = chain or Chain()
    return [chain.add(event) for event in EVENTS]


def problems(lines: list[bytes]) -> list[str]:
    """What is wrong with lines."""
    return list(Verification().problems(lines))


def test_a_line_names_the_digest_of_the_one_before() -> None:
    """
    The first names none; anybody can check it with sha256sum.
    """
    one, two, *_ = written()

    assert (1, BEGINNING) == (json.loads(one)["number"], json.loads(one)["previous"])
    assert hashlib.sha256(one.rstrip(b"\n")).hexdigest() == json.loads(two)["previous"]


def test_what_was_written_is_whole() -> None:
    """
    And told from when to when, with the last digest.
    """
    verification, chain = Verification(), Chain()
    lines = written(chain)

    assert [] == list(verification.problems(lines))
    assert (
        "5 lines from number 1, 2026-01-01T00:00:00Z to 2026-01-05T00:00:00Z; the last has the "
        f"sha256 {chain.digest}"
    ) == verification.summary()


def test_a_chain_goes_on_in_the_next_file() -> None:
    """
    The second file alone is whole, too, but for what was before it.
    """
    first = written()
    chain = Chain.after(first[-1].rstrip(b"\n"))
    assert chain is not None
    second = written(chain)

    verification = Verification()
    assert [] == [*verification.problems(first), *verification.problems(second)]
    assert [] == problems(second)
    assert problems([*second, *first])


def test_lines_of_the_log_between_do_not_count() -> None:
    """
    Both go to stderr where no file is set.
    """
    one, two, *others = written()
    log = [b'{"event": "image built", "logger": "peitho"}\n', b"Traceback\n", b"\n", b"[]\n"]

    assert [] == problems([*log, one, *log, two, *others, *log])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines[:2] + lines[3:], "line 3 has the number 4, where 3 is due"),
        (lambda lines: lines[1:][::-1], "line 2 has the number 4, where 6 is due"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3 has the number 2, where 3 is"),
        (lambda lines: [*lines[:2], lines[2][:40], *lines[3:]], "line 3 is cut or damaged"),
        (lambda lines: [lines[0].replace(b'"day": 1', b'"day": 2'), *lines[1:]], "line 2 does not"),
        (lambda lines: [*lines, *written()], "line 6 has the number 1, where 6 is due"),
    ],
)
def test_a_line_that_is_missing_moved_or_changed_is_found(
    change: Callable[[list[bytes]], list[bytes]], problem: str
) -> None:
    """
    And where.
    """
    assert problem in "\n".join(problems(change(written())))


@given(st.integers(0, 4), st.data())
def test_no_changed_byte_goes_unseen(number: int, data: st.DataObject) -> None:
    """
    But in the last line, whose digest is to be kept elsewhere, and that the first is there.
    """
    lines = written()
    whole = Verification()
    assert [] == list(whole.problems(lines))
    at = data.draw(st.integers(0, len(lines[number]) - 2))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[number][at]))
    changed = lines[number][:at] + bytes([new]) + lines[number][at + 1 :]

    verification = Verification()
    seen = list(verification.problems([*lines[:number], changed, *lines[number + 1 :]]))

    shown = (verification.first, verification.digest)
    assert seen or (whole.first, whole.digest) != shown


@given(st.lists(st.binary()))
def test_whatever_is_read_is_no_error(lines: list[bytes]) -> None:
    """
    A verified file is anybody's.
    """
    Verification().summary()
    assert [] == problems([line for line in lines if b"peitho.audit" not in line])
