"""Patterns in which `*` stands for any text; there may be any number of them."""


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches a whole text, whatever characters it has."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *middle, last = others
    at = len(first)
    for part in middle:
        place = text.find(part, at)
        if place < 0:
            return False
        at = place + len(part)
    return text.startswith(first) and text.endswith(last) and at + len(last) <= len(text)
