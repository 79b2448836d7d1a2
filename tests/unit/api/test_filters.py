import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.api import filters
from peitho.api.filters import ContainerFilters, ImageFilters
from peitho.core.container import State, Summary
from peitho.errors import InvalidArgument, NotFound, Unsupported
from peitho.formats.images.image_record import Image

IMAGE = Image(
    name="net-mycc",
    runtime="hyperledger/fabric-baseos:2.5",
    layer="sha256:l",
    layer_bytes=5,
    directory="/d",
    entries=("e",),
    labels={"type": "GOLANG", "empty": ""},
    env={},
    architecture="amd64",
    created="2026-01-02T00:00:00.000000Z",
)
OTHER = replace(IMAGE, name="x.io/a/other", layer="sha256:m", created="2026-01-03T00:00:00.000000Z")
NEWEST = Summary(
    id="ab" * 32,
    name="dev-peer0.org1-mycc",
    image="net-mycc",
    command="chaincode",
    created="2026-01-03",
    state=State("running"),
    kubernetes_name="cc-newest",
    labels={"peitho/msp-id": "Org1MSP"},
)
MIDDLE = replace(
    NEWEST, id="cd" * 32, name="dev-peer0.org2-mycc", state=State("exited", 3), labels={}
)
OLDEST = replace(
    NEWEST, id="ef" * 32, name="build-efef", image="hyperledger/fabric-ccenv:2.5", labels={}
)
ALL = [NEWEST, MIDDLE, OLDEST]
WORDS = st.lists(st.text(max_size=5), max_size=3, unique=True)


def selected(**wanted: list[str]) -> list[Summary]:
    """The containers that filters of a request select."""
    found = filters.parse(json.dumps(wanted), filters.CONTAINERS)
    return ContainerFilters.of(found).select(ALL, [IMAGE, OTHER])


def images(**wanted: list[str]) -> list[str]:
    """The names of the images that filters of a request select."""
    found = filters.parse(json.dumps(wanted), filters.IMAGES)
    return [image.name for image in ImageFilters.of(found).select([IMAGE, OTHER])]


@given(st.dictionaries(st.sampled_from(filters.CONTAINERS.obeyed.split()), WORDS))
def test_both_spellings_of_filters_mean_the_same(wanted: dict[str, list[str]]) -> None:
    """
    A list of values, and the map from values to `true` of older clients.
    """
    older = {name: dict.fromkeys(values, True) for name, values in wanted.items()}
    known = filters.CONTAINERS

    assert filters.parse(json.dumps(wanted), known) == filters.parse(json.dumps(older), known)
    assert {name for name, values in wanted.items() if values} == set(
        filters.parse(json.dumps(wanted), known)
    )


@given(st.text(max_size=30) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_whatever_is_sent_as_filters_is_read_or_refused(text: str) -> None:
    """
    Nothing else comes of it.
    """
    with contextlib.suppress(InvalidArgument):
        assert {} == filters.parse(text, filters.CONTAINERS)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '"x"', "[" * 9999),
        *('{"label": "a"}', '{"label": [1]}', '{"label": null}', '{"label": {"a": 1}}'),
    ],
)
def test_filters_of_another_shape_are_refused(text: str) -> None:
    """
    As dockerd refuses them.
    """
    with pytest.raises(InvalidArgument, match="invalid filter"):
        filters.parse(text, filters.CONTAINERS)


def test_a_value_that_is_false_is_a_value() -> None:
    """
    As dockerd has it: left out, it would be all containers that a script then removes.
    """
    found = filters.parse('{"name": {"mycc": false}}', filters.CONTAINERS)

    assert {"name": ("mycc",)} == found


