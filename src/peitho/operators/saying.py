"""What commands say to people: names and causes are others' words, and change no terminal."""

import click

from peitho.formats.readable import plain_lines


def say(text: str, *, err: bool = False) -> None:
    """Print a text, without a terminal's commands and control characters."""
    click.echo(plain_lines(text), err=err)
