"""Chaincode on the page: what there is, at what, and how it ended."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from peitho.api.page import layout
from peitho.api.page.html import NOTHING, Content, Html, element, joined
from peitho.api.page.layout import Column, Look
from peitho.api.services import Services
from peitho.clients.turns import in_turns
from peitho.core.chaincode.exits import Ended
from peitho.core.chaincode.seen import Chaincode
from peitho.formats import readable
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import labels
from peitho.formats.records import RecordMetadata

PATH = "status/chaincode"
PHASES = ("damaged", "starting", "exited", "created", "running")

_LOG_CHARACTERS = 4000
_COLUMNS = (
    Column("Chaincode", is_name=True),
    Column("MSP"),
    Column("Peer"),
    Column("Phase"),
    Column("Exit code", is_number=True),
    Column("Reason and last lines"),
    Column("Age"),
    Column("Digest"),
)
_ENDED = (
    Column("Chaincode", is_name=True),
    Column("MSP"),
    Column("Peer"),
    Column("Ended"),
    Column("How"),
    Column("Exit code", is_number=True),
    Column("Reason and last lines"),
)

# Images by tenant and name.
Images = Mapping[tuple[str, str], Image]


@dataclass(frozen=True, slots=True)
class TenantChaincode:
    """A chaincode, and whose it is."""

    tenant: str
    seen: Chaincode

    @property
    def id(self) -> str:
        """The container's ID."""
        return self.seen.id


@dataclass(frozen=True, slots=True)
class AllChaincode:
    """All of it, by name; it may lack some while the watch `is_behind`."""

    rows: Sequence[TenantChaincode]
    phases: Mapping[str, int]
    is_behind: bool

    @classmethod
    async def of(cls, tenants: Mapping[str, Services]) -> "AllChaincode":
        """Put together what the watches have told: the cluster is not asked."""
        rows: list[TenantChaincode] = []
        for tenant, parts in tenants.items():
            rows += [
                TenantChaincode(tenant, Chaincode.of(record, parts.watch))
                async for record in in_turns(parts.record_watch.known())
            ]
        rows.sort(key=lambda row: (row.seen.name, row.tenant))
        phases: Counter[str] = Counter()
        async for row in in_turns(rows):
            phases[row.seen.phase] += 1
        is_behind = not all(parts.record_watch.is_live for parts in tenants.values())
        return cls(rows, phases, is_behind)

    def find(self, container_id: str) -> TenantChaincode | None:
        """Return the one with an ID."""
        return next((row for row in self.rows if row.id == container_id), None)


def listed(
    look: Look, everything: AllChaincode, rows: Sequence[TenantChaincode], images: Images
) -> Html:
    """Return the table of some of all chaincode."""
    behind = element(
        "p",
        "Peitho's records are not watched at the moment, so some may be missing: see Checks.",
        class_="notice",
    )
    return joined(
        [
            behind if everything.is_behind else NOTHING,
            layout.table(
                "Chaincode containers",
                look.columns(_COLUMNS),
                [_row(look, row, images) for row in rows],
                none="No chaincode: none was launched, or the sweeper has removed what was over.",
            ),
        ]
    )


def phases(look: Look, everything: AllChaincode, chosen: str = "") -> Html:
    """Return how many there are in each phase, each a link to those."""
    links = [
        element("li", look.link(PATH, f"All {len(everything.rows)}", **_current(chosen == "")))
    ]
    for phase in PHASES:
        if count := everything.phases.get(phase, 0):
            link = look.link(
                f"{PATH}?phase={phase}", f"{phase} {count}", **_current(phase == chosen)
            )
            links.append(element("li", link))
    return element("nav", element("ul", *links), class_="phases", aria_label="Phases")


def summary(everything: AllChaincode) -> str:
    """Return the same in a sentence."""
    if not everything.rows:
        return "No chaincode"
    counts = [f"{count} {phase}" for phase in PHASES if (count := everything.phases.get(phase, 0))]
    return f"Chaincode: {', '.join(counts)}"


def ended(look: Look, ends: Sequence[tuple[str, Ended]]) -> Html:
    """Return the table of what ended lately."""
    return layout.table(
        "Chaincode that ended since Peitho started, the latest first",
        look.columns(_ENDED),
        [_end(look, tenant, each, number) for number, (tenant, each) in enumerate(ends)],
        none="None has ended since Peitho started.",
    )


