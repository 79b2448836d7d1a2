"""
What only Peitho's Pod knows, asked from elsewhere: the same command is run there by kubectl.

`kubectl exec` goes through the Kubernetes API with the rights of whoever asks, so no port of
Peitho has to be open to laptops (docs/decisions/0026-commands-for-operators.md).
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from peitho.errors import PeithoError, Unavailable

_READ_BYTES = 64 * 1024
_TOLD_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class PeithoPod:
    """Where Peitho runs, as kubectl knows it; what is empty is kubectl's own default."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    where: str = "deployment/peitho"

    async def rows(self, *words: str) -> list[dict[str, Any]]:
        """Run a command of Peitho there, and return its rows. Raises Unavailable, PeithoError."""
        said = b"".join([chunk async for chunk in self.output(*words, "--output", "json")])
        try:
            rows = json.loads(said)
        except ValueError as error:
            raise PeithoError(
                f"{self.where} answered no JSON: is it an earlier Peitho? {_told(said)}"
            ) from error
        return [dict(row) for row in rows]

    async def output(self, *words: str) -> AsyncIterator[bytes]:
        """Run a command of Peitho there, and yield what it writes as it comes."""
        with tempfile.TemporaryFile() as errors:
            process = await self._start(words, errors)
            if process.stdout is None:
                raise RuntimeError("it is a pipe")
            try:
                while chunk := await process.stdout.read(_READ_BYTES):
                    yield chunk
                code = await process.wait()
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        process.terminate()
                    await process.wait()
            errors.seek(0)
            said = _told(errors.read())
        if code:
            raise PeithoError(
                f"{said or f'kubectl ended with {code}'}\n(from `kubectl exec "
                f"{self.where}`: what only Peitho knows is asked in its Pod; another name is "
                "--peitho, another namespace -n)"
            )

    async def _start(self, words: Sequence[str], errors: IO[bytes]) -> asyncio.subprocess.Process:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise Unavailable(
                "What only Peitho knows is asked in its Pod, with kubectl, which is not on PATH: "
                "install it, or run this command there"
            )
        return await asyncio.create_subprocess_exec(
            kubectl,
            *self._flags(),
            "exec",
            self.where,
            "--",
            "peitho",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )

    def _flags(self) -> list[str]:
        given = {
            "--kubeconfig": self.kubeconfig,
            "--context": self.context,
            "--namespace": self.namespace,
        }
        return [f"{flag}={value}" for flag, value in given.items() if value]


def _told(said: bytes) -> str:
    return said.decode(errors="replace").strip()[-_TOLD_CHARACTERS:]
