import asyncio

import pytest
import stamina

from peitho.clients.kubernetes.api import KubernetesError
from peitho.clients.registry.transport import RegistryError
from peitho.clients.retries import Again, RetryPolicy, Tries, asked_seconds, is_passing
from peitho.errors import NotFound, PeithoError, Unavailable

AWAY = Unavailable("away")
POLICY = RetryPolicy(attempts=6, first_seconds=1, longest_seconds=5, jitter_seconds=0)
QUICK = RetryPolicy(attempts=3, first_seconds=0, jitter_seconds=0)


class Work:
    """Fails as often as it is told to, and is done then."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_pauses_grow_and_end() -> None:
    """
    Twice as long each time, and never longer than the longest.
    """
    found = [POLICY.pause_seconds(failed, Again(AWAY)) for failed in range(1, 7)]

    assert [1, 2, 4, 5, 5, None] == found


@pytest.mark.parametrize(("asked", "expected"), [(0.5, 1), (1, 1), (3, 3), (5, 5), (5.1, None)])
def test_a_server_may_ask_for_a_longer_pause(asked: float, expected: float | None) -> None:
    """
    Up to the longest: who asks for more is not asked again.
    """
    assert expected == POLICY.pause_seconds(1, Again(AWAY, after_seconds=asked))


@pytest.mark.parametrize(
    ("header", "expected"), [("", 0), ("7", 7), ("Thu, 01 Jan 1970 00:00:30 GMT", 0)]
)
def test_a_servers_header_is_read(header: str, expected: float) -> None:
    """
    A time that is over asks for no pause.
    """
    assert expected == asked_seconds(header)


def test_chance_adds_to_a_pause() -> None:
    """
    Up to the jitter, so that not all come back at once.
    """
    policy = RetryPolicy(first_seconds=1, jitter_seconds=0.5)
    found = {policy.pause_seconds(1, Again(AWAY)) or 0 for _ in range(50)}

    assert len(found) > 1
    assert all(1 <= each <= 1.5 for each in found)


def test_a_steady_pause_has_no_end() -> None:
    """
    It is as long after a week as it was at the start.
    """
    policy = RetryPolicy.steady(5)

    assert [5, 5, 5] == [policy.pause_seconds(n, Again(AWAY)) for n in (1, 2, 1_000_000)]


async def test_what_passes_is_tried_again() -> None:
    """
    Until it is done.
    """
    work = Work(Again(AWAY), Again(AWAY))

    assert "done" == await Tries(QUICK).run(work)


async def test_the_last_reason_is_the_error() -> None:
    """
    Once the attempts are used up.
    """
    work = Work(Again(AWAY), Again(AWAY), Again(Unavailable("still away")), Again(AWAY))
    with pytest.raises(Unavailable, match=r"^still away$"):
        await Tries(QUICK).run(work)

    assert 1 == len(work.errors)


async def test_other_errors_are_told_at_once() -> None:
    """
    Whoever did the work says what may pass.
    """
    work = Work(AWAY, AWAY)
    with pytest.raises(Unavailable, match=r"^away$"):
        await Tries(QUICK).run(work)

    assert 1 == len(work.errors)


async def test_a_step_forward_has_the_tries_counted_anew() -> None:
    """
    Seven cuts are endured with three attempts.
    """
    left = [Again(AWAY)] * 7
    tries = Tries(QUICK)

    async def work() -> None:
        if left:
            if not len(left) % 2:
                tries.renew()
            raise left.pop()

    await tries.run(work)

    assert [] == left


async def test_whoever_waits_may_be_cancelled() -> None:
    """
    In the work as well as in a pause.
    """

    async def endless() -> None:
        await asyncio.Event().wait()

    for work in (endless, Work(Again(AWAY))):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Tries(POLICY).run(work)


async def test_a_test_need_not_wait() -> None:
    """
    The library makes no pause while it is told that it is tested.
    """
    slow = RetryPolicy(first_seconds=3600, longest_seconds=3600)
    with stamina.set_testing(testing=True, attempts=100):
        assert "done" == await Tries(slow).run(Work(*[Again(AWAY)] * 4))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AWAY, True),
        (KubernetesError("busy", code=429, reason=""), True),
        (KubernetesError("broken", code=500, reason=""), True),
        (RegistryError("broken", code=504), True),
        (KubernetesError("exceeded quota", code=403, reason="Forbidden"), False),
        (RegistryError("no", code=404), False),
        (NotFound("no"), False),
    ],
)
def test_what_may_be_well_the_next_time_passes(error: PeithoError, expected: bool) -> None:  # noqa: FBT001
    """
    Whoever cannot be reached, is too busy or in trouble; not who says no.
    """
    assert expected == is_passing(error)
