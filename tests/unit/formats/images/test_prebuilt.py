import gzip
import io
import json
import tarfile

import pytest

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.images import prebuilt
from peitho.formats.tar import ArchiveLimits
from tests.support.archives import (
    Member,
    archive_bytes,
    directory,
    file,
    hardlink,
    symlink,
)

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example/org/asset@{DIGEST}"
TOLD = json.dumps({"name": "registry.example/org/asset", "digest": DIGEST}).encode()
LIMITS = ArchiveLimits()


def told(*files: tuple[str, bytes], import_path: str = "") -> str:
    """What an archive of files tells a build."""
    packed = archive_bytes([file(name, content) for name, content in files], compression="gz")
    found = prebuilt.find(tar.scan(io.BytesIO(packed), limits=LIMITS), import_path)
    return prebuilt.read(io.BytesIO(packed), found.name, limits=LIMITS) if found else ""


@pytest.mark.parametrize(
    "place",
    [
        "src/image.json",
        "src/src/image.json",
        "src/github.com/org/asset/image.json",
        "image.json",
    ],
)
def test_an_image_is_told_wherever_a_peer_has_the_source(place: str) -> None:
    """
    Go and Node.js, Java, and Go in a GOPATH.
    """
    path = "github.com/org/asset"
    assert IMAGE == told(("src/main.go", b"package main"), (place, TOLD), import_path=path)


@pytest.mark.parametrize(
    "place",
    [
        "src/vendor/x/image.json",
        "src/node_modules/x/image.json",
        "src/image.json.bak",
        "src/my-image.json",
        "src/IMAGE.JSON",
    ],
)
def test_what_others_have_made_tells_nothing(place: str) -> None:
    """
    Nor does a file of another name.
    """
    assert "" == told((place, TOLD))


@pytest.mark.parametrize("place", ["src/assets/image.json", "src/src/a/image.json"])
@pytest.mark.parametrize("content", [TOLD, b'{"name": "logo.png", "digest": "d41d8cd9"}'])
def test_a_file_below_the_source_is_one_as_any_other(place: str, content: bytes) -> None:
    """
    Whatever it says: the source is compiled.
    """
    main = ("src/main.go", b"package main")
    for path in ("", ".", "example.com/asset/assets", "github.com/org/asset"):
        assert "" == told(main, (place, content), import_path=path)


def test_what_others_have_made_is_no_part_of_the_source() -> None:
    """
    A peer packs what it imports of its GOPATH beside it.
    """
    files = [
        ("META-INF/statedb/a.json", b"{}"),
        ("src/github.com/org/asset/main.go", b"package main"),
        ("src/github.com/org/asset/image.json", TOLD),
        ("src/github.com/others/errors/errors.go", b"package errors"),
    ]
    assert IMAGE == told(*files, import_path="github.com/org/asset")
    assert "" == told(*files, import_path="github.com/others/errors")


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("GOPATH=/chaincode/input:$GOPATH go build  -a -o /chaincode/output/chaincode a/b", "a/b"),
        ("cd x\n  GO111MODULE=on go build -v -mod=vendor -o /chaincode/output/chaincode .\n", "."),
        ("go build -v -o /chaincode/output/chaincode a/b\nelif [ -f c ]; go build -o x y", "a/b"),
        ("go build -o /chaincode/output/chaincode", ""),
        ("go build " * 50_000, ""),
        (f"go build -v -o x {'a' * 100_000}", "a" * 4096),
        ("npm install --production", ""),
    ],
)
def test_what_is_built_is_told_by_the_command(script: str, path: str) -> None:
    """
    Of all releases; whatever else it is costs no more than to read it.
    """
    assert path == prebuilt.import_path(["/bin/sh", "-c", script])


def test_the_least_deep_counts() -> None:
    """
    Of several.
    """
    deep = TOLD.replace(b"asset", b"other")
    assert IMAGE == told(("src/src/image.json", deep), ("src/image.json", TOLD))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"{}",
        b"\xff",
        b'{"width": 1}',
        b'{"name": "logo", "url": "x"}',
        b'{"name": "logo"}',
        b'{"name": 1}',
        b"[" * 4000,
        json.dumps({"name": "a", "digest": DIGEST, "alt": ""}).encode(),
    ],
)
def test_a_file_about_something_else_is_an_ordinary_one(content: bytes) -> None:
    """
    Its package is built as ever.
    """
    assert "" == told(("src/image.json", content))


