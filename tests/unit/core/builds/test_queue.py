import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.core.builds.queue import FairQueue, TenantQueue
from peitho.settings.live import Live, Replaceable
from tests.support.measured import sample


class Scene:
    """Peers that take turns; each build works until it is told to end."""

    def __init__(self, group: asyncio.TaskGroup, most: int) -> None:
        self.most = Replaceable(most)
        self.turns = FairQueue(self.most)
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._group = group
        self.ends: dict[str, asyncio.Event] = {}

    async def send(self, *names: str) -> None:
        """Send builds: `a1` is the first of peer `a`."""
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = self._group.create_task(self._build(name))
        await settle()

    async def end(self, *names: str) -> None:
        """End builds that work."""
        for name in names:
            self.ends[name].set()
            await settle()

    async def end_all(self) -> None:
        """End whatever works until nothing is left."""
        for event in self.ends.values():
            event.set()
        await settle(50)

    async def _build(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.began.append(name)
            await self.ends[name].wait()


async def settle(steps: int = 5) -> None:
    """Let all go on as far as they can."""
    for _ in range(steps):
        await asyncio.sleep(0)


async def test_no_more_than_so_many_work_at_once() -> None:
    """
    The others wait, and are counted.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=2)
        await scene.send("a1", "b1", "c1", "d1")

        assert ["a1", "b1"] == scene.began
        assert scene.turns.are_taken
        assert 2 == scene.turns.working
        assert 2 == sample("peitho_builds_waiting")

        await scene.end("b1")
        assert ["a1", "b1", "c1"] == scene.began
        await scene.end_all()

    assert ["a1", "b1", "c1", "d1"] == scene.began
    assert 0 == scene.turns.working


async def test_turns_are_given_back() -> None:
    """
    A turn that was given back is free for the next.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        for name in ("a1", "a2", "b1"):
            await scene.send(name)
            await scene.end(name)

    assert not scene.turns.are_taken


async def test_another_number_is_followed() -> None:
    """
    Those that wait are let in at once where there is room; those that are too many go on.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        await scene.send("a1", "b1", "c1", "d1")

        scene.most.now = 3
        await settle()
        assert ["a1", "b1", "c1"] == scene.began

        scene.most.now = 1
        await scene.end("a1", "b1")
        assert ["a1", "b1", "c1"] == scene.began
        await scene.end("c1")
        assert ["a1", "b1", "c1", "d1"] == scene.began

        await scene.send("a2")
        scene.most.now = 0
        await settle()
        assert "a2" == scene.began[-1]
        await scene.end_all()

    assert 0 == scene.turns.working


async def test_zero_is_no_limit() -> None:
    """
    All work at once.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=0)
        names = [f"a{number}" for number in range(20)]
        await scene.send(*names)

        assert names == scene.began
        assert 20 == scene.turns.working
        await scene.end_all()

    assert not scene.turns.are_taken
    assert 0 == scene.turns.working


async def test_peers_take_turns() -> None:
    """
    One that sends five builds is followed by the other's single one, not by its own second.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        await scene.send("a1", "a2", "a3", "a4", "a5", "b1")
        await scene.end("a1", "b1", "a2", "a3", "a4", "a5")

    assert ["a1", "b1", "a2", "a3", "a4", "a5"] == scene.began


async def test_a_peer_that_comes_late_does_not_wait_for_a_long_line() -> None:
    """
    All that wait are served in rounds, each peer once in a round.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        await scene.send("a1", "a2", "a3", "a4", "b1", "b2", "c1")
        await scene.end("a1")
        await scene.send("d1")
        await scene.end("b1", "c1", "a2", "d1", "b2", "a3", "a4")

    assert ["a1", "b1", "c1", "a2", "d1", "b2", "a3", "a4"] == scene.began


@pytest.mark.parametrize("failed", ["a1", "b1"], ids=["works", "waits"])
async def test_who_gives_up_leaves_no_hole(failed: str) -> None:
    """
    Whether it works or waits, the next ones come to their turn.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        await scene.send("a1", "b1", "b2", "c1")
        scene.tasks[failed].cancel()
        await settle()
        await scene.end_all()

    assert {"a1", "b2", "c1"} <= set(scene.began)
    assert 0 == scene.turns.working


async def test_who_gives_up_just_when_its_turn_comes_passes_it_on() -> None:
    """
    The turn was given, and nobody is there to take it.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        await scene.send("a1", "b1", "c1")
        scene.tasks["a1"].cancel()
        await asyncio.sleep(0)  # a1 gives its turn to b1, which has not woken yet
        scene.tasks["b1"].cancel()
        await settle()

        assert ["a1", "c1"] == scene.began
        await scene.end_all()

    assert 0 == scene.turns.working


