"""What a peer may ask for in a container: what Kubernetes would refuse later is told at create."""

import json
from collections.abc import Iterator

from peitho.errors import InvalidArgument
from peitho.formats.kubernetes import names
from peitho.formats.records import ContainerSpec

# dockerd's own least (moby 28, daemon/daemon_unix.go, linuxMinMemory).
_LEAST_MEMORY_BYTES = 6 * 1024**2
# The words are kept in a Secret as JSON, and again in a Job; each holds a little over 1 MiB.
_MOST_WORDS_BYTES = 512 * 1024
# What a Job has of a variable beside its name: where in the Secret its value is.
_VARIABLE_BYTES = 200
_SHOWN_CHARACTERS = 200


def check(spec: ContainerSpec) -> None:
    """Raise InvalidArgument, with the field's name as in Docker's API, for what cannot be."""
    total = 0
    for field, word in _words(spec):
        if "\0" in word:
            raise InvalidArgument(f"{field}: a NUL character cannot be passed on")
        total += _kept_bytes(field, word)
    if total > _MOST_WORDS_BYTES:
        raise InvalidArgument(
            f"Env, Cmd and Entrypoint have {total} bytes in all, as Kubernetes has to keep them: "
            f"it has room for {_MOST_WORDS_BYTES}"
        )
    for number, variable in enumerate(spec.env):
        name = variable.partition("=")[0]
        if not names.is_variable(name):
            raise InvalidArgument(
                f"Env.{number}: {name[:_SHOWN_CHARACTERS]!r} is no name of a variable"
            )
    if 0 < spec.host.memory_bytes < _LEAST_MEMORY_BYTES:
        raise InvalidArgument("HostConfig.Memory: Minimum memory limit allowed is 6MB")


def _kept_bytes(field: str, word: str) -> int:
    """How much room a word takes: a character that is none of ASCII's, or a control, has six."""
    more = _VARIABLE_BYTES if field.startswith("Env.") else 0
    return len(json.dumps(word)) + more


def _words(spec: ContainerSpec) -> Iterator[tuple[str, str]]:
    yield "Image", spec.image
    yield "WorkingDir", spec.working_directory
    for field, words in (("Cmd", spec.command), ("Entrypoint", spec.entrypoint), ("Env", spec.env)):
        for number, word in enumerate(words):
            yield f"{field}.{number}", word
