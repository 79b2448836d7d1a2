import re
from pathlib import Path

import pytest

import peitho.api.page

STATIC = Path(peitho.api.page.__file__).parent / "static"
COLOR = re.compile(r"--(\w+): #([0-9a-f]{6});")


def luminance(color: str) -> float:
    """As WCAG 2 has it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_all_that_is_written_has_contrast(number: int) -> None:
    """
    4.5 to 1 at least, on both grounds.
    """
    found = COLOR.findall((STATIC / "page.css").read_text())
    colors = dict(found[number * 9 : number * 9 + 9])

    for ground in ("ground", "raised"):
        for name in ("text", "quiet", "link", "good", "look", "bad"):
            one, other = sorted((luminance(colors[ground]), luminance(colors[name])))
            assert (other + 0.05) / (one + 0.05) >= 4.5, (ground, name)


def test_nothing_is_loaded_from_elsewhere_or_made_from_text() -> None:
    """
    An air gap has no network, and what others said stays text.
    """
    script, style = ((STATIC / name).read_text() for name in ("page.js", "page.css"))

    assert "http" not in script + style
    assert ".innerHTML =" not in script
    assert "eval(" not in script
