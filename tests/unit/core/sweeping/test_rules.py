"""What a sweep removes, in worlds made up by hand, and in a thousand made up by chance."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peitho.core.sweeping import rules
from peitho.core.sweeping.rules import (
    Removal,
    RetentionOptions,
    Snapshot,
    StoredImage,
    Undecided,
)
from peitho.formats import records
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import Exit, RecordMetadata
from tests.support import typed

NOW = 1_800_000_000
RETENTION = 100
UNSTARTED = 600
ORPHAN_AFTER = 60
POLICY = RetentionOptions(
    retention_seconds=RETENTION,
    orphan_after_seconds=ORPHAN_AFTER,
    images_retention_seconds=30 * 86400,
    images_limit_bytes=0,
)
OURS = labels.own_labels("mine") | {labels.KIND: records.CHAINCODE}
# Each of them lacks one of the labels that are ours.
NOT_OURS: tuple[Manifest, ...] = (
    {},
    OURS | {labels.INSTANCE: "theirs"},
    OURS | {labels.KIND: records.BUILD},
)
PEERS = ("peer0:7052", "peer1:7052", "10.0.0.1:7052")


def ago(seconds: float) -> str:
    """A moment before the sweep, as Kubernetes writes it."""
    return datetime.fromtimestamp(NOW - seconds, UTC).isoformat().replace("+00:00", "Z")


def record(
    name: str,
    *,
    own: Manifest = OURS,
    age: float = 0,
    ended: float | None = None,
    peer: str = "",
) -> RecordMetadata:
    """The record of a container, created and ended some time ago; its ID is its name."""
    annotations = {labels.ID: name, labels.NAME: name, labels.CREATED: ago(age)}
    if ended is not None:
        annotations[labels.EXIT] = record_secrets.exit_note(Exit(1), finished_at=ago(ended))
    if peer:
        annotations[labels.PEER] = peer
    metadata = {
        "name": f"cc-{name}",
        "labels": own | {labels.CONTAINER: name},
        "annotations": annotations,
    }
    return typed.metadata({"metadata": metadata})


def pod(name: str, state: Manifest) -> PodStatus:
    """The Pod of a container."""
    statuses = [{"name": records.CHAINCODE, "state": state}] if state else []
    return typed.pod(
        {
            "metadata": {"labels": {labels.CONTAINER: name}},
            "status": {"containerStatuses": statuses},
        }
    )


def job(name: str, *conditions: tuple[str, str, float]) -> JobStatus:
    """The Job of a container, with conditions: kind, status, and since how many seconds."""
    told = [
        {"type": kind, "status": status, "lastTransitionTime": ago(age)}
        for kind, status, age in conditions
    ]
    status = {"conditions": told} if told else {}
    metadata = {"name": name, "labels": {labels.CONTAINER: name}}
    return typed.job({"metadata": metadata, "status": status})


def swept(world: Snapshot) -> dict[str, str]:
    """Why which containers go."""
    return {each.record.name: each.why for each in removals(world)}


def removals(world: Snapshot) -> list[Removal]:
    """All that goes, where nothing is damaged."""
    found = list(rules.chaincode(world, POLICY))
    assert not [each for each in found if isinstance(each, Undecided)]
    return [each for each in found if isinstance(each, Removal)]


RUNNING = {"running": {"startedAt": ago(1000)}}
WAITING = {"waiting": {"reason": "ImagePullBackOff"}}
ENDED = {"terminated": {"exitCode": 1, "finishedAt": ago(1000)}}


# What the cluster has of a container, by what it lives through: a Job, and a Pod in a state.
STORIES: dict[str, tuple[bool, Manifest | None]] = {
    "created": (False, None),
    "starting without a Pod": (True, None),
    "starting": (True, {}),
    "pulling": (True, WAITING),
    "running": (True, RUNNING),
    "end not noted yet": (True, ENDED),
    "ended": (True, ENDED),
    "ended and its Pod deleted": (False, None),
    "failed without a Pod": (True, None),
}


@dataclass
class Made:
    """A world as it is made up, and the names of those that are to go from it, in order."""

    refused: dict[str, int]
    records: list[RecordMetadata] = field(default_factory=list)
    pods: list[PodStatus] = field(default_factory=list)
    jobs: list[JobStatus] = field(default_factory=list)
    waited: set[str] = field(default_factory=set)
    due: list[str] = field(default_factory=list)

    def add(self, name: str, story: str, age: int, peer: str, *, waited: bool) -> bool:
        """Put a container of ours into the world; whether it is to go."""
        over = age if story.startswith("ended") else None
        created = age if story == "created" else 10**6
        self.records.append(record(name, age=created, ended=over, peer=peer))
        started, state = STORIES[story]
        if started:
            failed = [("FailureTarget", "True", 10**6), ("Failed", "True", age)]
            self.jobs.append(job(name, *failed if story.startswith("failed") else []))
        if state is not None:
            self.pods.append(pod(name, state))
        if waited:
            self.waited.add(name)
        if story == "running":
            return self.refused.get(peer, 0) > ORPHAN_AFTER and not waited
        if story == "created":
            return age > UNSTARTED
        return story.startswith(("ended", "failed")) and age > RETENTION

    def disown(self, own: Manifest) -> None:
        """The container that was added last is none of ours after all."""
        last = self.records[-1]
        kept = own | {labels.CONTAINER: last.id} if own else {}
        self.records[-1] = replace(last, labels=kept)


LIMITS = (ORPHAN_AFTER, RETENTION, UNSTARTED)
AGES = (0, *LIMITS, *(limit + 1 for limit in LIMITS), 10**6)
OBJECTS = tuple(
    itertools.product(STORIES, AGES, (*PEERS, ""), (False, True), (*[OURS] * 4, *NOT_OURS))
)
WORLDS = st.tuples(
    st.dictionaries(st.sampled_from(PEERS), st.sampled_from(AGES), max_size=3),
    st.lists(st.sampled_from(OBJECTS), max_size=12),
)


def made(drawn: tuple[dict[str, int], list[tuple[str, int, str, bool, Manifest]]]) -> Made:
    """The world that was drawn."""
    refused, objects = drawn
    world = Made(refused)
    for number, (story, age, peer, waited, own) in enumerate(objects):
        goes = world.add(f"c{number}", story, age, peer, waited=waited)
        if own != OURS:
            world.disown(own)
        elif goes:
            world.due.append(f"c{number}")
    return world


@settings(max_examples=200)
@given(WORLDS.map(made))
def test_exactly_what_is_over_or_orphaned_goes(made_up: Made) -> None:
    """
    Nothing of another's, nothing that starts, and nothing that a peer waits for or can be reached.
    """
    world = Snapshot(
        now=NOW,
        instance="mine",
        records=made_up.records,
        pods=made_up.pods,
        jobs=made_up.jobs,
        refused_since={peer: NOW - age for peer, age in made_up.refused.items()},
        waited=made_up.waited,
    )

    assert made_up.due == [each.record.name for each in rules.chaincode(world, POLICY)]


class TestWhatIsOver:
    def test_it_can_be_looked_at_for_a_while(self) -> None:
        """
        Then it goes, and its reason is its age.
        """
        records = [record("new", age=500, ended=99.5), record("old", age=500, ended=101)]

        found = removals(Snapshot(NOW, "mine", records))

        assert [("old", "over for 101 s")] == [(each.record.name, each.why) for each in found]
        assert records[1] is found[0].record

    def test_what_was_never_started_goes_as_well(self) -> None:
        """
        A peer that died between create and start does not come back; one that lives has its time.
        """
        records = [record("new", age=599), record("old", age=601)]
        world = Snapshot(NOW, "mine", records)

        assert {"old": "created 601 s ago and never started"} == swept(world)
        patient = replace(POLICY, retention_seconds=601)
        assert [] == list(rules.chaincode(world, patient))

    def test_an_end_that_is_noted_counts_whatever_became_of_its_pod(self) -> None:
        """
        One that hangs on its node included.
        """
        world = Snapshot(NOW, "mine", [record("a", ended=101)], pods=[pod("a", RUNNING)])

        assert {"a": "over for 101 s"} == swept(world)


class TestWhatStarts:
    def test_a_job_that_has_no_pod_yet_is_starting(self) -> None:
        """
        For as long as it takes: a quota or a missing node may be mended.
        """
        records = [record("a", age=10**6)]

        assert {} == swept(Snapshot(NOW, "mine", records, jobs=[job("a")]))
        suspended = job("a", ("Suspended", "True", 10**6), ("Failed", "False", 10**6))
        assert {} == swept(Snapshot(NOW, "mine", records, jobs=[suspended]))

    @pytest.mark.parametrize("kind", ["Failed", "Complete"])
    def test_a_job_that_ended_without_a_pod_is_over(self, kind: str) -> None:
        """
        Since then, and not since its creation: its Pod was deleted while Peitho was not there.
        """
        records = [record("new", age=10**6), record("old", age=10**6)]
        jobs = [job("new", (kind, "True", 99)), job("old", (kind, "True", 101))]

        assert {"old": "over for 101 s"} == swept(Snapshot(NOW, "mine", records, jobs=jobs))

    def test_an_end_that_is_not_noted_yet_is_waited_for(self) -> None:
        """
        Its code is not thrown away before it is kept.
        """
        world = Snapshot(NOW, "mine", [record("a", age=10**6)], pods=[pod("a", ENDED)])

        assert {} == swept(world)


class TestWhosePeerIsGone:
    RECORDS = (
        record("orphan", peer="peer0:7052"),
        record("reached", peer="peer1:7052"),
        record("silent"),
    )
    PODS = tuple(pod(name, RUNNING) for name in ("orphan", "reached", "silent"))

    def world(self, *, seconds: float, waited: tuple[str, ...] = ()) -> Snapshot:
        """Three that run, one of which has a peer that has refused connections for so long."""
        refused = {"peer0:7052": NOW - seconds}
        return Snapshot(NOW, "mine", self.RECORDS, self.PODS, refused_since=refused, waited=waited)

    def test_it_goes_once_its_peer_has_refused_for_long(self) -> None:
        """
        One whose command tells no peer's address stays.
        """
        assert {} == swept(self.world(seconds=60))
        assert {"orphan": "its peer at peer0:7052 has refused connections for 61 s"} == swept(
            self.world(seconds=61)
        )

    def test_one_that_is_waited_for_has_a_peer(self) -> None:
        """
        Whatever the address says: a peer may listen where Peitho does not get to.
        """
        assert {} == swept(self.world(seconds=10**6, waited=("orphan",)))

    def test_one_that_starts_is_left_to_start(self) -> None:
        """
        Its peer's listener for chaincode may come after it.
        """
        refused = {"peer0:7052": 0.0}
        world = Snapshot(
            NOW, "mine", self.RECORDS[:1], [pod("orphan", WAITING)], refused_since=refused
        )

        assert {} == swept(world)


class TestWhatIsNotOurs:
    @pytest.mark.parametrize("own", NOT_OURS, ids=["none", "instance", "kind"])
    def test_it_stays(self, own: Manifest) -> None:
        """
        However much it looks like ours.
        """
        assert {} == swept(Snapshot(NOW, "mine", [record("a", own=own, ended=10**6)]))


class TestImages:
    DAY = 86400.0

    def image(self, name: str, *, size: int = 10, used: float = 0, seen: float = 0) -> StoredImage:
        """An image that was used, and whose peer was seen, so many days ago."""
        return StoredImage(name, size, NOW - used * self.DAY, NOW - seen * self.DAY)

    def gone(self, *stored: StoredImage, in_use: str = "", limit: int = 0) -> dict[str, str]:
        """Why which images go."""
        policy = RetentionOptions(RETENTION, ORPHAN_AFTER, 30 * self.DAY, limit)
        found = rules.images(stored, in_use.split(), NOW, policy)
        return {image.name: why for image, why in found}

    def test_one_that_no_container_has_stays(self) -> None:
        """
        A package that was installed and never launched: its peer does not build it again.
        """
        assert {} == self.gone(self.image("installed", used=1000, seen=29), self.image("new"))

    def test_it_goes_once_its_peer_has_not_been_seen_for_long(self) -> None:
        """
        Unless a container has it.
        """
        stored = [self.image(name, used=31, seen=31) for name in ("gone", "launched")]

        assert {"gone": "its peer has not been seen for 31 days"} == self.gone(
            *stored, in_use="launched"
        )

    def test_past_the_limit_the_least_recently_used_go(self) -> None:
        """
        As many as it takes, and none that a container has.
        """
        stored = [self.image(name, used=days) for days, name in enumerate("abcde")]

        assert {} == self.gone(*stored, limit=50)
        why = "the store holds more than 25 bytes"
        assert {"e": why, "c": why, "b": why} == self.gone(*stored, in_use="d x", limit=25)
        assert {} == self.gone(*stored, in_use="a b c d e", limit=25)

    def test_what_goes_for_its_age_counts_no_more(self) -> None:
        """
        The others need not make room for it.
        """
        old = self.image("old", size=100, used=31, seen=31)

        assert ["old"] == list(self.gone(old, self.image("new"), limit=20))


class TestStuck:
    """What a Peitho left that was killed in the middle of a start, or that nobody admits."""

    @pytest.mark.parametrize(
        ("age", "why"), [(500, {}), (700, {"mycc": "its Job has had no Pod for 700 s"})]
    )
    def test_a_job_without_a_pod_goes(self, age: float, why: dict[str, str]) -> None:
        """
        Suspended, or refused by a quota: no launch takes as long.
        """
        old = replace(job("mycc"), created_at=ago(age))

        assert why == swept(Snapshot(NOW, "mine", [record("mycc", age=age)], jobs=[old]))

    @pytest.mark.parametrize(
        ("age", "why"), [(500, {}), (700, {"mycc": "its Pod has not started for 700 s"})]
    )
    def test_a_pod_that_never_starts_goes(self, age: float, why: dict[str, str]) -> None:
        """
        One that no node has room for, for instance.
        """
        old = replace(pod("mycc", {}), created_at=ago(age))

        assert why == swept(Snapshot(NOW, "mine", [record("mycc", age=age)], [old]))

    def test_a_launch_has_twice_its_time(self) -> None:
        """
        An operator's start may take longer than ten minutes.
        """
        patient = replace(POLICY, start_timeout_seconds=1000)
        old = replace(job("mycc"), created_at=ago(1900))
        world = Snapshot(NOW, "mine", [record("mycc", age=1900)], jobs=[old])

        assert [] == list(rules.chaincode(world, patient))


def test_a_damaged_time_keeps_no_other_from_going() -> None:
    """
    It is told, with the cause.
    """
    damaged = replace(record("damaged", age=10_000), created="0001-01-01T00:00:00+99:99")
    found = list(rules.chaincode(Snapshot(NOW, "mine", [damaged, record("old", age=700)]), POLICY))

    assert [Undecided, Removal] == [type(each) for each in found]
    assert ["damaged", "old"] == [each.record.name for each in found]
