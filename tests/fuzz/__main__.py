"""
`python -m tests.fuzz SECONDS`: all readers of `tests/support/readers.py`, by coverage (atheris).

The first byte of an input says which reader it is for.  A fault ends the run with its traceback;
the input is then in the folder, and `python -m tests.fuzz FILE` reads it again.  An input may take
10 s, and all of them 1 GiB of memory.  Where there is no atheris for this Python or machine, the
same readers get sound inputs with changes, without a look at coverage.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

try:
    import atheris  # type: ignore[import-untyped,unused-ignore]
except ImportError:
    atheris = None

if atheris:
    with atheris.instrument_imports(include=["peitho"]):
        from tests.support.readers import READERS
else:
    from tests.support.readers import READERS
from tests.support.mutations import mutated

_NAMES = list(READERS)
_FOLDER = Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache") / "peitho" / "fuzz"


def read(data: bytes) -> None:
    """Feed the reader that the first byte names with the others."""
    if data:
        READERS[_NAMES[data[0] % len(_NAMES)]].survives(data[1:])


def seeds() -> list[bytes]:
    """Sound inputs of all readers."""
    return [
        bytes([number]) + seed for number, name in enumerate(_NAMES) for seed in READERS[name].seeds
    ]


def by_coverage(seconds: int, folder: Path) -> None:
    """Let libFuzzer choose what comes next; it ends the process."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=20000", f"-max_total_time={seconds}"]
    options = [*limits, f"-artifact_prefix={folder}/", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *options], read)
    atheris.Fuzz()


def by_chance(seconds: int, read: Callable[[bytes], None]) -> None:
    """Read sound inputs with changes for so long."""
    chance = random.Random()  # noqa: S311  no secret
    end, count = time.monotonic() + seconds, 0
    sound = seeds()
    while time.monotonic() < end:
        seed = chance.choice(sound)
        data = seed[:1] + mutated(seed[1:], chance)
        try:
            read(data)
        except BaseException:
            print(f"reader: {_NAMES[data[0]]}; input: {data!r}")
            raise
        count += 1
    print(f"{count} inputs, without coverage: there is no atheris here")


def main(asked: str) -> None:
    """Run for so many seconds, or read one file again."""
    if not asked.isdecimal():
        read(Path(asked).read_bytes())
    elif atheris:
        by_coverage(int(asked), _FOLDER)
    else:
        by_chance(int(asked), read)


if __name__ == "__main__":
    main(sys.argv[1])
