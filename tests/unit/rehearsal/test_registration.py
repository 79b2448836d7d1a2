import asyncio

from peitho.rehearsal.registration import Registrations


async def test_chaincode_is_known_by_its_id() -> None:
    """
    Whoever says anything else is hung up on, and another's is left alone.
    """
    async with Registrations.listen("127.0.0.1", 0) as registrations:
        others = []
        for words in (b"GET / HTTP/1.1\r\n", b"register other:1 files=true\n"):
            _, other = await asyncio.open_connection("127.0.0.1", registrations.port)
            other.write(words)
            others.append(other)
        reader, writer = await asyncio.open_connection("127.0.0.1", registrations.port)
        writer.write(b"register mine:1 files=false\n")

        registered = await registrations.next("mine:1")
        answered = asyncio.create_task(registered.call(3))  # noqa: TID251  a test's own
        assert b"call 3\n" == await reader.readline()
        writer.write(b"answer 3\n")

        assert await answered
        assert not registered.has_files
        for each in (writer, *others):
            each.close()
            await each.wait_closed()
