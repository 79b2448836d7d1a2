import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats.kubernetes import names
from tests.support.drawn_names import CONTAINER_NAMES, HASHED_NAMES
from tests.support.expansion import expand

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?")

VARIABLES = {"A": "value", "PATH": "/bin", "": "empty", "$": "dollar"}


@given(st.sampled_from(["cc", "build"]), CONTAINER_NAMES | HASHED_NAMES | st.text(max_size=210))
def test_an_objects_name_is_always_valid(prefix: str, name: str) -> None:
    """
    Whatever Docker allows as a name, and anything else, becomes an RFC 1123 label.
    """
    found = names.kubernetes_name(prefix, name)

    assert LABEL.fullmatch(found), found
    assert found.startswith(f"{prefix}-")
    assert len(found) <= names.LONGEST_CHARACTERS


def test_an_objects_name_leaves_room_for_what_is_appended() -> None:
    """
    A Job appends `-` and 8 digits, its Pod `-` and 5 more characters: 63 in all.
    """
    longest = names.kubernetes_name("cc", "A" * 200)

    assert len(f"{longest}-01234567-abcde") <= 63


@given(st.lists(CONTAINER_NAMES | HASHED_NAMES, unique=True, min_size=2, max_size=10))
def test_different_names_never_become_one(different: list[str]) -> None:
    """
    However alike two names are in Kubernetes' alphabet, they stay two.
    """
    assert len(different) == len({names.kubernetes_name("cc", name) for name in different})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A_b", "a-b"),
        ("a.b", "a_b"),
        ("MYCC", "mycc"),
        ("x" * 199 + "1", "x" * 199 + "2"),
        ("dev-peer0-cc-" + "ab" * 32, "dev-peer0-cc-" + "ab" * 31 + "ac"),
    ],
)
def test_names_that_look_alike_stay_two(one: str, other: str) -> None:
    """
    Upper case, underscores, dots, 200 characters, 64 digits behind: all of it counts.
    """
    assert names.kubernetes_name("cc", one) != names.kubernetes_name("cc", other)


def test_an_objects_name_is_readable() -> None:
    """
    An operator finds the peer and the chaincode in it.
    """
    found = names.kubernetes_name("cc", "dev-peer0.org1-mycc-1.0")

    assert re.fullmatch(r"cc-dev-peer0-org1-mycc-1-0-[0-9a-f]{10}", found)


@given(st.text(max_size=100).filter(lambda text: not text.endswith("\n")))
def test_a_labels_value_is_always_valid(text: str) -> None:
    """
    Any text becomes a label's value of at most 63 characters.
    """
    found = names.label_value(text)

    assert VALUE.fullmatch(found), found
    assert len(found) <= 63


@pytest.mark.parametrize("text", ["", "a", "Org1MSP", "my_cc.v1-2", "x" * 63])
def test_a_text_that_can_be_a_labels_value_stays_itself(text: str) -> None:
    """
    An operator selects by the MSP ID as it is.
    """
    assert text == names.label_value(text)


@given(st.lists(st.text(max_size=80), unique=True, min_size=2, max_size=6))
def test_labels_values_of_different_texts_differ(different: list[str]) -> None:
    """
    A package ID with a colon is not another's.
    """
    assert len(different) == len({names.label_value(text) for text in different})


def test_a_package_id_is_readable_as_a_labels_value() -> None:
    """
    Label and the beginning of the hash stay, a hash of our own is behind them.
    """
    package_id = "mycc_1.0:" + "ab" * 32

    assert re.fullmatch(r"mycc_1\.0-(ab){21}a-[0-9a-f]{10}", names.label_value(package_id))


@given(st.text("$()APTH ab{}", max_size=30) | st.text(max_size=50))
def test_an_escaped_text_comes_out_of_kubernetes_as_it_was(text: str) -> None:
    """
    A process sees `$(PATH)`, `$$` and a `$` at the end as the peer wrote them.
    """
    assert text == expand(names.env_escape(text), VARIABLES)


def test_an_unescaped_text_would_not() -> None:
    """
    The expansion that the test above undoes does change texts.
    """
    assert "value $ $(B) ${A}" == expand("$(A) $$ $(B) ${A}", VARIABLES)


def test_a_line_end_is_no_part_of_a_label() -> None:
    """
    It would be one of another.
    """
    assert re.fullmatch(r"[A-Za-z0-9_.-]*", names.label_value("Org1MSP\n"))


def test_tenants_in_one_namespace_have_different_names() -> None:
    """
    Where there are none, it is the name of before.
    """
    name = "lab-peer0.acme-mycc-1"
    made = [names.chaincode_name(f"peitho{tenant}", name) for tenant in ("", ".acme", ".other")]

    assert names.kubernetes_name("cc", name) == made[0]
    assert 3 == len(set(made))
    assert {"cc-lab-peer0-acme-mycc-1"} == {each.rpartition("-")[0] for each in made}


def test_no_tenant_finds_a_name_that_takes_anothers_place() -> None:
    """
    80 bits of a hash cannot be tried through; with 40, a create would tell of another's.
    """
    for name in ("lab-peer0.acme-mycc-1", "l" * 200):
        made = names.chaincode_name("peitho.acme", name)
        assert 20 == len(made.rpartition("-")[2])
        assert len(made) <= names.LONGEST_CHARACTERS
