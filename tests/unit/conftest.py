"""
Properties are tried with few examples (`make fuzz` has the time), and pauses take no time.

No property has a deadline that a busy machine could break.
"""

import gc
import os
from collections.abc import Mapping

import hypothesis
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from tests.support.quick_time import QuickLoop

hypothesis.settings.register_profile(
    "unit",
    max_examples=10,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unit")


# What is imported and collected stays until the end; to look for garbage in it again and again took
# a twelfth of the time.
gc.set_threshold(50_000, 50, 100)

# No unit test trusts a public authority, and to read some 150 of them takes 25 ms each time.
os.putenv("SSL_CERT_FILE", os.devnull)

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