async def test_the_last_that_gives_up_leaves_nothing() -> None:
    """
    Neither a turn that is taken nor a line that is empty.
    """
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, most=1)
        await scene.send("a1", "b1")
        scene.tasks["a1"].cancel()
        await asyncio.sleep(0)
        scene.tasks["b1"].cancel()
        await settle()
        assert 0 == scene.turns.working

        await scene.send("b2")
        assert ["a1", "b2"] == scene.began
        await scene.end_all()


async def test_a_failure_gives_its_turn_back() -> None:
    """
    And is raised as it is.
    """
    turns = FairQueue(Live(1))
    with pytest.raises(ValueError, match="why"):
        async with turns.turn("a"):
            raise ValueError("why")

    assert 0 == turns.working


async def test_two_that_give_up_at_once_leave_no_hole() -> None:
    """
    The one that works ends while the first in the line has been cancelled and does not know yet.
    """
    async with asyncio.TaskGroup() as group:
        it = Scene(group, most=1)
        await it.send("a1", "b1", "c1")
        it.tasks["a1"].cancel()
        it.tasks["b1"].cancel()  # its place is dead at once; it leaves the line when it wakes
        await settle()

        assert ["a1", "c1"] == it.began
        await it.end_all()
        assert 0 == it.turns.working


async def test_an_end_and_a_cancel_in_the_same_step_leave_no_hole() -> None:
    """
    The same with an end that is none of a cancel.
    """
    async with asyncio.TaskGroup() as group:
        it = Scene(group, most=1)
        await it.send("a1", "b1", "c1")
        it.ends["a1"].set()
        it.tasks["b1"].cancel()
        await settle()

        assert ["a1", "c1"] == it.began
        await it.end_all()


@given(
    most=st.integers(0, 3),
    builds=st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 4),
            st.integers(0, 2),
            st.lists(st.integers(0, 14), max_size=2),
        ),
        max_size=15,
    ),
)
def test_whatever_happens_all_finish_and_never_too_many_work(
    most: int, builds: list[tuple[str, int, int, list[int]]]
) -> None:
    """
    Builds of three peers come, end and are cancelled in any order.
    """
    asyncio.run(any_order(most, builds))


async def any_order(most: int, builds: list[tuple[str, int, int, list[int]]]) -> None:
    """One such order, step by step."""
    turns = FairQueue(Live(most))
    finished = 0

    async def build(peer: str, steps: int) -> None:
        nonlocal finished
        async with turns.turn(peer):
            assert turns.working <= (most or len(builds))
            await settle(steps)
        finished += 1

    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []
        for peer, steps, later, cancelled in builds:
            tasks.append(group.create_task(build(peer, steps)))
            await settle(later)
            for number in cancelled:
                tasks[number % len(tasks)].cancel()

    assert len(builds) == finished + sum(task.cancelled() for task in tasks)
    assert 0 == turns.working


async def test_tenants_take_turns_and_so_do_the_peers_of_each() -> None:
    """
    However many builds one sends first, another's is the next; each keeps to its own limit.
    """
    everybody = FairQueue(Live(2))
    queues = {
        name: TenantQueue(FairQueue(Live(most)), everybody, tenant=name)
        for name, most in (("a", 2), ("b", 1))
    }
    began: list[str] = []
    ends: dict[str, asyncio.Event] = {}

    async def build(name: str, peer: str) -> None:
        async with queues[name[0]].turn(peer):
            began.append(name)
            await ends[name].wait()

    async with asyncio.TaskGroup() as group:
        for name, peer in (
            *[("a1", "p"), ("a2", "p"), ("a3", "p"), ("a4", "q"), ("b1", "p"), ("b2", "p")],
        ):
            ends[name] = asyncio.Event()
            group.create_task(build(name, peer))
        await settle()
        assert ["a1", "a2"] == began
        for ended, expected in (("a1", "b1"), ("a2", "a4"), ("b1", "a3"), ("a4", "b2")):
            assert "as many builds are running as are allowed at once" == queues["a"].cause
            ends[ended].set()
            await settle()
            assert expected == began[-1]
        ends["a3"].set()
        ends["b2"].set()
    assert ["", ""] == [queue.cause for queue in queues.values()]
