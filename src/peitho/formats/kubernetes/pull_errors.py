"""
What the words of a failed pull mean: will the image be there if it is tried again?

Kubernetes has one reason for all of it, ErrImagePull, so the container runtime's words are all that
tells a tag that is not there from a registry that is busy. Words that are not known are tried on.
"""

import re

# What may pass, whatever else is said; looked for first.
_PASSING = re.compile(
    r"\b(408|425|429|5\d\d)\b|too ?many ?requests|rate.?limit|quota"
    r"|time-?d? ?out|deadline exceeded|cancell?ed"
    r"|connection (refused|reset)|broken pipe|\bEOF\b|no route to host|network is unreachable"
    r"|server misbehaving|temporar|try again|unavailable|bad gateway|internal (server )?error"
    # The node's own store lost something while it unpacked, which the next pull brings again.
    r"|extract layer|content digest|content store|lease|no space left",
    re.IGNORECASE,
)
# What stays so until somebody acts: it is not there, or this account may not have it.
_LASTING = re.compile(
    r"not ?found|(manifest|name|repository|blob)[ _](is )?(unknown|invalid)|unknown manifest"
    r"|does not exist|no such (image|manifest)|\b404\b"
    r"|\b40[13]\b|unauthorized|forbidden|denied|insufficient_scope|not authorized"
    r"|authentication required|authorization failed|no basic auth credentials"
    r"|no match for platform|no image found in (manifest list|image index)"
    r"|invalid reference format|invalid repository name"
    # The node and the registry do not agree on TLS, in the words of Go's client and of its TLS.
    r"|server gave HTTP response to HTTPS client|does not look like a TLS handshake",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"[^"]*"')
_BACK_OFF = re.compile(r'Back-off pulling image "[^"]*": (?P<reason>\w+): (?P<cause>.*)', re.DOTALL)


def is_lasting(words: str) -> bool:
    """Whether what a failed pull says stays so, however often it is tried."""
    said = _without_names(words)
    return not _PASSING.search(said) and bool(_LASTING.search(said))


def before_back_off(reason: str, words: str) -> tuple[str, str]:
    """
    The reason and the words of the failure that a pause came after.

    Kubernetes 1.31 and later repeat them in the words of the pause; before, they stay as they are.
    """
    pause = _BACK_OFF.fullmatch(words.strip())
    return (pause["reason"], pause["cause"]) if pause else (reason, words)


def _without_names(words: str) -> str:
    """Leave out references and URLs: a name may have any of these words in it."""
    plain = _QUOTED.sub(" ", words).split()
    return " ".join(word for word in plain if "/" not in word or word.startswith("i/o"))
