"""What is planted in a journey, and where it shows up though it should not."""

import asyncio
import base64
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.lab.peitho import Peitho

_LOOK_SECONDS = 0.2
_KINDS = ("events", "configmaps", "jobs", "pods")
# A line of a PEM file that can be taken for no other text.
_LINE_CHARACTERS = 40


class Seen:
    """All texts that were seen, by place; `secrets` are what was in Secrets meanwhile."""

    def __init__(self) -> None:
        self.texts: dict[str, set[str]] = defaultdict(set)
        self.secrets: dict[str, set[str]] = defaultdict(set)

    def add(self, place: str, text: object) -> None:
        """Note a text of a place."""
        self.texts[place].add(text if isinstance(text, str) else json.dumps(text))

    def leaks(self, planted: Mapping[str, str]) -> list[tuple[str, str]]:
        """Where what is planted, or what was in a Secret, shows: its name, and the place."""
        looked_for = {name: set(spellings(text)) for name, text in planted.items()}
        for name, texts in self.secrets.items():
            looked_for[name] = {each for text in texts for each in spellings(text)}
        return sorted(
            {
                (name, place)
                for name, each in looked_for.items()
                for place, texts in self.texts.items()
                if any(spelled in text for spelled in each for text in texts)
            }
        )


def spellings(text: str) -> Iterator[str]:
    """How a secret may be written: as it is, in base64, and each line of a PEM file."""
    if "PRIVATE KEY" in text:
        yield from (line for line in text.splitlines() if len(line) >= _LINE_CHARACTERS)
    else:
        yield text
    for encoded in (base64.b64encode(text.encode()), base64.urlsafe_b64encode(text.encode())):
        # Without the end, where it goes on otherwise in a longer text.
        yield encoded.decode()[: len(text) * 4 // 3 - 2]


@asynccontextmanager
async def looking(peitho: Peitho) -> AsyncIterator[Seen]:
    """Look at the cluster and at all processes, again and again: builds are there for seconds."""
    seen = Seen()
    async with asyncio.TaskGroup() as tasks:
        looker = tasks.create_task(_look_on(peitho, seen), name="looking")
        try:
            yield seen
        finally:
            looker.cancel()


async def _look_on(peitho: Peitho, seen: Seen) -> None:
    while True:
        await asyncio.to_thread(_look, peitho, seen)
        await asyncio.sleep(_LOOK_SECONDS)


def _look(peitho: Peitho, seen: Seen) -> None:
    for kind in _KINDS:
        for each in peitho.objects(kind):
            each["metadata"].pop("managedFields", None)
            seen.add(kind, each)
    for secret in peitho.objects("secrets"):
        for key, value in (secret.get("data") or {}).items():
            _note_secret(seen, key, base64.b64decode(value).decode(errors="replace"))
    for line in command_lines():
        seen.add("processes", line)


def _note_secret(seen: Seen, key: str, text: str) -> None:
    """Note a Secret's content that is secret: the tokens, and the keys of chaincode."""
    if key == "token":  # its last part makes it one
        seen.secrets["Secret's token"] |= {text, text.rpartition(".")[2]}
    elif "PRIVATE KEY" in text:
        seen.secrets[f"Secret's {key}"].add(text)


def command_lines() -> Iterator[str]:
    """The command lines of all processes of this machine but this one, and of its Pods."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):  # it is gone
                continue
