import asyncio

import pytest

from peitho.core.pods.patience import Patience
from peitho.errors import StartFailed
from peitho.formats.kubernetes.pod_status import StartObstacle

BUSY = StartObstacle("ErrImagePull", "i:1: busy", final=False, failed_pull=True)
PAUSE = StartObstacle("ImagePullBackOff", "i:1: Back-off", final=False, failed_pull=True)
FULL = StartObstacle("Unschedulable", "0/1 nodes", final=False)
LACK = StartObstacle("CreateContainerConfigError", "no", final=False, patience_seconds=5)


def test_what_no_retry_mends_is_the_answer() -> None:
    """
    Whoever says it.
    """
    final = StartObstacle("InvalidImageName", "i:1", final=True)
    with pytest.raises(StartFailed, match=r"^InvalidImageName: i:1$"):
        Patience().see(final, version="1")
    with pytest.raises(StartFailed, match=r"^InvalidImageName: i:1$"):
        Patience().be_told(final)


async def test_the_third_failed_pull_is_the_answer() -> None:
    """
    With the cause of the last one, which a pause between two does not repeat.
    """
    patience = Patience()
    patience.see(BUSY, version="1")
    patience.see(BUSY, version="1")
    patience.see(PAUSE, version="2")
    with pytest.raises(StartFailed, match=r"^ErrImagePull: i:1: busy$"):
        patience.see(PAUSE, version="3")


async def test_what_has_gone_is_not_told_in_the_end() -> None:
    """
    A node came, and the image is being pulled.
    """
    patience = Patience()
    patience.see(FULL, version="1")
    assert FULL == patience.last
    patience.see(None, version="2")
    assert patience.last is None


async def test_what_is_seen_is_told_before_what_was_answered() -> None:
    """
    A status is newer than an Event.
    """
    patience = Patience()
    patience.be_told(FULL)
    assert FULL == patience.last
    patience.see(BUSY, version="1")
    assert BUSY == patience.last


async def test_what_may_stand_for_a_while_is_an_answer_then() -> None:
    """
    However often it is told meanwhile, and also if nothing more is told.
    """
    patience, loop = Patience(), asyncio.get_running_loop()
    began = loop.time()
    patience.be_told(LACK)
    await patience.pause(4)
    patience.be_told(LACK)
    with pytest.raises(StartFailed, match=r"^CreateContainerConfigError: no$"):
        await patience.pause(60)
    assert 5 == pytest.approx(loop.time() - began, abs=0.2)

    patience.see(LACK, version="1")
    with pytest.raises(StartFailed, match=r"^CreateContainerConfigError: no$"):
        await patience.stand()


async def test_what_stands_again_has_its_time_again() -> None:
    """
    It had passed meanwhile.
    """
    patience = Patience()
    patience.be_told(LACK)
    await patience.pause(4)
    patience.be_told(None)
    patience.be_told(LACK)
    await patience.pause(4)
    assert LACK == patience.last
