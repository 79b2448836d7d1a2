"""
What the guides quote: commands, settings, objects, and what is said to be not run.

A block is run, or read by whatever reads it in the end, unless the line before it says why not:
`<!-- not run: REASON -->`.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peitho.formats.audit_chain import Chain
from peitho.settings.models import Settings

ROOT = Path(__file__).parents[2]
LANGUAGES = ("sh", "yaml", "ini", "json", "text")

_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/peitho/README.md")
_FOLDERS = ("docs/guides", "docs/runbooks", "deploy/monitoring")
_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<why>[^>]+?)\s*-->\n(?P=indent))?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
# Pages whose commands have a test of their own.
OF_THEIR_OWN = ("docs/guides/air-gap.md", "docs/guides/fabric-networks.md")
# Programs that have nothing to speak to without a cluster.
_CLUSTER = re.compile(
    r"\b(?:kubectl|helm|docker|skopeo|ctr)\s"
    r"|\bpeitho (?:ps|logs|events|builds|images|rm|check|rehearse)\s"
)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# With something to act on: `docker rmi` alone names a command, and is none.
_PROGRAM = re.compile(
    r"(?:kubectl(?! peitho)|helm|docker (?:-H|network)|skopeo|ctr"
    r"|kind|k3d|k3s|oc|sed|peer|promtool)"
    r"(?: \S+){2}|curl "
)
_KUBECTL = re.compile(r"kubectl -n peitho")
# Commands within sentences that no test runs as they stand, and why.
NOT_RUN = {
    "curl 'http://peitho:9090/readyz?verbose'": "tests/journeys/test_watch.py asks it",
    "docker -H ENDPOINT version": "the endpoint is the reader's",
    "docker -H tcp://peitho.peitho:8080 rmi NAME": "tests/journeys/test_pairs.py removes one",
    "docker network create builds": "it would leave a network in a daemon",
    "helm upgrade --reuse-values": "tests/journeys/test_chart.py renders what it would",
    "kubectl -n NAMESPACE delete deployments,configmaps -l peitho/adopted=true": (
        "tests/journeys/test_adopt.py looks at the label"
    ),
    "kubectl -n NAMESPACE scale deployment/peitho --replicas=0": "there is no Go Peitho",
    "kubectl -n peitho get certificate": "cert-manager's kinds are not in the lab's cluster",
    "kubectl -n peitho logs deployment/peitho --previous": "there is no run before this one",
    "kubectl -n peitho rollout restart deployment/peitho": "others ask Peitho meanwhile",
    "kubectl -n peitho-chaincode logs -l peitho/container=ID": "a block has it",
    "kubectl apply -n peitho -f": "of the operator of Prometheus, which is not in the lab",
    "kubectl hlf peer create": "bevel-operator-fabric's plugin is not in the lab",
    "kubectl patch --type=strategic": "it says how something is merged",
    "skopeo login registry.example": "the account is the reader's",
    "promtool test rules alerts_test.yaml": "tests/lab/test_promtool.py runs it",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: its place, its language, what is in it, and why it is not run, if so."""

    place: str
    language: str
    text: str
    not_run: str

    @property
    def wants_cluster(self) -> bool:
        """Whether a command in it speaks to a cluster."""
        return self.language == "sh" and bool(_CLUSTER.search(self.text))


def pages() -> list[Path]:
    """All pages that tell somebody what to do."""
    folders = (sorted((ROOT / folder).rglob("*.md")) for folder in _FOLDERS)
    return [*(ROOT / page for page in _PAGES), *(page for pages in folders for page in pages)]


def blocks(page: Path) -> Iterator[Block]:
    """What a page quotes, in its order."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        indent, why = found["indent"], found["why"]
        lines = (line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start()) + 1
        place = f"{page.relative_to(ROOT)}:{line}"
        yield Block(place, found["language"], "".join(lines), " ".join((why or "").split()))


def all_blocks(*languages: str) -> list[Block]:
    """What all pages quote in some languages, and is not marked."""
    every = (block for page in pages() for block in blocks(page))
    return [block for block in every if block.language in languages and not block.not_run]


def shared(*languages: str) -> list[Block]:
    """Those of `all_blocks` that are run with others', where they stand alone."""
    every = all_blocks(*languages)
    return [block for block in every if not block.place.startswith(OF_THEIR_OWN)]


def unfenced(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text())


def inline(page: Path) -> list[str]:
    """Commands within a page's sentences; `peitho` has a test of its own."""
    return [code for code in _INLINE.findall(unfenced(page)) if _PROGRAM.match(code)]


def is_settings(document: dict[str, Any]) -> bool:
    """Whether it is of a settings file, by the names of its sections."""
    return document.keys() <= {field.alias or name for name, field in Settings.model_fields.items()}


def is_object(document: dict[str, Any]) -> bool:
    """Whether it is for the Kubernetes API."""
    return {"apiVersion", "kind"} <= document.keys()


def is_values(document: dict[str, Any]) -> bool:
    """Whether it is of values for the chart."""
    schema = json.loads((ROOT / "charts/peitho/values.schema.json").read_text())
    names: set[str] = set(schema["properties"])
    return document.keys() <= names


def write_trail(folder: Path) -> None:
    """The two files of an audit trail that was moved away once."""
    chain = Chain()
    for name in ("audit.jsonl.1", "audit.jsonl"):
        lines = (chain.add({"event": "image built", "time": "2026-11-27T10:00:00Z"}) for _ in "ab")
        (folder / name).write_bytes(b"".join(lines))


def is_run(command: str) -> bool:
    """Whether a command within a sentence is run in a journey."""
    return command not in NOT_RUN and bool(_KUBECTL.match(command))


def run_block(
    text: str, folder: Path, *, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What bash makes of commands in a folder, where each has to succeed; `peitho` is ours."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    script(programs / "peitho", f'exec "{sys.executable}" -m peitho "$@"')
    path = f"{programs}:{os.environ['PATH']}"  # noqa: TID251  what bash finds programs by
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={"PATH": path, "PYTHONPATH": str(ROOT / "src"), "HOME": str(folder)}
        | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def script(path: Path, *lines: str) -> None:
    """A program of these lines."""
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
