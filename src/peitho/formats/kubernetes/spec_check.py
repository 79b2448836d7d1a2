"""What a peer may ask for in a container: what Kubernetes would refuse later is told at create."""

from collections.abc import Iterator

from peitho.errors import InvalidArgument
from peitho.formats.records import ContainerSpec

# dockerd's own least (moby 28, daemon/daemon_unix.go, linuxMinMemory).
_LEAST_MEMORY_BYTES = 6 * 1024**2
# The words are kept in a Secret in base64, and again in a Pod; each holds a little over 1 MiB.
_MOST_WORDS_BYTES = 512 * 1024
_SHOWN_CHARACTERS = 200


def check(spec: ContainerSpec) -> None:
    """Raise InvalidArgument, with the field's name as in Docker's API, for what cannot be."""
    total = 0
    for field, word in _words(spec):
        if "\0" in word:
            raise InvalidArgument(f"{field}: a NUL character cannot be passed on")
        total += len(word.encode())
    if total > _MOST_WORDS_BYTES:
        raise InvalidArgument(
            f"Env, Cmd and Entrypoint have {total} bytes in all: Kubernetes has room for "
            f"{_MOST_WORDS_BYTES}"
        )
    for number, variable in enumerate(spec.env):
        name = variable.partition("=")[0]
        if not name or not (name.isascii() and name.isprintable()):
            raise InvalidArgument(
                f"Env.{number}: {name[:_SHOWN_CHARACTERS]!r} is no name of a variable"
            )
    if 0 < spec.host.memory_bytes < _LEAST_MEMORY_BYTES:
        raise InvalidArgument("HostConfig.Memory: Minimum memory limit allowed is 6MB")


def _words(spec: ContainerSpec) -> Iterator[tuple[str, str]]:
    yield "Image", spec.image
    yield "WorkingDir", spec.working_directory
    for field, words in (("Cmd", spec.command), ("Entrypoint", spec.entrypoint), ("Env", spec.env)):
        for number, word in enumerate(words):
            yield f"{field}.{number}", word
