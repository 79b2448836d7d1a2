"""What contributors meet before any of our code: workflow, issue forms, pre-commit, changelog."""

import fnmatch
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
# https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests
ELEMENTS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
VERSION = re.compile(r"[\w.-]+/[\w.-]+@(v\d+|[0-9a-f]{40})")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: str) -> dict[Any, Any]:
    """What a YAML file says."""
    tree: dict[Any, Any] = yaml.safe_load((ROOT / path).read_text())
    return tree


def command_of(workflow: str) -> str:
    """What a workflow runs on pull requests, within a limit, with no right but to read."""
    tree = read(f".github/workflows/{workflow}.yml")
    (job,) = tree["jobs"].values()
    assert {"push", "pull_request"} <= tree[True].keys()  # YAML reads `on` as yes
    assert {"contents": "read"} == tree["permissions"]
    assert 30 < job["timeout-minutes"] <= 360
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    assert [] == [
        step for step in job["steps"] if not VERSION.fullmatch(step.get("uses", "a/b@v1"))
    ]
    (command,) = (step["run"] for step in job["steps"] if "run" in step)
    return str(command)


def test_a_workflow_runs_what_everybody_runs() -> None:
    """
    `.ci/run`, as root on Debian.
    """
    assert ".ci/run" in command_of("ci")


def test_a_workflow_builds_the_image_for_each_platform() -> None:
    """
    Of the Dockerfile as it is: the base's index has to have both.
    """
    command = "docker buildx build --platform linux/amd64,linux/arm64 ."

    assert command == command_of("image")
    paths = read(".github/workflows/image.yml")[True]["pull_request"]["paths"]
    for made_of in ("Dockerfile", "requirements.lock", "release/base.py", "pyproject.toml"):
        assert any(fnmatch.fnmatch(made_of, path) for path in paths), made_of


def test_ci_runs_a_target_that_is_there() -> None:
    """
    As a program, which a checkout has to leave it.
    """
    run = ROOT / ".ci/run"

    assert os.access(run, os.X_OK)
    assert set(re.findall(r"\bmake ([a-z-]+)", run.read_text())) <= TARGETS
    assert "make check" in run.read_text()


@pytest.mark.parametrize(
    "form", [form for form in FORMS if form.name != "config.yml"], ids=lambda form: form.stem
)
def test_an_issue_form_is_as_github_reads_it(form: Path) -> None:
    """
    A form that it cannot read is not offered, and nobody is told.
    """
    tree = yaml.safe_load(form.read_text())
    asked = [element for element in tree["body"] if element["type"] != "markdown"]
    names = [element["id"] for element in asked]

    assert (
        {"name", "description", "body"}
        <= tree.keys()
        <= {*("name", "description", "title", "labels", "assignees", "body")}
    )
    assert asked
    assert sorted(set(names)) == sorted(names)
    for element in tree["body"]:
        assert element["type"] in ELEMENTS
        assert element.keys() <= {"type", "id", "attributes", "validations"}
    for element in asked:
        assert re.fullmatch(r"[\w-]+", element["id"])
        assert element["attributes"]["label"]
        assert {"required": True} == element.get("validations", {"required": True})


def test_pages_that_forms_name_are_there() -> None:
    """
    By their path in the project.
    """
    named = {path for form in FORMS for path in re.findall(r"\b[\w/.-]+\.md\b", form.read_text())}

    assert named
    assert [] == [path for path in named if not (ROOT / path).exists()]


def test_pre_commit_runs_targets_of_the_makefile() -> None:
    """
    In the project's own environment, at times that pre-commit knows.
    """
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]

    assert {"lint", "unit"} == {hook["id"] for hook in hooks}
    for hook in hooks:
        make, target = hook["entry"].split()
        assert ("make", "system", False) == (make, hook["language"], hook["pass_filenames"])
        assert target in TARGETS
        assert set(hook.get("stages", [])) <= {"pre-commit", "pre-push"}


def test_every_fragment_comes_into_the_changelog() -> None:
    """
    Its kind is one of towncrier's, and the changelog has the line that it writes behind.
    """
    with (ROOT / "pyproject.toml").open("rb") as file:
        towncrier = tomllib.load(file)["tool"]["towncrier"]
    kinds = {kind["directory"] for kind in towncrier["type"]}
    fragments = [path for path in (ROOT / "changes").iterdir() if path.name != ".gitignore"]

    assert "<!-- towncrier release notes start -->" in (ROOT / towncrier["filename"]).read_text()
    for fragment in fragments:
        assert re.fullmatch(rf"(\+|\d+-)[\w-]+\.({'|'.join(kinds)})\.md", fragment.name), fragment
        assert fragment.read_text().strip(), fragment
