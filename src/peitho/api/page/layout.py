"""What all pages have in common: the frame, tables, times, and links from one page to the next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from peitho import __version__
from peitho.api.page.html import NOTHING, Content, Html, element, encoded, joined
from peitho.formats import readable

_CUT_CHARACTERS = 300
_DIGEST_CHARACTERS = 12
_PAGES = (
    ("Overview", ""),
    ("Chaincode", "status/chaincode"),
    ("Builds", "status/builds"),
    ("Images", "status/images"),
    ("Checks", "status/checks"),
)
# What Peitho's words for states mean to who looks: the words tell, and the color repeats it.
_TONES = {
    "running": "good",
    "ok": "good",
    "done": "good",
    "completed": "good",
    "fetching": "good",
    "starting": "look",
    "waiting": "look",
    "warning": "look",
    "damaged": "bad",
    "failed": "bad",
    "wrong": "bad",
    "out of memory": "bad",
    "evicted": "bad",
    "lost": "bad",
    "not started": "bad",
}


@dataclass(frozen=True, slots=True)
class Look:
    """
    Where and when somebody looks: what leads from this page to `/`, and the time, in Unix seconds.

    With `has_tenants` each row tells whose it is.
    """

    root: str
    now: float
    has_tenants: bool = False

    @classmethod
    def at(cls, path: str, *, now: float, has_tenants: bool) -> "Look":
        """Return that of a request's path; a front may have the listener below another path."""
        return cls("../" * (path.count("/") - 1) or "./", now, has_tenants)

    def columns(self, columns: tuple["Column", ...]) -> tuple["Column", ...]:
        """Return the columns of a table, with that of the tenant where there are several."""
        return (_TENANT, *columns) if self.has_tenants else columns

    def row(self, tenant: str, *cells: Content) -> list[Content]:
        """Return the cells below such columns."""
        return [tenant, *cells] if self.has_tenants else list(cells)

    def link(self, path: str, *content: Content, **attributes: str | bool) -> Html:
        """Return a link to another page."""
        return element("a", *content, href=f"{self.root}{path}", **attributes)

    def ago(self, moment: str | float) -> Html:
        """Return how long ago something was, with the moment itself for who asks for it."""
        shown = readable.age(moment, now=self.now)
        if not shown:
            return Html("")
        exact = moment if isinstance(moment, str) else _written(moment)
        return element("time", shown, datetime=exact, title=exact)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; that of `is_name` says what a row is about."""

    head: str
    is_name: bool = False
    is_number: bool = False


Row = Sequence[Content]
_TENANT = Column("Tenant")


def document(look: Look, title: str, *parts: Html, current: str = "-") -> bytes:
    """Return a whole page; `current` is its path, if the navigation has it."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} - Peitho"),
        element("link", rel="stylesheet", href=f"{look.root}status/page.css"),
        element("link", rel="icon", href=f"{look.root}status/icon.svg"),
        element("script", src=f"{look.root}status/page.js", defer=True),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        element(
            "header",
            element("p", f"Peitho {__version__}", class_="brand"),
            _navigation(look, current),
        ),
        element("main", element("h1", title), _when(look), *parts, id="main", tabindex="-1"),
    )
    return encoded(joined([Html("<!doctype html>\n"), element("html", head, body, lang="en")]))


def section(name: str, title: str, *content: Content) -> Html:
    """Return a section with a heading, whose content is kept up to date; `name` is its ID."""
    return element(
        "section",
        element("h2", title, id=f"{name}-title"),
        element("div", *content, id=name, data_live=True),
        aria_labelledby=f"{name}-title",
    )


def table(caption: str, columns: Sequence[Column], rows: Sequence[Row], *, none: str) -> Html:
    """
    Return a table, or what is said without any row.

    The roles are those that its elements have by themselves, until a narrow screen shows rows as
    blocks: then browsers forget them.
    """
    if not rows:
        return element("p", none, class_="none")
    heads = [
        element("th", column.head, scope="col", role="columnheader", class_=_kind(column))
        for column in columns
    ]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        element("tbody", *(_row(columns, row) for row in rows), role="rowgroup"),
        role="table",
    )


