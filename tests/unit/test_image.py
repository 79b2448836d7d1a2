"""What the Dockerfile says; the image itself is built and looked at in tests/conformance."""

import re
from pathlib import Path

import pytest
import yaml

from peitho import __version__
from peitho.settings.models import PeithoSettings
from release import __main__ as release
from release import sbom

PROJECT = Path(__file__).parents[2]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
LOCKS = ("requirements.lock", "requirements-build.lock")
IMAGE = "docker.io/peitho/peitho"


def stages() -> list[str]:
    """The stages, without what is before the first one."""
    return re.split(r"^FROM ", INSTRUCTIONS, flags=re.MULTILINE)[1:]


def test_the_base_is_one_and_pinned() -> None:
    """
    By its version and the digest of its index, which is of all platforms.
    """
    (base,) = re.findall(r"^ARG BASE=(\S+)$", INSTRUCTIONS, re.MULTILINE)
    build, final = stages()

    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert build.startswith("${BASE} AS build\n")
    assert final.startswith("scratch\n")


def test_nothing_is_of_one_platform() -> None:
    """
    No instruction names one, nor a file of one.
    """
    named = r"amd64|x86|i386|arm64|aarch64|--platform|manylinux|https?://"

    assert [] == re.findall(named, INSTRUCTIONS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_wheel_is_known_by_its_hash(lock: str) -> None:
    """
    And pip takes no other, and builds none.
    """
    text = (PROJECT / lock).read_text()
    pins = [part for part in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if part]

    assert all("--hash=sha256:" in pin for pin in pins)
    # Whether each platform has a wheel is asked by `make lock`, which fails without one.
    script = (PROJECT / "scripts/lock").read_text()
    assert "for machine in x86_64 aarch64; do" in script
    assert len(sbom.pins(text)) == len(pins)
    commands = [each for each in re.split(r"&&|RUN", INSTRUCTIONS) if f"-r given/{lock}" in each]
    assert 1 == len(commands)
    for flag in ("--require-hashes", "--only-binary :all:"):
        assert flag in commands[0]


def test_what_is_copied_is_let_through() -> None:
    """
    Nothing else is sent to the daemon; wheels need not be there.
    """
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", INSTRUCTIONS, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    rules = (PROJECT / ".dockerignore").read_text().split()

    assert "*" == rules[0]
    assert {name.rstrip("*") for name in copied} == {
        rule.strip("!/") for rule in rules if rule.startswith("!")
    }
    there = {path.name for path in PROJECT.iterdir()}
    assert {name for name in copied if "*" not in name} <= there


def test_it_runs_as_a_user_of_its_own_without_a_shell() -> None:
    """
    The last stage runs nothing, and starts its programs itself.
    """
    _, final = stages()

    assert "RUN" not in final
    assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["/', final, re.MULTILINE)
    assert re.search(r'^CMD \["', final, re.MULTILINE)


def test_a_release_is_made_by_the_bases_python() -> None:
    """
    Which has its own place in that image, and another one is told.
    """
    (version,) = re.findall(r"^ARG BASE=python:3\.(\d+)\.", INSTRUCTIONS, re.MULTILINE)

    assert not release.lacks_python((3, int(version)))
    assert f"has Python 3.{version}, and this is 3.99" in release.lacks_python((3, 99))


def test_versions_are_those_of_the_program() -> None:
    """
    Of the chart, of the helper, and of what is applied by hand: a version, and no moving tag.
    """
    chart = yaml.safe_load((PROJECT / "charts/peitho/Chart.yaml").read_text())
    applied = [*(PROJECT / "deploy").rglob("*.yaml"), *(PROJECT / "docs").rglob("*.md")]
    applied += [PROJECT / "README.md", *(PROJECT / "charts").rglob("*.*")]
    named = {tag for path in applied for tag in re.findall(rf"{IMAGE}:([\w.-]+)", path.read_text())}

    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert {__version__} == {chart["version"], chart["appVersion"]}
    assert f"{IMAGE}:{__version__}" == PeithoSettings().puller_image
    assert {__version__} == named
