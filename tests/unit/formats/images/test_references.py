import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats.images import references
from peitho.formats.images.references import Reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", Reference("docker.io", "library/busybox", "", "")),
        ("a/b", Reference("docker.io", "a/b", "", "")),
        ("a/b/c:1", Reference("docker.io", "a/b/c", "1", "")),
        ("localhost/a", Reference("localhost", "a", "", "")),
        ("localhost:5000/a:2", Reference("localhost:5000", "a", "2", "")),
        ("ghcr.io/a/b_c__d-e.f:v1.2-x_y", Reference("ghcr.io", "a/b_c__d-e.f", "v1.2-x_y", "")),
        ("MyHost/a", Reference("MyHost", "a", "", "")),
        ("[::1]:5000/a", Reference("[::1]:5000", "a", "", "")),
        (f"a@{DIGEST}", Reference("docker.io", "library/a", "", DIGEST)),
        (f"x.io/a:1@{DIGEST}", Reference("x.io", "a", "1", DIGEST)),
    ],
)
def test_a_reference_is_taken_apart(text: str, expected: Reference) -> None:
    """
    Domain, repository, tag and digest, by the rules that Docker has.
    """
    assert expected == references.parse(text)


@pytest.mark.parametrize(
    ("text", "familiar", "full"),
    [
        (
            "hyperledger/fabric-ccenv:2.5",
            "hyperledger/fabric-ccenv:2.5",
            "docker.io/hyperledger/fabric-ccenv:2.5",
        ),
        ("busybox", "busybox:latest", "docker.io/library/busybox:latest"),
        ("docker.io/library/busybox:1", "busybox:1", "docker.io/library/busybox:1"),
        ("x.io/a", "x.io/a:latest", "x.io/a:latest"),
        (f"x.io/a@{DIGEST}", f"x.io/a@{DIGEST}", f"x.io/a@{DIGEST}"),
        (f"a/b:1@{DIGEST}", f"a/b:1@{DIGEST}", f"docker.io/a/b:1@{DIGEST}"),
    ],
)
def test_a_reference_is_written_as_people_and_as_nodes_do(
    text: str, familiar: str, full: str
) -> None:
    """
    Docker Hub and `latest` may be left out where they are read, not where they are written out.
    """
    reference = references.parse(text)

    assert (familiar, full) == (reference.familiar(), reference.full())
    assert reference.full() == references.parse(full).full()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "a:",
        "a@",
        "A",
        "a/B",
        "a//b",
        "/a",
        "a/",
        "a b",
        "a:b c",
        "a..b",
        "-a",
        "a-",
        "a___b",
        "a:-1",
        f"a:{'t' * 129}",
        "n" * 256,
        "a@sha256:0a",
        "a@md5:" + "0a" * 16,
        "a@sha256:" + "0A" * 32,
        "https://x.io/a",
        "x.io:port/a",
        "x.io/../a",
        "é",
        "a:é",
    ],
)
def test_what_is_no_reference_is_refused_in_dockers_words(text: str) -> None:
    """
    A peer logs what Docker would have said.
    """
    with pytest.raises(InvalidArgument, match=r"^invalid reference format: "):
        references.parse(text)


def test_a_long_text_is_shown_in_part() -> None:
    """
    An error stays readable.
    """
    with pytest.raises(InvalidArgument) as raised:
        references.parse("A" * 10_000)

    assert len(str(raised.value)) < 300


_DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    "text", ["a\n", "a:1\n", "x.io\n/a", f"a@{_DIGEST}\n", f"a:@{_DIGEST}"], ids=repr
)
def test_a_line_end_or_an_empty_tag_is_no_part_of_a_reference(text: str) -> None:
    """
    Neither behind a name, a tag or a digest, nor within.
    """
    with pytest.raises(InvalidArgument):
        references.parse(text)


def test_docker_io_has_a_library() -> None:
    """
    The domain may be written out.
    """
    assert "docker.io/library/busybox:latest" == references.parse("docker.io/busybox").full()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("docker.io", True),
        ("index.docker.io", True),
        ("registry-1.docker.io", True),
        ("evil-docker.io", False),
        ("mirror.local:5000", False),
        ("", False),
    ],
)
def test_docker_hub_has_many_names(host: str, *, expected: bool) -> None:
    """
    They are one registry.
    """
    assert expected == references.is_docker_hub(host)


