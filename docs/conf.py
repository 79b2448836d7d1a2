"""How `make docs` makes a site of the pages: Sphinx reads the Markdown as it is."""

import re

from sphinx.application import Sphinx

project = "Peitho"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Peitho"
html_copy_source = False
# The site's own first page leads to ours.
html_extra_path = ["site"]
# Pages link to files beside `docs`, so the sources are the checkout.
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/**",
    "tests/lab/README.md",
    "charts/peitho/README.md",
]
exclude_patterns = ["docs/site"]
# As deep as any link to a heading goes; the names are GitHub's.
myst_heading_anchors = 4
nitpicky = True

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"\]\(([^):]+)\.md\)")
_CONTENTS = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page Sphinx's own table of contents: what its lists link to, by section."""
    if page != root_doc:
        return
    _, *parts = _SECTION.split(source[0])
    for caption, text in zip(parts[::2], parts[1::2], strict=True):
        pages = _PAGE.findall(text)
        source[0] += _CONTENTS.format(caption=caption, pages="\n".join(pages))


def setup(app: Sphinx) -> dict[str, bool]:
    """Join Sphinx."""
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True}
