"""Debian's Chromium without a window: what a page is for whoever opens it."""

import asyncio
from pathlib import Path

from tests.lab import machine

# Of the page's own clock, which does not wait where nothing is under way.
_VIRTUAL_MS = 10_000
# There is no display, root has no sandbox, and nothing is asked of anybody but the page's server.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    f"--virtual-time-budget={_VIRTUAL_MS}",
    "--dump-dom",
)


def install() -> None:
    """Have it on this machine, which takes a minute where it is missing."""
    machine.program("chromium", package="chromium")


async def opened(url: str, *, profile: Path, known_by: str = "") -> str:
    """
    The document as it is after ten seconds of its own time.

    A server is trusted whose certificate is `known_by` the digest of its key, in base64.
    """
    trusted = (f"--ignore-certificate-errors-spki-list={known_by}",) if known_by else ()
    process = await asyncio.create_subprocess_exec(
        "chromium",
        *_OPTIONS,
        *trusted,
        f"--user-data-dir={profile}",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode()
