from peitho.api.connections import Connections


class Told:
    """A connection that notes whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


def test_the_one_that_waits_longest_goes_first() -> None:
    """
    Whoever calls now is let in; a client whose idle connection is gone makes another.
    """
    connections = Connections(most_waiting=2, most_at_work=5)
    first, second, third = told = [Told(), Told(), Told()]
    connections.wait(first)
    connections.wait(second)
    assert connections.work(first)
    connections.wait(first)
    connections.wait(third)

    assert [False, True, False] == [each.is_closed for each in told]


def test_a_call_too_many_is_told_and_one_that_ends_makes_room() -> None:
    """
    Those at work are never closed for others.
    """
    connections = Connections(most_waiting=5, most_at_work=1)
    first, second = Told(), Told()
    connections.wait(first)
    connections.wait(second)
    assert connections.work(first)
    assert not connections.work(second)

    connections.forget(first)
    assert connections.work(second)
    assert not second.is_closed


def test_as_many_are_allowed_as_files_may_be_open() -> None:
    """
    A process at its limit of open files could not even read its own.
    """
    connections = Connections.allowed()
    calls = [Told() for _ in range(100)]
    for call in calls:
        connections.wait(call)
        assert connections.work(call)