def details(look: Look, row: TenantChaincode, images: Images) -> Html:
    """Return all that is known of one; of its variables and files, nothing."""
    seen = row.seen
    known = seen.row()
    image = _image(row, images)
    asked = seen.record.asked_labels if isinstance(seen.record, RecordMetadata) else {}
    return joined(
        [
            layout.facts(
                [
                    ("Phase", layout.state(seen.phase)),
                    ("Reason", layout.cut(seen.reason, 2000)),
                    ("Exit code", "" if known["exitCode"] is None else str(known["exitCode"])),
                    ("Package", layout.cut(known["package"])),
                    ("MSP", layout.cut(known["mspId"])),
                    ("Peer", layout.cut(known["peer"])),
                    ("Tenant", row.tenant if look.has_tenants else ""),
                    ("Created", look.ago(known["created"])),
                    ("Started", look.ago(known["started"])),
                    ("Finished", look.ago(known["finished"])),
                    ("Image", layout.cut(known["image"])),
                    ("Image ID", image.id if image else ""),
                    ("Layer", image.layer if image else ""),
                    ("Runtime image", layout.cut(image.node_image) if image else ""),
                    ("Node", layout.cut(known["node"])),
                    ("Pod", layout.cut(known["pod"])),
                    ("Job", layout.cut(known["job"])),
                    ("Secret", layout.cut(known["secret"])),
                    ("Container ID", seen.id),
                    ("Labels", _labels(asked)),
                ]
            ),
            _said(_log(seen), "said"),
        ]
    )


def _row(look: Look, row: TenantChaincode, images: Images) -> list[Content]:
    seen = row.seen
    known = seen.row()
    title = layout.cut(known["package"] or seen.name)
    image = _image(row, images)
    return look.row(
        row.tenant,
        look.link(f"{PATH}/{seen.id}", title, id=f"chaincode-{seen.id[:12]}"),
        layout.cut(known["mspId"]),
        layout.cut(known["peer"]),
        layout.state(seen.phase),
        "" if known["exitCode"] is None else str(known["exitCode"]),
        _reason(seen.reason, _log(seen), name=f"said-{seen.id[:12]}"),
        look.ago(known["finished"] or known["started"] or known["created"]),
        layout.digest(image.layer if image else known["image"].partition("@")[2]),
    )


def _reason(reason: str, said: str, *, name: str) -> Html:
    """Return why one ended, with its last lines folded if there are any."""
    if not said:
        return joined([layout.cut(reason)])
    lines = layout.lines(said, name=f"{name}-lines")
    return joined([layout.cut(reason), layout.folded("Last lines", lines, name=name)])


def _end(look: Look, tenant: str, each: Ended, number: int) -> list[Content]:
    name = f"ended-{number}-{each.end.finished_at}"
    return look.row(
        tenant,
        layout.cut(each.package or each.name),
        layout.cut(each.msp_id),
        layout.cut(each.peer),
        look.ago(each.end.finished_at),
        layout.state(each.exit_class),
        str(each.end.code),
        _reason(each.end.reason, _cut_log(each.end.log), name=name),
    )


def _current(is_so: bool) -> dict[str, str | bool]:  # noqa: FBT001  one question, one answer
    return {"aria_current": "page" if is_so else False}


def _image(row: TenantChaincode, images: Images) -> Image | None:
    record = row.seen.record
    name = record.image.removesuffix(":latest") if isinstance(record, RecordMetadata) else ""
    return images.get((row.tenant, name))


def _log(seen: Chaincode) -> str:
    return _cut_log(seen.state.log if seen.state else "")


def _cut_log(text: str) -> str:
    return readable.plain_lines(text[-_LOG_CHARACTERS:]).strip("\n")


def _said(text: str, name: str) -> Html:
    if not text:
        return NOTHING
    return joined([element("h2", "Last lines"), layout.lines(text, name=name)])


def _labels(asked: Mapping[str, str]) -> Html:
    """Return the labels that were asked for at create; Peitho's own are told in words."""
    shown = [(key, value) for key, value in asked.items() if not key.startswith(labels.PACKAGE_ID)]
    return joined(_label_lines(shown)) if shown else NOTHING


def _label_lines(shown: Sequence[tuple[str, str]]) -> Iterator[Html]:
    for key, value in shown[:50]:
        yield element("code", layout.cut(f"{key}={value}"), class_="label")
        yield Html(" ")