def facts(rows: Sequence[tuple[str, Content]]) -> Html:
    """Return what is known of one thing: a word and what it is, those without anything left out."""
    shown = [(name, value) for name, value in rows if value not in ("", NOTHING)]
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in shown),
    )


def state(word: str) -> Html:
    """Return a word for a state, colored if it is one that is known."""
    return element("span", word, class_=f"state {_TONES.get(word, 'plain')}")


def digest(value: str) -> Html:
    """Return a digest's first digits; the whole of it is there for who asks."""
    if not value:
        return NOTHING
    shown = value.removeprefix("sha256:")[:_DIGEST_CHARACTERS]
    return element("code", shown, title=value)


def cut(text: str, most: int = _CUT_CHARACTERS) -> str:
    """Return a text on one line, as far as a cell has room for it."""
    shown = readable.plain(text[: most + 1])
    return shown if len(text) <= most else f"{shown[: most - 1]}…"


def lines(text: str, *, name: str) -> Html:
    """Return what a program said, line by line, in a box that the keyboard reaches; cut before."""
    return element("pre", text, id=name, tabindex="0", aria_label="Last lines")


def folded(summary: str, content: Html, *, name: str) -> Html:
    """Return what is there once it is opened."""
    return element("details", element("summary", summary, id=f"{name}-summary"), content, id=name)


def pager(look: Look, path: str, *, page: int, pages: int, query: str = "") -> Html:
    """Return links to the pages beside this one; nothing if there is one alone."""
    if pages <= 1:
        return NOTHING
    more = f"&{query}" if query else ""
    links: list[Content] = []
    if page > 1:
        links.append(look.link(f"{path}?page={page - 1}{more}", "Previous page", id="previous"))
    links.append(element("span", f"Page {page} of {pages}"))
    if page < pages:
        links.append(look.link(f"{path}?page={page + 1}{more}", "Next page", id="next"))
    return element("nav", *links, class_="pager", aria_label="Pages of this list")


def of_page(number: str, *, rows: int, most: int) -> tuple[int, int, slice]:
    """Return which page is meant, how many there are, and which rows are on it."""
    pages = max(1, -(-rows // most))
    asked = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 1  # noqa: PLR2004  more digits are no page
    page = min(max(asked, 1), pages)
    return page, pages, slice((page - 1) * most, page * most)


def _row(columns: Sequence[Column], row: Row) -> Html:
    return element("tr", *_cells(columns, row), role="row")


def _cells(columns: Sequence[Column], row: Row) -> Iterator[Html]:
    for column, cell in zip(columns, row, strict=True):
        content = "-" if cell in ("", NOTHING) else cell
        if column.is_name:
            yield element("th", content, scope="row", role="rowheader", data_head=column.head)
        else:
            yield element("td", content, role="cell", data_head=column.head, class_=_kind(column))


def _kind(column: Column) -> str | bool:
    return "number" if column.is_number else False


def _navigation(look: Look, current: str) -> Html:
    links = [
        look.link(path, name, aria_current="page" if path == current else False)
        for name, path in _PAGES
    ]
    return element(
        "nav", element("ul", *(element("li", link) for link in links)), aria_label="Peitho"
    )


def _when(look: Look) -> Html:
    """Say of when a page is; a browser that runs the script keeps it up to date, or does not."""
    at = _written(look.now)
    return element(
        "p",
        element("span", "As of ", element("time", at, datetime=at), id="when", data_live=True),
        " ",
        element("a", "Refresh", href="", id="refresh"),
        " ",
        element("button", "Pause updates", type="button", hidden=True, data_pause=True),
        " ",
        element("span", role="status", data_note=True),
        class_="when",
    )


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
