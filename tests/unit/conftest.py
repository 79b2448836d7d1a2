"""
Properties are tried with few examples, pauses take no time, and certificates are made once.

No property has a deadline that a busy machine could break.
"""

import gc
import shutil
from collections.abc import Mapping
from pathlib import Path

import hypothesis
import pytest
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from tests.lab import pki
from tests.support.quick_time import QuickLoop

hypothesis.settings.register_profile(
    "unit",
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unit")


# What is imported and collected stays until the end; to look for garbage in it again and again took
# a twelfth of the time.
gc.set_threshold(20_000, 20, 50)

# What is logged with an exception is not laid out in colors for nobody.
for processor in structlog.get_config()["processors"]:
    if isinstance(processor, ConsoleRenderer):
        processor.exception_formatter = plain_traceback


def pytest_collection_finish() -> None:
    """Have the garbage collector look at no more than what tests make."""
    gc.freeze()


def pytest_asyncio_loop_factories() -> Mapping[str, type[QuickLoop]]:
    """The event loop of all tests below this folder, by a hook of pytest-asyncio."""
    return {"quick": QuickLoop}


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