def test_an_unknown_filter_is_named_and_so_is_one_that_is_left_out() -> None:
    """
    The first is nobody's, the second Docker's.
    """
    with pytest.raises(InvalidArgument, match="invalid filter 'colour'"):
        selected(colour=["blue"])
    with pytest.raises(Unsupported, match="the filter 'health' is not part of"):
        selected(health=["healthy"])
    with pytest.raises(Unsupported, match="the filter 'until' is not part of"):
        images(until=["1h"])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ALL),
        ({"label": []}, ALL),
        ({"id": ["abab"]}, [NEWEST]),
        ({"id": ["^cd", "^ef"]}, [MIDDLE, OLDEST]),
        ({"name": ["dev-peer*"]}, [NEWEST, MIDDLE]),
        ({"name": ["^/dev-peer0.org1-mycc$"]}, [NEWEST]),
        ({"name": ["^mycc$"]}, []),
        ({"label": ["service=hyperledger-fabric"]}, []),
        ({"label": ["peitho/msp-id"]}, [NEWEST]),
        ({"label": ["peitho/msp-id=Org1MSP", "peitho/kubernetes-name=cc-newest"]}, [NEWEST]),
        ({"label": ["peitho/msp-id=Org1MSP", "other"]}, []),
        ({"label": ["peitho/msp-id="]}, []),
        ({"status": ["exited", "dead"]}, [MIDDLE]),
        ({"exited": ["3"]}, [MIDDLE]),
        ({"exited": ["0"]}, []),
        ({"ancestor": ["net-mycc"]}, [NEWEST, MIDDLE]),
        ({"ancestor": ["net-mycc:latest"]}, [NEWEST, MIDDLE]),
        ({"ancestor": [IMAGE.id]}, [NEWEST, MIDDLE]),
        ({"ancestor": [IMAGE.id[7:19]]}, [NEWEST, MIDDLE]),
        ({"ancestor": ["docker.io/hyperledger/fabric-baseos:2.5"]}, [NEWEST, MIDDLE]),
        ({"ancestor": ["hyperledger/fabric-ccenv:2.5"]}, [OLDEST]),
        ({"ancestor": ["hyperledger/fabric-ccenv"]}, []),
        ({"ancestor": ["Not A Reference"]}, []),
        ({"before": ["dev-peer0.org2-mycc"]}, [OLDEST]),
        ({"since": ["cdcd"]}, [NEWEST]),
        ({"since": ["efef"], "before": [NEWEST.id]}, [MIDDLE]),
        ({"since": ["efef"], "status": ["running"]}, [NEWEST]),
    ],
)
def test_containers_are_those_that_are_asked_for(
    wanted: dict[str, list[str]], expected: list[Summary]
) -> None:
    """
    Filters narrow each other down; of one, any value will do, but of labels each.
    """
    assert expected == selected(**wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [IMAGE.name, OTHER.name]),
        ({"reference": ["dev-peer*"]}, []),
        ({"reference": ["net-*"]}, [IMAGE.name]),
        ({"reference": ["net-mycc:latest"]}, [IMAGE.name]),
        ({"reference": ["net-mycc:1"]}, []),
        ({"reference": ["*"]}, [IMAGE.name]),
        ({"reference": ["*/*/*", "net-mycc"]}, [IMAGE.name, OTHER.name]),
        ({"dangling": ["true"]}, []),
        ({"dangling": ["0"]}, [IMAGE.name, OTHER.name]),
        ({"label": ["type=GOLANG"]}, [IMAGE.name, OTHER.name]),
        ({"label": ["type=NODE"]}, []),
        ({"label": ["empty="]}, [IMAGE.name, OTHER.name]),
        ({"before": ["x.io/a/other"]}, [IMAGE.name]),
        ({"since": ["net-mycc:latest"]}, [OTHER.name]),
        ({"since": [OTHER.id]}, []),
    ],
)
def test_images_are_those_that_are_asked_for(
    wanted: dict[str, list[str]], expected: list[str]
) -> None:
    """
    By their names with a tag and without.
    """
    assert expected == images(**wanted)


def test_what_before_and_since_name_has_to_be_there() -> None:
    """
    A name that is not there is no reason to list everything.
    """
    with pytest.raises(NotFound, match="No such container: nobody"):
        selected(before=["nobody"])
    with pytest.raises(NotFound, match="No such image: none:latest"):
        images(since=["none"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("status", "gone"), ("id", "(a")),
        *(("exited", each) for each in ("x", "", "\u0663", "0_3")),
    ],
)
def test_a_value_that_is_none_is_named(name: str, value: str) -> None:
    """
    With its filter.
    """
    with pytest.raises((InvalidArgument, Unsupported), match=r"filter|pattern"):
        selected(**{name: [value]})


def test_other_values_that_are_none() -> None:
    """
    A boolean that is none, and two where there can be one.
    """
    with pytest.raises(InvalidArgument, match="invalid filter 'dangling=maybe'"):
        images(dangling=["maybe"])
    with pytest.raises(InvalidArgument, match="invalid filter 'before': more than one value"):
        selected(before=["a", "b"])


def test_options_of_old_clients_mean_what_the_filters_mean() -> None:
    """
    docker-py sends `before` and `since` beside the filters.
    """
    asked = ContainerFilters.of({}, before="dev-peer0.org1-mycc", since="build-efef")

    assert [MIDDLE] == asked.select(ALL, [])
