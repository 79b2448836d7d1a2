"""The pages of the status page, and their routes: read-only, and bounded in rows and viewers."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from aiohttp import web

from peitho import metrics
from peitho.api.page import builds, chaincode, checks, images, layout
from peitho.api.page.builds import AllBuilds
from peitho.api.page.chaincode import AllChaincode
from peitho.api.page.checks import Checks
from peitho.api.page.guard import Guard, PageAccess
from peitho.api.page.html import Html, element
from peitho.api.page.images import AllImages
from peitho.api.page.kept import Kept
from peitho.api.page.layout import Look
from peitho.api.services import Services
from peitho.core.builds.build import Build
from peitho.core.chaincode.exits import Ended
from peitho.settings.live import Live

# Yields the lines of all parts, as `readiness` makes them.
Parts = Callable[[], Awaitable[Sequence[str]]]

_View = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ROWS = 50
# On the overview, of each kind.
_FEW_ROWS = 20
_CHAINCODE_SECONDS = 1.0
_IMAGES_SECONDS = 10.0
# Each is answered in milliseconds; more at once are no viewers.
_MOST_AT_ONCE = 16
_STATIC = Path(__file__).parent / "static"
_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
# Nothing is loaded from elsewhere, no script or style stands in a page, and no page in a frame.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class StatusPage:
    """The pages; what they show was told or kept before, and the cluster is not asked for any."""

    def __init__(
        self,
        tenants: Mapping[str, Services],
        *,
        parts: Parts,
        checked: Checks = checks.no_checks,
        guard: Guard | None = None,
    ) -> None:
        self._tenants = tenants
        self._parts = parts
        self._checked = checked
        self._guard = guard or Guard(Live(PageAccess()))
        self._at_work = 0
        self._chaincode = Kept(partial(AllChaincode.of, tenants), seconds=_CHAINCODE_SECONDS)
        self._images = Kept(partial(AllImages.of, tenants), seconds=_IMAGES_SECONDS)
        self._static = {name: (_STATIC / name).read_bytes() for name in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Return them, each guarded."""
        identifier = "{id:[0-9a-f-]{1,64}}"
        return [
            web.get(path, self._guarded(view))
            for path, view in (
                ("/", self._overview),
                ("/status/chaincode", self._all_chaincode),
                (f"/status/chaincode/{identifier}", self._one_chaincode),
                ("/status/builds", self._all_builds),
                (f"/status/builds/{identifier}", self._one_build),
                (f"/status/builds/{identifier}/log", self._log),
                ("/status/images", self._all_images),
                ("/status/checks", self._all_checks),
                *((f"/status/{name}", self._file) for name in _TYPES),
            )
        ]

    def _guarded(self, view: _View) -> _View:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = await self._answer(request, view)
            response.headers.update(HEADERS)
            return response

        return answer

    async def _answer(self, request: web.Request, view: _View) -> web.StreamResponse:
        if self._at_work >= _MOST_AT_ONCE:
            metrics.REFUSED.labels("connections").inc()
            text = "Too many look at the status page at once\n"
            return web.Response(status=503, headers={"Retry-After": "2"}, text=text)
        self._at_work += 1
        try:
            return await self._guard.refused(request) or await view(request)
        finally:
            self._at_work -= 1

    def _look(self, request: web.Request) -> Look:
        has_tenants = len(self._tenants) > 1
        return Look.at(request.path, now=time.time(), has_tenants=has_tenants)

    async def _overview(self, request: web.Request) -> web.StreamResponse:
        """GET / — 200; 401 where a token is wanted, 403 otherwise, as for all below."""
        look = self._look(request)
        everything, stored = await self._chaincode.get(), await self._images.get()
        running, lines, checked = AllBuilds.of(self._tenants), await self._parts(), self._checked()
        said = ". ".join(
            [
                checks.summary(lines, checked),
                chaincode.summary(everything),
                builds.summary(running),
                images.summary(stored),
            ]
        )
        problems = [line for line in lines if not line.startswith("[+]")]
        shown = sorted(everything.rows, key=_urgency)[:_FEW_ROWS]
        return _page(
            look,
            "Overview",
            element("p", f"{said}.", id="summary", role="status", data_live=True),
            layout.section("problems", "Problems", checks.parts(problems))
            if problems
            else Html(""),
            layout.section(
                "chaincode",
                "Chaincode",
                chaincode.phases(look, everything),
                chaincode.listed(look, everything, shown, stored.by_name),
                _more(look, chaincode.PATH, len(everything.rows)),
            ),
            layout.section("ended", "Ended lately", chaincode.ended(look, self._ends()[:10])),
            layout.section(
                "builds",
                "Builds",
                builds.under_way(look, running.under_way[:_FEW_ROWS]),
                builds.ended(look, running.ended[:5]),
                _more(look, builds.PATH, len(running.under_way)),
            ),
            layout.section(
                "images",
                "Images and room",
                images.room(stored),
                images.listed(look, stored.rows[:5], self._tenants),
                look.link(images.PATH, "All images", id="all-images"),
            ),
            layout.section(
                "checks",
                "Checks",
                element("p", f"{checks.summary(lines, checked)}."),
                look.link(checks.PATH, "All checks", id="all-checks"),
            ),
            current="",
        )

    async def _all_chaincode(self, request: web.Request) -> web.StreamResponse:
        """GET /status/chaincode?page=&phase= — 200."""
        look, chosen = self._look(request), request.query.get("phase", "")
        everything, stored = await self._chaincode.get(), await self._images.get()
        chosen = chosen if chosen in chaincode.PHASES else ""
        rows = [row for row in everything.rows if chosen in ("", row.seen.phase)]
        page, pages, part = _part(request, len(rows))
        query = f"phase={chosen}" if chosen else ""
        return _page(
            look,
            "Chaincode",
            layout.section(
                "chaincode",
                f"Containers: {chosen}" if chosen else "Containers",
                chaincode.phases(look, everything, chosen),
                chaincode.listed(look, everything, rows[part], stored.by_name),
                layout.pager(look, chaincode.PATH, page=page, pages=pages, query=query),
            ),
            layout.section("ended", "Ended lately", chaincode.ended(look, self._ends())),
            current=chaincode.PATH,
        )

    async def _one_chaincode(self, request: web.Request) -> web.StreamResponse:
        """GET /status/chaincode/{id} — 200; 404."""
        look = self._look(request)
        row = (await self._chaincode.get()).find(request.match_info["id"])
        if row is None:
            return _not_found(
                look, "There is no such chaincode: it was removed, perhaps by a peer."
            )
        stored = await self._images.get()
        title = layout.cut(row.seen.name)
        parts = chaincode.details(look, row, stored.by_name)
        return _page(look, title, layout.section("chaincode", "Container", parts))

    async def _all_builds(self, request: web.Request) -> web.StreamResponse:
        """GET /status/builds?page= — 200."""
        look, everything = self._look(request), AllBuilds.of(self._tenants)
        page, pages, part = _part(request, len(everything.under_way))
        return _page(
            look,
            "Builds",
            layout.section(
                "builds",
                "Under way",
                builds.under_way(look, everything.under_way[part]),
                layout.pager(look, builds.PATH, page=page, pages=pages),
            ),
            layout.section("ended", "Ended lately", builds.ended(look, everything.ended[:_ROWS])),
            current=builds.PATH,
        )

    async def _one_build(self, request: web.Request) -> web.StreamResponse:
        """GET /status/builds/{id} — 200; 404."""
        look = self._look(request)
        found = AllBuilds.of(self._tenants).find(request.match_info["id"])
        if found is None:
            return _not_found(look, "There is no such build: it ended a while ago.")
        tenant, build = found
        build_id = build.id if isinstance(build, Build) else build.build
        return _page(
            look,
            f"Build {build_id[:12]}",
            layout.section("build", "State", builds.details(look, tenant, build)),
            builds.log(look, build),
        )

    async def _log(self, request: web.Request) -> web.StreamResponse:
        """
        GET /status/builds/{id}/log?from= — 200: what was said after so many bytes; 404.

        Peitho-From and Peitho-Next tell where it begins and ends, Peitho-Over that no more comes.
        """
        asked = request.query.get("from", "0")
        position = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 16 else 0  # noqa: PLR2004  more digits are no position
        found = AllBuilds.of(self._tenants).find(request.match_info["id"])
        if found is None:
            return web.Response(status=404, text="There is no such build\n")
        build = found[1]
        tail = build.output.tail if isinstance(build, Build) else build.tail
        said, end = tail.since(position), tail.added_bytes
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Peitho-From": str(end - len(said)),
            "Peitho-Next": str(end),
        }
        if not isinstance(build, Build):
            headers["Peitho-Over"] = "1"
        return web.Response(body=said, headers=headers)

    async def _all_images(self, request: web.Request) -> web.StreamResponse:
        """GET /status/images?page= — 200."""
        look, stored = self._look(request), await self._images.get()
        page, pages, part = _part(request, len(stored.rows))
        return _page(
            look,
            "Images",
            layout.section(
                "images",
                "Images and room",
                images.room(stored),
                images.listed(look, stored.rows[part], self._tenants),
                layout.pager(look, images.PATH, page=page, pages=pages),
            ),
            current=images.PATH,
        )

    async def _all_checks(self, request: web.Request) -> web.StreamResponse:
        """GET /status/checks — 200."""
        look, checked = self._look(request), self._checked()
        return _page(
            look,
            "Checks",
            layout.section("parts", "Parts", checks.parts(await self._parts())),
            layout.section("findings", "Set-up", checks.findings(look, checked)),
            current=checks.PATH,
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """GET /status/page.css, page.js, icon.svg — 200."""
        name = request.path.rpartition("/")[2]
        return web.Response(body=self._static[name], headers={"Content-Type": _TYPES[name]})

    def _ends(self) -> list[tuple[str, Ended]]:
        """Return what ended lately, of all tenants, the latest first."""
        ends = [
            (tenant, each)
            for tenant, parts in self._tenants.items()
            for each in parts.exits.ended()
        ]
        return sorted(ends, key=lambda end: end[1].end.finished_at, reverse=True)[:_ROWS]


def _page(look: Look, title: str, *parts: Html, current: str = "-") -> web.Response:
    body = layout.document(look, title, *parts, current=current)
    return web.Response(body=body, headers={"Content-Type": "text/html; charset=utf-8"})


def _not_found(look: Look, said: str) -> web.Response:
    response = _page(look, "Not found", element("p", said))
    response.set_status(404)
    return response


def _part(request: web.Request, rows: int) -> tuple[int, int, slice]:
    return layout.of_page(request.query.get("page", "1"), rows=rows, most=_ROWS)


def _more(look: Look, path: str, rows: int) -> Html:
    name = f"all-{path.rpartition('/')[2]}"
    said = f"All {rows}" if rows > _FEW_ROWS else "More"
    return element("p", look.link(path, f"{said}: {path.rpartition('/')[2]}", id=name))


def _urgency(row: chaincode.TenantChaincode) -> int:
    """What somebody should look at comes first."""
    return chaincode.PHASES.index(row.seen.phase) if row.seen.phase in chaincode.PHASES else 0
