import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from peitho.clients.disk.build_cache import BuildCache, read_entry
from peitho.clients.disk.storage import Storage
from peitho.core.builds.build import Build
from peitho.core.builds.container import BuildContainer
from peitho.core.builds.pool import BuildPool, BuildPoolOptions
from peitho.core.builds.queue import FairQueue
from peitho.core.container import OutputOptions
from peitho.core.images.store import BuildResults
from peitho.core.tasks import BackgroundTasks
from peitho.errors import NotFound, PeithoError
from peitho.formats.docker.streams import STDERR
from peitho.formats.kubernetes import record_secrets
from peitho.settings.live import Live
from tests.support.build_pool import SAID, SPEC, outcome, result, said, scene
from tests.support.contexts import package
from tests.support.kubernetes_double import always, refusal
from tests.support.observe import until

CACHED = (STDERR, b" ---> Using cache\n")


def spooled(tmp_path: Path) -> list[str]:
    """What builds have on the disk."""
    return sorted(path.name for path in (tmp_path / "data/spool").iterdir())


class TestEqualBuildsAtOnce:
    async def test_they_are_carried_out_once(self, tmp_path: Path) -> None:
        """
        Both peers are told all of it, and the second where it comes from.
        """
        async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
            first, second = await it.started(peer="a"), await it.started(peer="b")
            reader = group.create_task(said(second))
            await it.finish(first)

            assert [0, 0] == [(await each.wait()).exit_code for each in (first, second)]
            assert SAID == await said(first)
            note = f"peitho: this build is under way for another peer, as {first.id[:12]}\n"
            assert [(STDERR, note.encode()), *SAID] == await reader
            assert package() == await result(first) == await result(second)
            assert 1 == it.pods
            assert first.summary().kubernetes_name == second.summary().kubernetes_name
            await first.remove()
            assert package() == await result(second)
            await second.remove()
            assert [] == spooled(tmp_path)

    @pytest.mark.parametrize("gone", [0, 1], ids=["the first", "the second"])
    @pytest.mark.parametrize("how", [BuildContainer.remove, BuildContainer.stop])
    async def test_it_goes_on_when_one_peer_leaves(
        self, tmp_path: Path, gone: int, how: Any
    ) -> None:
        """
        Whichever it is: its container has ended as if it were killed.
        """
        async with scene(tmp_path) as it:
            builds = [await it.started(), await it.started()]
            await it.cluster.until_asked("POST", "pods")
            leaving, staying = builds[gone], builds[1 - gone]

            await how(leaving)

            assert 137 == (await leaving.wait()).exit_code
            assert 2 == len(it.cluster.objects)
            await it.finish(builds[0])
            assert 0 == (await staying.wait()).exit_code
            assert package() == await result(staying)
            assert 1 == it.pods

    async def test_it_ends_when_all_have_left(self, tmp_path: Path) -> None:
        """
        Its Pod is gone once the last call has returned, and so are its files.
        """
        async with scene(tmp_path) as it:
            first, second = await it.started(), await it.started()
            await it.cluster.until_asked("POST", "pods")

            assert await first.stop()
            assert not await first.stop()
            assert 2 == len(it.cluster.objects)
            await second.remove()

            assert {} == it.cluster.objects
            await first.remove()
            with pytest.raises(NotFound):
                it.runs.get(first.id)
            assert [] == spooled(tmp_path)

    async def test_a_refusal_is_told_to_all(self, tmp_path: Path) -> None:
        """
        In the cluster's words, and once: peers show what a failed start says, and all output too.

        The next equal build tries anew.
        """
        async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
            over = always(lambda: refusal(403, "Forbidden", "exceeded quota: q"))
            it.cluster.script("POST", "pods", over)
            first, second = await it.create(), await it.create()
            told = [group.create_task(outcome(each.start())) for each in (first, second)]

            why = "the build's Pod was refused: exceeded quota: q"
            assert [why, why] == [await each for each in told]
            assert [] == await said(first)
            assert 0 == (await (await it.done()).wait()).exit_code

    async def test_another_source_is_another_build(self, tmp_path: Path) -> None:
        """
        It has a Pod of its own.
        """
        async with scene(tmp_path) as it:
            await it.started(b"package main")
            await it.started(b"package other")
            await it.cluster.until_asked("POST", "pods", times=2)

            assert 4 == len(it.cluster.objects)


