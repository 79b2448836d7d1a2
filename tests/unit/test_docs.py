import os
import re
import subprocess
import sys
from pathlib import Path

from peitho.api import filters, routes
from peitho.formats.docker import forbidden
from tests.unit import commands_reference, settings_reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What is not below a folder that is made, such as `build`.
FOLDERS = ("charts", "deploy", "docs", "tests")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
)

# Pages and images elsewhere are not looked at: tests need no network.
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"`[^`\n]+`")
QUOTED_MAKE = re.compile(r"`make ([a-z][a-z-]*)")
FENCED_MAKE = re.compile(r"^ *(?:\$ )?make ([a-z][a-z-]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
CALL = re.compile(r"^\| `([A-Z*]+) (/\S*)` \|", re.MULTILINE)
HELD_BY = re.compile(r"`(tests/[\w/]+\.py)::(?:(\w+)::)?(\w+)`")
PATTERN = re.compile(r"\{(\w+):[^}]+\}")


def anchors(page: Path) -> set[str]:
    """What a link to a page may have behind its `#`, as GitHub makes it from a heading."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.strip().replace(" ", "-") for each in plain}


def links(page: Path) -> list[str]:
    """The relative links of a page; what is quoted is none, and hides none."""
    return LINK.findall(QUOTED.sub("code", FENCED.sub("", page.read_text())))


def calls(text: str) -> set[tuple[str, str]]:
    """The calls in the tables of a page, `VERB /path`."""
    return set(CALL.findall(text))


def shown(path: str) -> str:
    """A route's path as people read it: `{name}` for `{name:.+}`."""
    return PATTERN.sub(r"{\1}", path)


def test_the_reference_of_settings_is_as_the_settings_are() -> None:
    """
    Else: `python -m tests.unit.settings_reference > docs/reference/settings.md`.
    """
    assert settings_reference.render() == (DOCS / "reference/settings.md").read_text()


def test_the_reference_of_commands_is_as_the_command_line_is() -> None:
    """
    Else: `python -m tests.unit.commands_reference > docs/reference/commands.md`.
    """
    assert commands_reference.render() == (DOCS / "reference/commands.md").read_text()


def test_the_reference_of_the_docker_api_is_as_the_routes_are() -> None:
    """
    Every call that is answered, and every one that gets 501 on purpose.
    """
    text = (DOCS / "reference/docker-api.md").read_text()
    answered, separator, refused = text.partition("\n## Answered with 501")

    assert separator
    assert {(method, shown(path)) for method, path, *_ in routes.ROUTES} == calls(answered)
    assert {
        (method, shown(path))
        for method, _, path in (each.partition(" ") for each in routes.NOT_IMPLEMENTED)
    } == calls(refused)


def test_the_reference_of_options_is_as_the_routes_have_them() -> None:
    """
    Every option of every call, and every filter of the two lists.
    """
    lines = (DOCS / "reference/docker-api.md").read_text().splitlines()
    lists = {"GET /containers/json": filters.CONTAINERS, "GET /images/json": filters.IMAGES}

    for method, path, _, options in routes.ROUTES:
        told = (options.obeyed, options.any_value, options.refused, " ".join(options.forbidden))
        assert row(f"{method} {shown(path)}", *told) in lines
    for call, known in lists.items():
        assert row(call, known.obeyed, known.refused) in lines


def test_the_reference_tells_what_a_create_request_may_not_ask_for() -> None:
    """
    Each field, with what it would give, and the values that pass.
    """
    lines = (DOCS / "reference/docker-api.md").read_text().splitlines()
    named = dict(forbidden.CONFIG)
    named |= {f"HostConfig.{name}": field for name, field in forbidden.HOST_CONFIG.items()}

    assert [f"| `{name}` | {field.gives} | {passing(field)}" for name, field in named.items()] == [
        line for line in lines if line.startswith(tuple(f"| `{name}` | " for name in named))
    ]


def passing(field: forbidden.Field) -> str:
    """The last cell of a field's line."""
    if field.beginnings:
        return f"all but {', '.join(f'`{each}...`' for each in field.beginnings)} |"
    return f"{', '.join(f'`{each}`' for each in field.passing)} |".lstrip()


def row(call: str, *columns: str) -> str:
    """A line of a table: a call, and names in columns, which may be empty."""
    cells = (", ".join(f"`{name}`" for name in sorted(column.split())) for column in columns)
    return f"| `{call}` |" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def test_the_reference_of_metrics_is_as_the_metrics_are() -> None:
    """
    Else: `python -m tests.unit.metrics_reference > docs/reference/metrics.md`.
    """
    # A process of its own: in this one, tests have counted what they made up.
    command = [sys.executable, "-m", "tests.unit.metrics_reference"]
    path = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    page = subprocess.run(command, cwd=ROOT, env=path, check=True, capture_output=True, text=True)

    assert page.stdout == (DOCS / "reference/metrics.md").read_text()


def test_every_claim_of_the_threat_model_is_held_by_a_test() -> None:
    """
    Each line of its tables names tests, and those are there.
    """
    text = (DOCS / "explanation/threat-model.md").read_text()
    claims = [row for row in text.split("\n") if row.startswith("| ") and row.count(" | ") == 2]

    assert 40 < len(claims)
    for claim in claims:
        named = HELD_BY.findall(claim)
        assert named or claim.endswith("| held by |"), claim
    for path, *names in HELD_BY.findall(text):
        source = (ROOT / path).read_text()
        for name in filter(None, names):
            assert re.search(rf"(def|class) {name}\b", source), (path, name)


def test_every_link_leads_somewhere() -> None:
    """
    To a file of the project, and to a heading of it where the link names one.
    """
    for page in PAGES:
        for link in links(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page

            assert target.exists(), (page, link)
            assert not anchor or anchor in anchors(target), (page, link)


def test_every_make_target_that_is_named_is_there() -> None:
    """
    In the Makefile.
    """
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    for page in PAGES:
        text = page.read_text()
        fenced = "\n".join(FENCED.findall(text))
        named = {*QUOTED_MAKE.findall(text), *FENCED_MAKE.findall(fenced)}

        assert named <= targets, page


def test_every_page_is_on_the_map() -> None:
    """
    Whoever opens the docs finds all of them.
    """
    index = DOCS / "index.md"
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page != index}

    assert set() == pages - set(links(index))
