import asyncio

from peitho.core.builds.attendance import Attendance


async def test_it_is_quiet_since_the_last_call() -> None:
    """
    And never while there is one.
    """
    attendance = Attendance()
    await asyncio.sleep(100)
    assert 99 < attendance.quiet_seconds < 110
    with attendance.call():
        with attendance.call():
            await asyncio.sleep(100)
        assert 0 == attendance.quiet_seconds
    await asyncio.sleep(10)
    assert 9 < attendance.quiet_seconds < 20
