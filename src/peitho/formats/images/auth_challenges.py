"""
A registry's refusals: it asks who calls, or says why not.

https://distribution.github.io/distribution/spec/auth/token/
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from peitho.errors import PeithoError

_CHALLENGE = re.compile(r"(?:^|,)\s*(basic|bearer)(?=\s|,|$)", re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile(r"\\(.)")
# What the specification says where a token server does not.
_SHORTEST_SECONDS = 60
_LONGEST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class AuthChallenge:
    """`basic`, or `bearer` with the token server to ask and the service to name."""

    scheme: str
    realm: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class RegistryToken:
    """A token, and for how many seconds it is good."""

    text: str
    seconds: float


def read_challenge(headers: Iterable[str]) -> AuthChallenge | None:
    """Return the best challenge: bearer before basic; None if there is neither."""
    challenges = [challenge for header in headers for challenge in _challenges(header)]
    bearer = (
        challenge for challenge in challenges if challenge.scheme == "bearer" and challenge.realm
    )
    basic = (challenge for challenge in challenges if challenge.scheme == "basic")
    return next(bearer, None) or next(basic, None)


def read_token(content: bytes) -> RegistryToken:
    """
    Read a token server's answer.

    Raises PeithoError if there is no token in it.
    """
    try:
        answer = json.loads(content)
        text = answer.get("token") or answer.get("access_token")
        seconds = float(answer.get("expires_in") or _SHORTEST_SECONDS)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise PeithoError("the token server's answer cannot be read") from None
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise PeithoError("the token server's answer has no token in it")
    return RegistryToken(text, seconds)


def _challenges(header: str) -> Iterable[AuthChallenge]:
    # A quoted text may look like the beginning of another challenge.
    bare = _QUOTED.sub(lambda quoted: "-" * len(quoted[0]), header)
    starts = list(_CHALLENGE.finditer(bare))
    ends = [*(following.start() for following in starts[1:]), len(header)]
    for start, end in zip(starts, ends, strict=False):
        parameters = {
            key.lower(): _ESCAPED.sub(r"\1", quoted) or plain
            for key, quoted, plain in _PARAMETER.findall(header[start.end() : end])
        }
        yield AuthChallenge(
            start[1].lower(), parameters.get("realm", ""), parameters.get("service", "")
        )


def refusal(content: bytes, *, secrets: Iterable[str]) -> str:
    """Return why a registry refuses, in its own words: short, printable, without our secrets."""
    text = content.decode(errors="replace")
    with suppress(ValueError, RecursionError):
        text = _told(json.loads(content)) or text
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_LONGEST_CHARACTERS]


def _told(document: Any) -> str:
    """Return the messages of the errors, as the distribution specification has them."""
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return ""
    parts = []
    for error in errors:
        if isinstance(error, dict):
            told = (error.get("code"), error.get("message"))
            parts.append(": ".join(word for word in told if isinstance(word, str) and word))
    return "; ".join(part for part in parts if part)
