"""What is wrong with a message of HTTP, told without what is in it."""

import re

# aiohttp's errors quote a header, a line or the beginning of a body after the cause:
# "Invalid header token:\n\n  b'X-Registry-Auth : ...'".
_QUOTED = re.compile(r"""[\s:]+b?['"].*""", re.DOTALL)


def without_content(said: str) -> str:
    """Return an error of aiohttp's on one line, without the bytes that it quotes."""
    return " ".join(_QUOTED.sub("", said).split())
