"""Commands of the guides that need no cluster; those that need one are run by a journey."""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import guides
from tests.support.guides import ROOT, Block

LOCAL = [block for block in guides.shared("sh") if not block.wants_cluster]
# What a reader has of their own, in the words of the guides.
OF_READERS = {
    "/var/lib/peitho": "data",
    "COPY": "copy",
    "DIGEST": "0" * 64,
    "alerts.yaml prometheusrule.yaml": "monitoring/alerts.yaml monitoring/prometheusrule.yaml",
}


@pytest.mark.parametrize("block", LOCAL, ids=lambda block: block.place)
def test_each_command_that_wants_no_cluster_succeeds(block: Block, tmp_path: Path) -> None:
    """
    In a folder that has what the guide speaks of.
    """
    prepare(tmp_path)
    text = block.text
    for theirs, ours in OF_READERS.items():
        text = text.replace(theirs, ours)

    ended = guides.run_block(text, tmp_path)

    assert 0 == ended.returncode, ended.stdout + ended.stderr


def prepare(folder: Path) -> None:
    """Make a folder that has what readers have: settings, a data directory, a release, a trail."""
    (settings,) = (
        each["data"]["peitho.yml"]
        for each in yaml.safe_load_all((ROOT / "deploy/peitho.yaml").read_text())
        if each["kind"] == "ConfigMap"
    )
    (folder / "peitho.yml").write_text(settings)
    for parent in (folder, folder / "data", folder / "copy"):
        for name in ("images", "blobs", "builds"):
            (parent / name).mkdir(parents=True)
        (parent / "usage.json").write_text("{}")
    for name in ("delivery.key", "delivery-ca.json"):
        (folder / "data" / name).touch()
    shutil.copytree(ROOT / "deploy" / "monitoring", folder / "monitoring")
    guides.write_trail(folder)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "peitho.pub").write_bytes(public)
    sums = f"{hashlib.sha256(public).hexdigest()}  peitho.pub\n".encode()
    (folder / "SHA256SUMS").write_bytes(sums)
    (folder / "SHA256SUMS.sig").write_bytes(key.sign(sums))