HUB = {"docker.io/hyperledger/*": "mirror.local:5000/hyperledger/*"}


@pytest.mark.parametrize(
    ("image", "table", "expected"),
    [
        ("hyperledger/fabric-ccenv:2.5", HUB, "mirror.local:5000/hyperledger/fabric-ccenv:2.5"),
        ("docker.io/hyperledger/a", HUB, "mirror.local:5000/hyperledger/a:latest"),
        (f"hyperledger/a@{DIGEST}", HUB, f"mirror.local:5000/hyperledger/a@{DIGEST}"),
        ("ghcr.io/hyperledger/a:1", HUB, "ghcr.io/hyperledger/a:1"),
        ("hyperledger/a:1", {}, "hyperledger/a:1"),
        ("Not An Image", HUB, "Not An Image"),
        ("hyperledger/a:1", {"hyperledger/*": "m.io/*"}, "m.io/a:1"),
        ("busybox", {"busybox": "m.io/box"}, "m.io/box:latest"),
        ("docker.io/library/busybox:1", {"busybox": "m.io/box:2"}, "m.io/box:2"),
        ("busybox:1", {"docker.io/library/*": "m.io/*"}, "m.io/busybox:1"),
        ("busybox:1", {"docker.io/*": "m.io/hub/*"}, "m.io/hub/library/busybox:1"),
        ("x.io/a/b:1", {"*": "m.io/*"}, "m.io/x.io/a/b:1"),
        ("x.io/a/b:1", {"*/b": "m.io/b"}, "m.io/b:1"),
        ("a/b:2.5", {"a/b:2.4": "m.io/b", "a/b:2.*": "m.io/b:x2.*"}, "m.io/b:x2.5"),
        ("a/b:2.5", {"a/b:2.5": f"a/b@{DIGEST}"}, f"a/b@{DIGEST}"),
        ("a/b:2.5", {"a/b": "m.io/first", "a/*": "m.io/second"}, "m.io/first:2.5"),
        ("a/b:2.5", {"a/*": "m.io/first", "a/b": "m.io/second"}, "m.io/first:2.5"),
        ("a/aa:1", {"a/a*aa": "m.io/*"}, "a/aa:1"),
    ],
)
def test_an_image_is_rewritten_by_the_first_pattern_that_matches(
    image: str, table: dict[str, str], expected: str
) -> None:
    """
    For mirrors, air gaps and pinned digests; names of Docker Hub match with and without domain.
    """
    assert expected == references.rewritten(image, table)


parts = st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True)
versions = st.sampled_from([":1", ":v2.5-x", f"@{DIGEST}", f":1@{DIGEST}"])
hosts = st.sampled_from(["docker.io", "x.io", "localhost:5000"])


@given(hosts, st.lists(parts, min_size=2, max_size=4), versions)
def test_a_whole_domain_moves_with_all_that_is_below(
    host: str, names: list[str], version: str
) -> None:
    """
    What comes out is a reference again, with the same repository, tag and digest.
    """
    repository = "/".join(names)

    found = references.rewritten(f"{host}/{repository}{version}", {f"{host}/*": "m.io/p/*"})

    assert f"m.io/p/{repository}{version}" == found == references.parse(found).full()


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("*/*", "a/*"),
        ("a/b", "m.io/*"),
        ("a/*", "m.io/*/*"),
        ("a/*", "M.io//x"),
        ("A/*", "m.io/ x"),
        ("a//b", "m.io/x"),
        ("", "m.io/x"),
        ("a", ""),
    ],
)
def test_a_line_that_could_never_work_is_told(pattern: str, target: str) -> None:
    """
    When the settings are read, not when a chaincode starts.
    """
    assert references.rewrite_problem(pattern, target)


@pytest.mark.parametrize("pattern", ["docker.io/hyperledger/*", "*", "*/b", "a:2.*", "a*"])
def test_a_line_that_can_work_is_taken(pattern: str) -> None:
    """
    With a `*` anywhere.
    """
    assert "" == references.rewrite_problem(pattern, "mirror.local/hyperledger/*")