class TestEqualBuildsLater:
    async def test_they_are_answered_from_the_cache(self, tmp_path: Path) -> None:
        """
        With the same log and result, and without any Pod; also when the first is long gone.
        """
        async with scene(tmp_path) as it:
            await (await it.done()).remove()
            build = await it.create()

            assert await build.start()
            assert (0, "exited") == ((await build.wait()).exit_code, build.summary().state.status)
            assert [CACHED, *SAID] == await said(build)
            assert package() == await result(build)
            assert 1 == it.pods
            await build.remove()
            assert [] == spooled(tmp_path)

    @pytest.mark.parametrize("needs_origin", [False, True])
    async def test_one_that_does_not_tell_of_itself_is_carried_out_anew_for_a_signature(
        self, tmp_path: Path, *, needs_origin: bool
    ) -> None:
        """
        Once: an earlier Peitho kept it, and its image could never be signed.
        """
        async with scene(tmp_path) as it:
            await (await it.done()).remove()
            cache = BuildCache(tmp_path / "data/builds")
            (entry,) = cache.entries()
            directory = tmp_path / "data/builds" / entry.key
            kept = read_entry(directory)
            assert kept is not None
            cache.keep(entry.key, replace(kept, origin={}), directory)
            options = it.runs._options  # noqa: SLF001
            it.runs._options = Live(replace(options.now, needs_origin=needs_origin))  # noqa: SLF001
            build = await it.create()
            if needs_origin:
                await it.begin(build)
                await until(lambda: it.pods == 2)
                await it.finish(build)
            else:
                assert await build.start()
                assert [CACHED, *SAID] == await said(build)
            assert (2 if needs_origin else 1) == it.pods

    @pytest.mark.parametrize("name", ["log", "result", "about.json"])
    @pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
    async def test_a_damaged_one_is_made_anew(self, tmp_path: Path, name: str, damage: str) -> None:
        """
        And never given to a peer; what was made is kept in its place.
        """
        async with scene(tmp_path) as it:
            await (await it.done()).remove()
            (entry,) = (path.parent for path in (tmp_path / "data/builds").glob("*/log"))
            content = (entry / name).read_bytes()
            (entry / name).unlink()
            if damage != "gone":
                place = content[:-1] if damage == "cut" else b"x" + content[1:]
                (entry / name).write_bytes(place)

            build = await it.create()
            async with asyncio.TaskGroup() as group:
                group.create_task(build.start())
                await it.cluster.until_asked("POST", "pods", times=2)
                await it.finish(build)

            assert SAID == await said(build)
            assert package() == await result(build)
            (aside,) = (tmp_path / "data/damaged").iterdir()
            assert aside.name.endswith(f"-build-{entry.name}")
            later = await it.create()
            assert await later.start()
            assert [CACHED, *SAID] == await said(later)
            assert 2 == it.pods

    async def test_a_result_that_rots_after_its_build_is_never_handed_over(
        self, tmp_path: Path
    ) -> None:
        """
        The peer is told; its next build is carried out anew.
        """
        async with scene(tmp_path) as it:
            build = await it.done()
            (path,) = (tmp_path / "data/spool").glob("run-*/result")
            path.write_bytes(b"rotten")

            for _ in range(2):
                with pytest.raises(PeithoError, match="output was damaged on the disk"):
                    await result(build)

            again = await it.started()
            await it.cluster.until_asked("POST", "pods", times=2)
            await it.finish(again)
            assert package() == await result(again)
            assert 2 == it.pods

    async def test_equal_builds_that_find_a_damaged_one_are_one(self, tmp_path: Path) -> None:
        """
        While the first reads what is kept, the second comes.
        """
        async with scene(tmp_path) as it:
            await (await it.done()).remove()
            (path,) = (tmp_path / "data/builds").glob("*/result")
            path.write_bytes(b"rotten")
            first, second = await it.create(), await it.create()

            async with asyncio.TaskGroup() as group:
                for each in (first, second):
                    group.create_task(each.start())
                await it.cluster.until_asked("POST", "pods", times=2)
                await it.finish(it.first_of(first, second))

            assert package() == await result(first) == await result(second)
            assert 2 == it.pods

    async def test_a_build_that_is_removed_while_a_kept_one_is_read_leaves_nothing(
        self, tmp_path: Path
    ) -> None:
        """
        Nor is a second start taken for another build.
        """
        async with scene(tmp_path) as it:
            await (await it.done()).remove()
            build = await it.create()
            await it.begin(build)
            assert not await build.start()
            await build.remove()
            await asyncio.sleep(0.1)

            assert [] == spooled(tmp_path)
            assert 1 == it.pods

    async def test_a_restart_keeps_them(self, tmp_path: Path) -> None:
        """
        And the architecture for which they were built.
        """
        async with scene(tmp_path) as it:
            await it.done()
        async with scene(tmp_path) as it:
            build = await it.create()
            await build.start()

            assert [CACHED, *SAID] == await said(build)
            assert package() == await result(build)
            assert 0 == it.pods

    async def test_the_probe_is_told_the_compilers_words_alone(self, tmp_path: Path) -> None:
        """
        The peer reads its answer, so there is no line of ours.
        """
        async with scene(tmp_path) as it:
            await it.done(source=None)
            build = await it.create(source=None)
            await build.start()

            assert SAID == await said(build)
            assert 1 == it.pods

    async def test_a_command_of_a_users_is_run_each_time(self, tmp_path: Path) -> None:
        """
        What `docker run` says may be other by then, and nothing of it is kept.
        """
        async with scene(tmp_path) as it:
            for _ in range(2):
                build = it.builds.create(SPEC, peer="a")
                it.made.append(build)
                await it.begin(build)
                await it.finish(build)
                assert SAID == await said(build)
                await build.remove()

            assert 2 == it.pods
            assert [] == list((tmp_path / "data/builds").rglob("*.json"))

    async def test_a_failed_build_is_done_anew(self, tmp_path: Path) -> None:
        """
        It is not kept, nor joined while its Pod is still there.
        """
        async with scene(tmp_path) as it:
            first = await it.started()
            await it.finish(first, code=1)
            assert 1 == (await first.wait()).exit_code
            second = await it.started()
            await it.finish(second)
            await first.remove()

            assert 0 == (await second.wait()).exit_code
            assert SAID == await said(second)
            assert 2 == it.pods
            assert {} == it.cluster.objects

    async def test_without_the_cache_each_build_is_carried_out(self, tmp_path: Path) -> None:
        """
        Also two at once, and nothing is kept.
        """
        async with scene(tmp_path, cache={"enable": False}) as it:
            first, second = await it.started(), await it.started()
            await it.cluster.until_asked("POST", "pods", times=2)
            await it.finish(first)
            await it.finish(second)
            third = await it.done()

            assert [SAID] * 3 == [await said(each) for each in (first, second, third)]
            assert 3 == it.pods

        assert [] == list((tmp_path / "data/builds").rglob("log"))

    async def test_a_build_that_cannot_be_kept_is_no_failure(self, tmp_path: Path) -> None:
        """
        It is said in the log.
        """
        async with scene(tmp_path) as it:
            (tmp_path / "data/builds/.aside").rmdir()
            with structlog.testing.capture_logs() as logs:
                build = await it.done()

            assert "build not kept" in [each["event"] for each in logs]
            assert package() == await result(build)


