import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from peitho.core.builds.output import BuildOutput
from peitho.core.container import OutputOptions
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT

FOLLOWED = OutputOptions(follow=True)


async def read(output: BuildOutput, options: OutputOptions = FOLLOWED) -> bytes:
    """All that a reader is given."""
    return b"".join([data async for _, data in output.read(options)])


@pytest.fixture
def output(tmp_path: Path) -> Iterator[BuildOutput]:
    """The output of a build that has said nothing yet."""
    made = BuildOutput.create(tmp_path / "output", limit_bytes=1_000_000)
    yield made
    made.close()


def say(output: BuildOutput, text: str) -> None:
    """Say something on stdout."""
    output.write(streams.frame(STDOUT, text.encode()))


async def test_every_reader_is_told_all_at_its_own_pace(output: BuildOutput) -> None:
    """
    One who is there from the start, one who comes half way, and one after the end.
    """
    async with asyncio.TaskGroup() as group:
        first = group.create_task(read(output))
        await asyncio.sleep(0)
        say(output, "one ")
        second = group.create_task(read(output))
        await asyncio.sleep(0)
        say(output, "two ")
        output.close()
    third = await read(output)

    assert (b"one two ",) * 3 == (first.result(), second.result(), third)


async def test_a_slow_reader_holds_up_nobody(output: BuildOutput) -> None:
    """
    What it has not read yet waits for it.
    """
    slow = output.read(OutputOptions(follow=True))
    say(output, "a")
    assert (STDOUT, b"a") == await anext(slow)
    for _ in range(3):
        say(output, "b" * 100_000)
    output.close()

    assert 300_001 == len(await read(output))
    assert 300_000 == len(b"".join([data async for _, data in slow]))


async def test_stdout_and_stderr_stay_apart_and_in_order(output: BuildOutput) -> None:
    """
    Peitho's own words are on stderr.
    """
    say(output, "out")
    output.say("peitho: why")
    say(output, "more")
    output.close()

    assert [(STDOUT, b"out"), (STDERR, b"peitho: why\n"), (STDOUT, b"more")] == [
        message async for message in output.read(OutputOptions(follow=True))
    ]


async def test_without_logs_a_reader_is_told_what_comes(output: BuildOutput) -> None:
    """
    Not what was said before.
    """
    say(output, "before")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(read(output, OutputOptions(follow=True, tail_lines=0)))
        await asyncio.sleep(0)
        say(output, "after")
        output.close()

    assert b"after" == task.result()


async def test_without_follow_a_reader_ends_at_what_is_there(output: BuildOutput) -> None:
    """
    The build may go on.
    """
    assert b"" == await read(output, OutputOptions())
    say(output, "so far")

    assert b"so far" == await read(output, OutputOptions())
    assert not output.closed


async def test_what_comes_after_the_close_is_dropped(output: BuildOutput) -> None:
    """
    A reader has been told that this is all.
    """
    say(output, "all")
    output.close()
    say(output, "late")
    output.close()

    assert b"all" == await read(output)


async def test_a_frame_that_comes_in_parts_is_put_together(output: BuildOutput) -> None:
    """
    The helper's body is cut by the network where it likes.
    """
    wire = streams.frame(STDERR, b"warning: x") + streams.frame(STDOUT, b"done")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(read(output))
        for at in range(len(wire)):
            output.write(wire[at : at + 1])
            await asyncio.sleep(0)
        output.close()

    assert b"warning: xdone" == task.result()


async def test_our_own_words_come_through_after_half_a_frame(tmp_path: Path) -> None:
    """
    The helper may be killed while it sends: the reason is not lost in what it had begun.
    """
    output = BuildOutput.create(tmp_path / "output", limit_bytes=1_000_000)
    output.write(streams.frame(STDOUT, b"x" * 100)[:50])
    output.say("OOMKilled")
    output.close()

    said = [each async for each in output.read(OutputOptions(follow=True))]

    assert (STDERR, b"OOMKilled\n") == said[-1]
    output.close()


async def test_what_is_said_without_end_is_cut_and_that_is_said(tmp_path: Path) -> None:
    """
    A build that prints for ever does not fill the disk.
    """
    output = BuildOutput.create(tmp_path / "output", limit_bytes=1000)
    for _ in range(10):
        output.write(streams.frame(STDOUT, b"x" * 500))
    output.close()

    said = [each async for each in output.read(OutputOptions(follow=True))]

    assert 1000 == sum(len(data) for stream, data in said if stream == STDOUT)
    assert (STDERR, b"peitho: more than 1000 bytes are left out\n") == said[-1]
    output.close()


async def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    """
    An equal build says what the first one said, and no more.
    """
    first = BuildOutput.create(tmp_path / "output", limit_bytes=1_000_000)
    say(first, "compiled")
    first.close()

    again = BuildOutput.kept(tmp_path / "output")
    say(again, "more")

    assert b"compiled" == await read(again)
    again.close()


def tell(output: BuildOutput) -> None:
    """Three lines on stdout and two on stderr, cut in places, the last one without an end."""
    for stream, data in (
        (STDOUT, b"o1\no"),
        (STDOUT, b"2\n"),
        (STDERR, b"e1\n"),
        (STDOUT, b"o3\n"),
        (STDERR, b"e2"),
    ):
        output.write(streams.frame(stream, data))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (OutputOptions(), b"o1\no2\ne1\no3\ne2"),
        (OutputOptions(tail_lines=0), b""),
        (OutputOptions(tail_lines=1), b"e2"),
        (OutputOptions(tail_lines=2), b"o3\ne2"),
        (OutputOptions(tail_lines=4), b"o2\ne1\no3\ne2"),
        (OutputOptions(tail_lines=5), b"o1\no2\ne1\no3\ne2"),
        (OutputOptions(tail_lines=99), b"o1\no2\ne1\no3\ne2"),
        (OutputOptions(stderr=False), b"o1\no2\no3\n"),
        (OutputOptions(stdout=False), b"e1\ne2"),
        (OutputOptions(stderr=False, tail_lines=1), b"o3\n"),
        (OutputOptions(stdout=False, tail_lines=2), b"e1\ne2"),
        (OutputOptions(stdout=False, stderr=False), b""),
    ],
)
async def test_a_reader_is_given_the_streams_and_the_last_lines_that_it_asks_for(
    output: BuildOutput, options: OutputOptions, expected: bytes
) -> None:
    """
    However the frames were cut.
    """
    tell(output)

    assert expected == await read(output, options)


async def test_the_last_lines_are_followed_by_what_comes(output: BuildOutput) -> None:
    """
    They are the last of those that were there when the reader came.
    """
    tell(output)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(read(output, OutputOptions(follow=True, tail_lines=2)))
        await asyncio.sleep(0)
        say(output, "\nmore\nand more\n")
        output.close()

    assert b"o3\ne2\nmore\nand more\n" == task.result()
