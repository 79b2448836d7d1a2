"""The page of errors: what it quotes is said, and what is said to operators is on it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "peitho"
PAGE = ROOT / "docs" / "guides" / "troubleshooting.md"
# Has the errors of its subject, as PAGE says.
REGISTRY = ROOT / "docs" / "guides" / "registry.md"

ROW = re.compile(r"^\| (.*?`.*?) \| ", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
# What differs each time: numbers, dots, what is in quotes, and words that stand for others.
VARIES = re.compile(r"\d+|\.\.\.|\"[^\"]*\"|'[^']*'|\b(?:N|ARCH|HOST|IMAGE|NAME|LINE)\b")
# What these say is read by whoever has typed the command.
ON_A_TERMINAL = ("operators", "rehearsal", "program/checks", "clients/disk/check.py")
# What these say is answered to programs that are no peer: clients of Docker, and Peitho's own Pods.
OF_NO_PEER = (
    *("api/containers.py", "api/delivery.py", "api/filters.py", "api/images.py", "api/options.py"),
    *("api/output.py", "api/queries.py", "core/builds/container.py", "core/builds/pool.py"),
    *("core/chaincode/container.py", "core/containers.py", "formats/docker", "program/app.py"),
    *("formats/images/architectures.py", "formats/images/references.py"),
    "formats/kubernetes/quantities.py",
)
# Of those, what a peer's operator reads all the same.
MENDED = ("Forbidden", "LimitReached", "StartFailed", "StorageFull", "Unavailable", "_TooMany")
# What these say comes behind other words, by which it is found.
BEHIND = {
    "clients/authority.py": "take it from a backup, or remove it and a new one is made",
    "clients/disk/build_cache.py": "kept build cannot be used",
    "clients/disk/sealed.py": "stored file damaged",
    "clients/registry/uploads.py": "bytes too early",
    "core/images/pull_accounts.py": "registry HOST: ...: 401",
    "formats/images/auth_challenges.py": "registry HOST: its token server answered 401",
    "formats/images/cosign.py": "cannot be used (...)",
    "formats/images/dsse.py": "cannot be used (...)",
    "formats/images/image_record.py": "image record cannot be read",
    "formats/images/oci.py": "cannot put a layer on IMAGE",
    "formats/kubernetes/pull_accounts.py": "registry HOST: ...: 401",
    "pod/calls.py": "puller failed",
    "pod/helper.py": "the helper beside the build failed",
    "pod/layer.py": "puller failed",
}
GAP = "…"


def quotes() -> list[str]:
    """What the first columns of the tables quote."""
    registry = REGISTRY.read_text().partition("## When it does not work")[2]
    rows = [row for text in (errors(), registry) for row in ROW.findall(text)]
    return [code for row in rows for code in CODE.findall(row)]


def errors() -> str:
    """The tables of errors; those of the log's events come later."""
    return PAGE.read_text().partition("## How to look")[0]


def parts(text: str) -> list[str]:
    """What of a quote is the same each time."""
    return [part for each in VARIES.split(text) if len(part := each.strip(" :;,()-")) > 3]


@cache
def sources() -> tuple[tuple[str, tuple[ast.AST, ...]], ...]:
    """Each module's place, and all nodes of it."""
    return tuple(
        (str(path.relative_to(SOURCE)), tuple(ast.walk(ast.parse(path.read_text()))))
        for path in sorted(SOURCE.rglob("*.py"))
    )


@cache
def literals() -> str:
    """All texts in the source, a line each, with gaps where values go."""
    return "\n".join(
        text
        for _, nodes in sources()
        for node in nodes
        if isinstance(node, ast.Constant | ast.JoinedStr) and (text := _text(node))
    )


@cache
def kinds() -> frozenset[str]:
    """The names of all classes that are told to a peer, wherever they are."""
    found = {"PeithoError"}
    classes = [node for _, nodes in sources() for node in nodes if isinstance(node, ast.ClassDef)]
    while (
        more := {
            each.name
            for each in classes
            if found & {base.id for base in each.bases if isinstance(base, ast.Name)}
        }
        - found
    ):
        found |= more
    return frozenset(found)