class TestTurns:
    async def test_a_build_that_waits_says_so(self, tmp_path: Path) -> None:
        """
        Its Pod is created when another's is gone.
        """
        async with scene(tmp_path, maxParallel=1) as it:
            first, second = await it.started(b"1"), await it.started(b"2", peer="b")
            reader = second.output(OutputOptions(follow=True))
            stream, line = await anext(reader)
            assert STDERR == stream
            assert line.startswith(
                b"peitho: as many builds are running as builder.maxParallel allows, 1; "
            )
            assert "created" == second.summary().state.status

            await it.finish(first)
            await it.cluster.until_asked("POST", "pods", times=2)
            await it.finish(second)
            assert SAID == [each async for each in reader]

    async def test_a_build_removed_while_it_waits_is_never_made(self, tmp_path: Path) -> None:
        """
        The turn is the next one's.
        """
        async with scene(tmp_path, maxParallel=1) as it:
            first, second, third = [await it.started(source) for source in (b"1", b"2", b"3")]
            await second.remove()
            await it.finish(first)
            await it.finish(third)

            assert 0 == (await third.wait()).exit_code
            assert 2 == it.pods


class TestLeaving:
    async def test_a_build_removed_right_after_its_start_is_not_made(self, tmp_path: Path) -> None:
        """
        Its run ends before its first step, and whoever started it is told.
        """
        async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
            build = await it.create()
            start = group.create_task(outcome(build.start()))
            await asyncio.sleep(0)
            await build.remove()

            assert "the build was ended before its command ran" == await start
            assert 137 == (await build.wait()).exit_code
            assert 0 == it.cluster.count("POST", "secrets")
            assert [] == spooled(tmp_path)

    async def test_a_peer_that_hangs_up_at_the_start_wants_no_build(self, tmp_path: Path) -> None:
        """
        Unless it waits for it after all, the Pod is gone a moment later.
        """
        async with scene(tmp_path, abandonedAfterSeconds=0.01) as it, asyncio.TaskGroup() as group:
            start = group.create_task((await it.create()).start())
            await it.cluster.until_asked("POST", "pods")
            start.cancel()
            await it.cluster.until_asked("DELETE", f"secrets/{next(iter(it.cluster.objects))[8:]}")

    async def test_what_runs_is_no_leftover(self, tmp_path: Path) -> None:
        """
        What an earlier Peitho left is removed beside it.
        """
        async with scene(tmp_path) as it:
            await it.started()
            await it.cluster.until_asked("POST", "pods")
            left = record_secrets.build_secret(
                instance="peitho", owner="", container_id="0" * 64, spec=SPEC, token="", created=""
            )
            it.cluster.objects["secrets/build-000000000000"] = left

            await it.runs.clear_leftovers()

            assert 2 == len(it.cluster.objects)
            assert "secrets/build-000000000000" not in it.cluster.objects


async def test_a_fault_of_ours_is_told_and_logged(tmp_path: Path) -> None:
    """
    The peer does not wait for ever.
    """

    class Broken:
        async def carry_out(self, run: Build) -> None:
            raise ValueError(f"broken {len(run.uploads)}")

        async def clear_leftovers(self, known: object) -> None:
            """There are none."""

    async with asyncio.TaskGroup() as group:
        pool = BuildPool(
            Live(Broken()),
            cache=None,
            queue=FairQueue(Live(1)),
            storage=Storage.open(tmp_path),
            results=BuildResults(),
            options=Live(BuildPoolOptions(output_bytes=1000, result_bytes=1000)),
            tasks=BackgroundTasks(group),
        )
        with structlog.testing.capture_logs() as logs:
            run, _ = await pool.join("a" * 64, SPEC, [], peer="a")
            with pytest.raises(PeithoError) as why:
                await run.until_started()
            await asyncio.sleep(0)
        pool.close()

    assert "Peitho failed, see its log: ValueError: broken 0" == str(why.value)
    assert "background task failed" in [each["event"] for each in logs]
