import json

import pytest

from peitho.formats.images import origin
from peitho.formats.images.origin import Origin, Source
from peitho.formats.tar import TarEntry

ORIGIN = Origin(
    build_id="b",
    builder="ccenv",
    builder_id="sha256:" + "ab" * 32,
    command=("go", "build"),
    variables=("GOPROXY",),
    sources=(Source("/chaincode/input", "aa", "bb", {"src/go.sum": "cc"}),),
    started_at="2026-01-02T03:04:05Z",
    finished_at="2026-01-02T03:05:05Z",
    version="1",
)


def test_an_origin_outlives_being_kept() -> None:
    """
    As JSON.
    """
    assert ORIGIN == Origin.from_json(json.loads(json.dumps(ORIGIN.to_json())))
    assert origin.NOWHERE == Origin.from_json({})


@pytest.mark.parametrize(
    "told", [{"command": [1]}, {"builder": 1}, {"sources": [{}]}, {"unknown": ""}]
)
def test_what_is_none_is_refused(told: dict[str, object]) -> None:
    """
    As all that is damaged.
    """
    with pytest.raises((TypeError, ValueError, KeyError)):
        Origin.from_json(told)


def test_locks_are_those_of_the_package() -> None:
    """
    And not those of what it has taken from others, but the list of that.
    """
    names = (
        *("src/go.sum", "src/vendor/modules.txt", "src/vendor/a/go.mod"),
        *("src/package-lock.json", "src/node_modules/a/package.json", "src/main.go"),
    )
    entries = [TarEntry(name, "file", 0o644, 1, sha256=name[::-1]) for name in names]

    found = origin.locks(entries)

    wanted = ["src/go.sum", "src/package-lock.json", "src/vendor/modules.txt"]
    assert {name: name[::-1] for name in wanted} == found


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        ("docker.io/a/b@sha256:" + "ab" * 32, "sha256:" + "ab" * 32),
        ("docker-pullable://a@sha256:" + "ab" * 32, "sha256:" + "ab" * 32),
        ("sha256:" + "ab" * 32, "sha256:" + "ab" * 32),
        ("a:latest", ""),
        ("", ""),
    ],
)
def test_a_digest_is_found_in_what_a_node_says(image_id: str, digest: str) -> None:
    """
    Runtimes of containers put it in several ways.
    """
    assert digest == origin.digest(image_id)