def messages() -> Iterator[tuple[str, str]]:
    """Where an error of these kinds is made, and what it says; only what has words of its own."""
    for place, nodes in sources():
        if place.startswith((*ON_A_TERMINAL, *BEHIND)):
            continue
        looked_at = MENDED if place.startswith(OF_NO_PEER) else kinds()
        for node in nodes:
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in looked_at
                and node.args
                and len((text := _text(node.args[0])).replace(GAP, "").strip()) > 10
            ):
                yield f"{place}:{node.lineno}", text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.Name):
        return constants().get(node.id, GAP)
    return GAP


@cache
def constants() -> dict[str, str]:
    """The texts that modules have under a name, such as `_FULL`."""
    return {
        name.id: node.value.value
        for _, nodes in sources()
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for name in node.targets
        if isinstance(name, ast.Name) and name.id.isupper()
    }


def test_what_is_quoted_is_said() -> None:
    """
    By Peitho in these words, or by somebody who is named here.
    """
    said = literals()
    unsaid = [
        quote
        for quote in quotes()
        if quote not in OF_OTHERS and not all(part in said for part in parts(quote))
    ]

    assert 50 < len(quotes())
    assert [] == unsaid


def test_each_event_of_the_log_is_logged() -> None:
    """
    In these words, by which people look for it.
    """
    _, _, looks = PAGE.read_text().partition("### In Peitho's log")
    events = [code for row in ROW.findall(looks) for code in CODE.findall(row)]

    said = literals()

    assert 30 < len(events)
    assert [] == [event for event in events if f"\n{event}\n" not in said]


def test_nobody_is_named_for_what_is_gone() -> None:
    """
    For a quote that is on the page.
    """
    assert set(OF_OTHERS) <= set(quotes())


def test_what_an_operator_has_to_mend_is_on_the_page() -> None:
    """
    By a part of it that says what it is about.
    """
    known = [parts(quote) for quote in quotes()]
    made = [*messages()]
    assert set(MENDED) <= kinds()
    unknown = [
        (place, message)
        for place, message in made
        if not any(found and all(part in message for part in found) for found in known)
    ]

    assert 100 < len(made)
    assert [] == unknown


def test_what_comes_behind_other_words_is_found_by_those() -> None:
    """
    And each place that is left out is one of the source's.
    """
    _, _, looks = PAGE.read_text().partition("### In Peitho's log")
    found = {*quotes(), *(code for row in ROW.findall(looks) for code in CODE.findall(row))}
    places = [place for place, _ in sources()]

    assert set() == set(BEHIND.values()) - found
    for left_out in (*ON_A_TERMINAL, *OF_NO_PEER, *BEHIND):
        assert any(place.startswith(left_out) for place in places), left_out


# Words that Peitho passes on, by whose they are; and Peitho's own that are put together of two.
OF_OTHERS = {
    'Error returned from build: 1 "..."': "the peer, core/chaincode/platforms/util/utils.go",
    "FailedMount": "an Event of the kubelet",
    'is forbidden: User "system:serviceaccount': "the API server",
    "must specify limits": "the API server, by a ResourceQuota: 'must specify limits.cpu'",
    "connection refused": "the peer's Go: 'dial tcp ...: connect: connection refused'",
    "failed to connect": "the peer's Go",
    "timeout expired while starting": "the peer, core/chaincode/runtime_launcher.go",
    "chaincode stream terminated": "the peer, core/chaincode/handler.go",
    "Client sent an HTTP request to an HTTPS server": "Peitho's api/tls.py, as bytes",
    "wrong version number": "OpenSSL",
    "certificate is not valid for": "OpenSSL, by way of Python's ssl",
    "unable to get local issuer certificate": "OpenSSL",
    "certificate is not yet valid": "OpenSSL",
    "has expired": "OpenSSL: 'certificate has expired'",
    "puller failed": "core/chaincode: '{container} failed'",
    "Suspended: the Job ...": "core/pods/explaining.py: a reason, and a message",
}