@pytest.mark.parametrize(
    "content",
    [
        {"name": "registry.example/org/asset:1.0"},
        {"name": "registry.example/org/asset", "tag": "1.0"},
        {"name": "registry.example/org/asset"},
        {"name": "asset", "tag": "1.0"},
        {"name": "registry.example/org/asset", "tag": "1.0", "digest": DIGEST},
        {"name": "\ud800", "digest": DIGEST},
        {"name": {"a": [1]}, "digest": [DIGEST]},
        {"name": "registry.example/org/asset:1.0", "digest": DIGEST},
        {"name": "registry.example/org/asset", "digest": ""},
        {"name": "registry.example/org/asset", "digest": "sha256:ab"},
        {"name": "registry.example/org/asset", "digest": "sha512:" + "ab" * 64},
        {"name": f"registry.example/org/asset@{DIGEST}", "digest": DIGEST},
        {"name": "Not A Name", "digest": DIGEST},
        {"name": "", "digest": DIGEST},
        {"name": 1, "digest": DIGEST},
        {"name": "a", "digest": None},
        {"name": "a\n", "digest": DIGEST},
    ],
)
def test_an_image_that_is_not_named_by_its_digest_is_refused(content: object) -> None:
    """
    A tag leads to another image tomorrow.
    """
    with pytest.raises(InvalidArgument):
        told(("src/image.json", json.dumps(content).encode()))


@pytest.mark.parametrize(
    "member",
    [
        file("src/image.json", TOLD + b" " * 5000),
        symlink("src/image.json", "../other.json"),
        hardlink("src/image.json", "other.json"),
        directory("src/image.json"),
    ],
    ids=["huge", "link", "hard link", "directory"],
)
def test_what_is_no_small_file_tells_nothing(member: Member) -> None:
    """
    What it leads to is not read.
    """
    packed = archive_bytes([file("other.json", TOLD), member])

    assert prebuilt.find(tar.scan(io.BytesIO(packed), limits=LIMITS)) is None


def test_text_that_is_no_utf_8_is_told_as_json_has_it() -> None:
    """
    An editor may write a mark before it, or UTF-16.
    """
    assert IMAGE == told(("src/image.json", b"\xef\xbb\xbf" + TOLD))
    assert IMAGE == told(("src/image.json", TOLD.decode().encode("utf-16")))


def test_a_result_is_the_same_for_the_same_image() -> None:
    """
    And tells it.
    """
    made = prebuilt.result(IMAGE)

    assert made == prebuilt.result(IMAGE)
    assert IMAGE == prebuilt.reference(
        tar.read_files(io.BytesIO(made), limits=LIMITS)["/image.json"]
    )


@pytest.mark.parametrize(
    ("language", "place", "more"),
    [
        ("golang", "src/image.json", "src/main.go"),
        ("node", "src/image.json", "src/package.json"),
        ("java", "src/src/image.json", "src/build.gradle"),
    ],
)
def test_a_package_is_one_that_peers_take(language: str, place: str, more: str) -> None:
    """
    Files alone, with the modes that peers ask for (core/chaincode/platforms, ValidateCodePackage).
    """
    made = prebuilt.package(IMAGE, label="asset_1.0", language=language)
    assert made == prebuilt.package(IMAGE, label="asset_1.0", language=language)

    with tarfile.open(fileobj=io.BytesIO(made)) as outer:
        assert ["metadata.json", "code.tar.gz"] == outer.getnames()
        about = json.load(outer.extractfile("metadata.json") or io.BytesIO())
        code = (outer.extractfile("code.tar.gz") or io.BytesIO()).read()
    assert (language, "asset_1.0") == (about["type"], about["label"])
    with tarfile.open(fileobj=io.BytesIO(code)) as inner:
        assert {place, more} == set(inner.getnames())
        assert all(member.isfile() and member.mode == 0o644 for member in inner)
    found = prebuilt.find(tar.scan(io.BytesIO(code), limits=LIMITS))
    assert found is not None
    assert IMAGE == prebuilt.read(io.BytesIO(code), found.name, limits=LIMITS)
    assert b"\0\0\0\0" == made[4:8] == code[4:8]
    assert gzip.decompress(made)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("registry.example/org/asset:1.0", "asset"),
        (f"registry.example/org/asset:1.0@{DIGEST}", "asset"),
        ("registry.example/org/asset", "asset"),
        (IMAGE, ""),
        (IMAGE, "a:b"),
        (IMAGE, "../a"),
    ],
)
def test_a_package_that_no_peer_or_no_peitho_takes_is_not_made(image: str, label: str) -> None:
    """
    Neither of a tag, nor with a label that peers refuse.
    """
    with pytest.raises(InvalidArgument):
        prebuilt.package(image, label=label, language="golang")
