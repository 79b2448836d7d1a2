import pytest

from peitho.errors import Unavailable
from peitho.rehearsal.daemon import Daemon, WrongAnswerError
from peitho.rehearsal.generations import BY_NAME
from tests.support.rehearsed_daemon import RehearsedDaemon


async def test_a_daemon_that_is_away_is_told() -> None:
    """
    With the call that it was.
    """
    async with RehearsedDaemon.start() as double:
        port = double.port
    async with Daemon.connect("127.0.0.1", port, BY_NAME["1.4"], tls=None) as daemon:
        with pytest.raises(Unavailable, match="GET /version: Cannot connect"):
            await daemon.greet()


async def test_output_without_frames_is_told_where_a_peer_takes_them_apart() -> None:
    """
    An older peer would show nothing of it.
    """
    async with (
        RehearsedDaemon.start() as double,
        Daemon.connect("127.0.0.1", double.port, BY_NAME["3.1"], tls=None) as newer,
    ):
        await newer.greet()
        answer = await newer.call("POST", "/containers/create", {201}, json={"Cmd": ["make"]})
        attached = await newer.attach(str(answer["Id"]))
        attached.is_framed = True

        with pytest.raises(WrongAnswerError, match="not a frame of output"):
            await attached.text()
