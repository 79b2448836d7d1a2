"""
The reference of commands, from the command line itself.

`python -m tests.unit.commands_reference > docs/reference/commands.md` writes it anew.
"""

import inspect
from collections.abc import Iterator

import click

from peitho import cli

HEAD = """\
# Commands

<!-- Made by `python -m tests.unit.commands_reference`; do not edit. -->

`peitho COMMAND --help` says the same. Flags without a command mean `serve`. What many commands
take is listed once, at the end. Settings without a flag have a variable, and
[a key](settings.md) in the file.
"""

OF_SETTINGS = "Flags of settings"
OF_PLACE = "Flags of where to look"


def options(command: click.Command) -> dict[str, str]:
    """What a command may be given, as its help has it: spellings and what they mean."""
    context = click.Context(command, info_name=command.name)
    records = (each.get_help_record(context) for each in command.params)
    found = dict(record for record in records if record)
    return {names: " ".join(text.split()) for names, text in found.items() if text}


def shared() -> dict[str, dict[str, str]]:
    """The options that many commands have, by the heading of their table."""
    of = {name: options(cli.main.commands[name]) for name in ("serve", "ps", "logs")}
    place = {names: text for names, text in of["ps"].items() if of["logs"].get(names) == text}
    return {OF_SETTINGS: of["serve"], OF_PLACE: place}


def prose(command: click.Command) -> str:
    """The text of a command's help, with what it lays out itself as a block."""
    parts = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{part.removeprefix(chr(8)).strip(chr(10))}\n```"
        if part.startswith(chr(8))
        else part
        for part in parts
    )


def table(found: dict[str, str]) -> str:
    """A table of options."""
    rows = [f"| `{names}` | {text} |".replace("  ", " ") for names, text in cells(found)]
    return "\n".join(["| option | what |", "|---|---|", *rows, ""])


def cells(found: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Options as cells have them: a bar would end one, quoted or not."""
    for names, text in found.items():
        yield names.replace("|", r"\|"), text.replace("|", r"\|")


def section(name: str, command: click.Command) -> Iterator[str]:
    """All of one command, and of those below it."""
    words = " ".join(command.collect_usage_pieces(click.Context(command, info_name=name)))
    yield f"\n## `peitho {name}`\n\n```text\npeitho {name} {words}\n```\n\n{prose(command)}\n"
    own = options(command)
    for heading, found in shared().items():
        if found.items() <= own.items():
            own = {names: text for names, text in own.items() if names not in found}
            link = heading.lower().replace(" ", "-")
            yield f"\nIt takes the [{heading.lower()}](#{link}), too.\n"
    if own:
        yield f"\n{table(own)}"
    if isinstance(command, click.Group):
        for below, each in sorted(command.commands.items()):
            yield from section(f"{name} {below}", each)


def render() -> str:
    """The whole page."""
    parts = [
        part for name, each in sorted(cli.main.commands.items()) for part in section(name, each)
    ]
    tables = [f"\n## {heading}\n\n{table(found)}" for heading, found in shared().items()]
    return "".join([HEAD, *parts, *tables])


if __name__ == "__main__":
    print(render(), end="")
