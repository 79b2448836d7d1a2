"""Bytes that are nearly sound: what a reader takes, with something of it changed."""

import json
import random
from typing import Any

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1e308, 10**30, float("nan"), "", "x", "\0", "\ud800", "9" * 400),
    *([], {}, [None], {"": None}, [[[[]]]], "../..", "2026-13-45T99:99:99Z", "Infinity"),
)
_BYTES = (b"", b"\0", b"\xff", b"\x80", b"'", b'"', b"{", b"[", b"\n", b"\\", b"%", b"-", b"9" * 50)


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """The bytes, changed once or a few times."""
    data = seed
    for _ in range(chance.choice((1, 1, 2, 5))):
        data = _changed_json(data, chance) if chance.random() < 0.5 else _changed(data, chance)
    return data


def _changed(data: bytes, chance: random.Random) -> bytes:
    start, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    how = chance.randrange(5)
    if how == 0:
        return data[:start]
    if how == 1:
        return data[:start] + chance.choice(_BYTES) + data[start:]
    if how == 2:
        return data[:start] + data[start:end] * chance.choice((0, 2, 3)) + data[end:]
    if how == 3:
        return data[:start] + chance.randbytes(chance.choice((1, 2, 9))) + data[start + 1 :]
    flipped = bytearray(data or b"\0")
    flipped[min(start, len(flipped) - 1)] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _changed_json(data: bytes, chance: random.Random) -> bytes:
    """The bytes with another value somewhere in it, if they are JSON."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _changed(data, chance)
    return json.dumps(_replaced(document, chance)).encode()


def _replaced(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return value | {key: _replaced(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return [*value[:at], _replaced(value[at], chance), *value[at + 1 :]]
    return chance.choice(_VALUES)
