"""Certificates for what speaks TLS, made once."""

import shutil
from pathlib import Path

import pytest

from tests.lab import pki


@pytest.fixture(scope="session")
def _authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    for name in ("ours", "others"):
        pki.certificates(folder / name, host="127.0.0.1", node="node")
    return folder


@pytest.fixture
def certificates(_authorities: Path, tmp_path: Path) -> Path:
    """The test's own certificates of two authorities, below `ours` and `others`."""
    return shutil.copytree(_authorities, tmp_path / "pki")
