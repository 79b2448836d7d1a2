"""`--watch`: what is shown is looked at again and again, and shown whenever it has changed."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable

import click

from peitho.errors import Unavailable
from peitho.operators.saying import say

_PAUSE_SECONDS = 2.0


async def changes(text: Callable[[], Awaitable[str]]) -> AsyncGenerator[str, None]:
    """Yield a text, and then each other that it becomes; while nobody answers, it stays."""
    last = None
    while True:
        try:
            now = await text()
        except Unavailable as error:
            if last is None:
                raise
            say(f"{error}; trying again", err=True)
        else:
            if now != last:
                yield now
            last = now
        await asyncio.sleep(_PAUSE_SECONDS)


def redraw(text: str, *, is_document: bool) -> None:
    """Show a text in place of the one before, or below it where that is no terminal."""
    if is_document or not sys.stdout.isatty():
        click.echo(text, nl=False)
        sys.stdout.flush()
        return
    click.clear()
    click.echo(text, nl=False)
