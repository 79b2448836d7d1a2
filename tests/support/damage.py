"""What a bad disk does to a file."""


def changed(content: bytes, place: float, flip: int) -> bytes:
    """The content with one byte flipped at a part of its length, or cut there where `flip` is 0."""
    at = int(place * len(content))
    if flip == 0:
        return content[:at]
    return content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
