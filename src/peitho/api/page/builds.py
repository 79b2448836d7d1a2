"""Builds on the page: those that wait or are carried out, what they say, and how others ended."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peitho.api.page import layout
from peitho.api.page.html import NOTHING, Content, Html, element, joined
from peitho.api.page.layout import Column, Look
from peitho.api.services import Services
from peitho.core.builds.build import Build
from peitho.core.builds.pool import EndedBuild
from peitho.formats import readable

PATH = "status/builds"

_UNDER_WAY = (
    Column("Build", is_name=True),
    Column("Phase"),
    Column("Since"),
    Column("Builder image"),
    Column("Peer"),
    Column("Peers", is_number=True),
    Column("Output", is_number=True),
    Column("Last line"),
)
_ENDED = (
    Column("Build", is_name=True),
    Column("Outcome"),
    Column("Ended"),
    Column("Took"),
    Column("Builder image"),
    Column("Peer"),
    Column("Reason"),
)


@dataclass(frozen=True, slots=True)
class AllBuilds:
    """The builds of all tenants, each with whose it is."""

    under_way: Sequence[tuple[str, Build]]
    ended: Sequence[tuple[str, EndedBuild]]

    @classmethod
    def of(cls, tenants: Mapping[str, Services]) -> "AllBuilds":
        """Return those that are in memory."""
        under_way = [
            (tenant, build)
            for tenant, parts in tenants.items()
            for build in parts.builds.pool.under_way()
        ]
        ended = [
            (tenant, build)
            for tenant, parts in tenants.items()
            for build in parts.builds.pool.ended()
        ]
        ended.sort(key=lambda each: each[1].state.finished_at, reverse=True)
        return cls(under_way, ended)

    def find(self, build_id: str) -> tuple[str, Build | EndedBuild] | None:
        """Return the one with an ID."""
        running = (each for each in self.under_way if each[1].id == build_id)
        over = (each for each in self.ended if each[1].build == build_id)
        return next(running, None) or next(over, None)


def summary(everything: AllBuilds) -> str:
    """Return how many there are, in a sentence."""
    waiting = sum(build.phase == "waiting" for _, build in everything.under_way)
    under_way = len(everything.under_way) - waiting
    if not everything.under_way:
        return "No build is under way"
    return f"Builds: {under_way} under way, {waiting} waiting"


def under_way(look: Look, builds: Sequence[tuple[str, Build]]) -> Html:
    """Return the table of those that wait or are carried out."""
    return layout.table(
        "Builds that wait or are carried out, the oldest first",
        look.columns(_UNDER_WAY),
        [_row(look, tenant, build) for tenant, build in builds],
        none="No build waits or is carried out.",
    )


def ended(look: Look, builds: Sequence[tuple[str, EndedBuild]]) -> Html:
    """Return the table of those that are over."""
    return layout.table(
        "Builds that ended since Peitho started, the latest first",
        look.columns(_ENDED),
        [_end(look, tenant, build) for tenant, build in builds],
        none="None has ended since Peitho started.",
    )


def details(look: Look, tenant: str, build: Build | EndedBuild) -> Html:
    """Return what is known of one; of its variables and files, nothing."""
    whose = ("Tenant", tenant if look.has_tenants else "")
    if isinstance(build, Build):
        return layout.facts(
            [
                ("Phase", layout.state(build.phase)),
                ("Since", readable.duration(time.monotonic() - build.began)),
                ("Builder image", layout.cut(build.spec.image)),
                ("Peer", layout.cut(build.peer)),
                ("Peers", str(build.peers)),
                whose,
                ("Output", readable.size(build.output.size_bytes)),
            ]
        )
    return layout.facts(
        [
            ("Outcome", _outcome(build)),
            ("Exit code", str(build.state.exit_code)),
            ("Reason", layout.cut(build.state.reason, 2000)),
            ("Ended", look.ago(build.state.finished_at)),
            ("Took", readable.duration(build.seconds)),
            ("Builder image", layout.cut(build.image)),
            ("Peer", layout.cut(build.peer)),
            whose,
        ]
    )


def log(look: Look, build: Build | EndedBuild) -> Html:
    """Return what it said last; of one that is carried out, the script adds what it says next."""
    tail = build.output.tail if isinstance(build, Build) else build.tail
    said = tail.since(0)
    is_cut = tail.added_bytes > len(said)
    followed: dict[str, str | bool] = {}
    if isinstance(build, Build):
        path = f"{look.root}{PATH}/{build.id}/log"
        followed = {"data_log": path, "data_next": str(tail.added_bytes)}
    cut = element("p", "Only the last of it is shown.", class_="none")
    shown = element(
        "pre",
        readable.plain_lines(said.decode(errors="replace")),
        id="log",
        tabindex="0",
        role="log",
        aria_live="off",
        aria_labelledby="log-title",
        **followed,
    )
    return element(
        "section",
        element("h2", "Log", id="log-title"),
        cut if is_cut else NOTHING,
        shown if said or followed else element("p", "It said nothing.", class_="none"),
    )


def _row(look: Look, tenant: str, build: Build) -> list[Content]:
    return look.row(
        tenant,
        _link(look, build.id),
        layout.state(build.phase),
        readable.duration(time.monotonic() - build.began),
        layout.cut(build.spec.image),
        layout.cut(build.peer),
        str(build.peers),
        readable.size(build.output.size_bytes),
        layout.cut(build.output.last_line),
    )


def _end(look: Look, tenant: str, build: EndedBuild) -> list[Content]:
    return look.row(
        tenant,
        _link(look, build.build),
        _outcome(build),
        look.ago(build.state.finished_at),
        readable.duration(build.seconds),
        layout.cut(build.image),
        layout.cut(build.peer),
        layout.cut(build.state.reason or _last_line(build)),
    )


def _link(look: Look, build_id: str) -> Html:
    return look.link(f"{PATH}/{build_id}", build_id[:12], id=f"build-{build_id[:12]}")


def _outcome(build: EndedBuild) -> Html:
    code = build.state.exit_code
    return layout.state("done") if code == 0 else joined([layout.state("failed"), f" {code}"])


def _last_line(build: EndedBuild) -> str:
    if build.state.exit_code == 0:
        return ""
    said = build.tail.last(500).decode(errors="replace").splitlines()
    return next((line for line in reversed(said) if line.strip()), "")
