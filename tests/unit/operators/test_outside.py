import json
import os
from pathlib import Path

import pytest

from peitho.operators.outside import PeithoPod
from peitho.settings.models import Settings
from tests.support.operated import run

# What the test's `kubectl` does: note how it was called, then answer as it is told.
KUBECTL = """#!/bin/sh
printf '%s\\n' "$@" > "$0.asked"
cat "$0.out"
cat "$0.err" >&2
exit $(cat "$0.code")
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that is the first on PATH; it answers nothing."""
    path = tmp_path / "bin" / "kubectl"
    path.parent.mkdir()
    path.write_text(KUBECTL)
    path.chmod(0o755)
    answers(path)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return path


def answers(kubectl: Path, *, out: str = "", err: str = "", code: int = 0) -> None:
    """Have it answer so."""
    for name, text in (("out", out), ("err", err), ("code", str(code))):
        kubectl.with_name(f"kubectl.{name}").write_text(text)


def asked(kubectl: Path) -> list[str]:
    """How it was called last."""
    return kubectl.with_name("kubectl.asked").read_text().splitlines()


ROW = {
    "name": "mycc",
    "id": "sha256:" + "ab" * 32,
    "bytes": 2048,
    "architecture": "amd64",
    "created": "2026-01-02T03:04:05Z",
    "used": "",
    "runtime": "baseos",
    "layer": "sha256:x",
}


def test_what_only_peitho_has_is_asked_in_its_pod(kubectl: Path, tmp_path: Path) -> None:
    """
    With the same flags for kubectl, and shown as if it was here.
    """
    answers(kubectl, out=json.dumps([ROW]))
    nowhere = ["--dataDir", str(tmp_path / "none")]
    shown = run(
        *("images", "-n", "fabric", "--context", "prod", "--kubeconfig", "/k", *nowhere),
        *("--peitho", "deployment/mine", "-o", "name"),
    )

    assert (2, "") == (shown.exit_code, shown.stdout)  # /k is no file, and told before
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    shown = run(
        *("images", "-n", "fabric", "--context", "prod", "--kubeconfig", str(kubeconfig)),
        *(*nowhere, "--peitho", "deployment/mine", "-o", "name"),
    )
    assert (0, "mycc\n") == (shown.exit_code, shown.stdout), shown.stderr
    flags = [f"--kubeconfig={kubeconfig}", "--context=prod", "--namespace=fabric"]
    words = ["exec", "deployment/mine", "--", "peitho", "images", "--output", "json"]
    assert [*flags, *words] == asked(kubectl)


def test_peitho_may_have_a_namespace_of_its_own(kubectl: Path, tmp_path: Path) -> None:
    """
    Chaincode's is another then.
    """
    answers(kubectl, out="[]")
    nowhere = ["--dataDir", str(tmp_path / "none")]
    shown = run("builds", "-n", "chaincode", "--peitho", "system/deployment/peitho", *nowhere)

    assert (0, "no builds here\n") == (shown.exit_code, shown.stdout), shown.stderr
    assert ["--namespace=system", "exec", "deployment/peitho"] == asked(kubectl)[:3]


@pytest.mark.parametrize(
    ("out", "err", "code", "said"),
    [
        ("", 'deployments.apps "peitho" not found', 1, "not found\n(from `kubectl"),
        ("", "", 3, "kubectl ended with 3"),
        ("Usage: peitho", "", 0, "answered no JSON: is it an earlier Peitho? Usage: peitho"),
    ],
)
def test_what_kubectl_says_is_told(  # noqa: PLR0913  an answer has three parts
    kubectl: Path, tmp_path: Path, *, out: str, err: str, code: int, said: str
) -> None:
    """
    With what was tried, and which flag may be another; exit status 2.
    """
    answers(kubectl, out=out, err=err, code=code)
    shown = run("builds", "--dataDir", str(tmp_path / "none"))

    assert 2 == shown.exit_code
    assert said in shown.stderr


def test_without_kubectl_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And what else may be done.
    """
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = run("images", "--dataDir", str(tmp_path / "none"))

    assert 2 == shown.exit_code
    assert "with kubectl, which is not on PATH: install it, or run this command there" in (
        shown.stderr
    )


async def test_output_comes_as_it_is(kubectl: Path) -> None:
    """
    Of a log, as it comes.
    """
    answers(kubectl, out="one\ntwo\n")
    said = b"".join([each async for each in PeithoPod().output("logs", "--", "abcd")])

    assert b"one\ntwo\n" == said
    assert ["exec", "deployment/peitho", "--", "peitho", "logs", "--", "abcd"] == asked(kubectl)


def test_peithos_own_place_is_the_default() -> None:
    """
    As `deploy/peitho.yaml` has it.
    """
    manifest = (Path(__file__).parents[3] / "deploy/peitho.yaml").read_text()

    assert "kind: Deployment\nmetadata:\n  name: peitho\n" in manifest
    assert "deployment/peitho" == PeithoPod().where
    assert f"mountPath: {Settings().data_dir}" in manifest
