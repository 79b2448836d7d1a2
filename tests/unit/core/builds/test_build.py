"""Ends of builds that meet: of peers that leave, of full disks, of both containers, of limits."""

import asyncio
from pathlib import Path

import pytest

from peitho.core.builds.build import Build
from peitho.core.builds.output import BuildOutput
from peitho.core.container import State
from peitho.errors import InvalidArgument
from peitho.formats.kubernetes.build_pod import HELPER
from peitho.formats.records import BUILD, Exit
from peitho.settings.models import LimitSettings, Settings
from tests.support import typed
from tests.support.build_pods import done, told
from tests.support.build_pods import scene as pod_scene
from tests.support.build_pool import SAID, SPEC, Scene, outcome, result, said, scene
from tests.support.contexts import chunks, package
from tests.support.counted import Counted
from tests.support.in_process import composed
from tests.support.kubernetes_double import after, always, answer, refusal


async def test_a_run_that_is_being_ended_is_not_joined(tmp_path: Path) -> None:
    """
    The last peer has left and the Pod is being deleted: an equal build begins anew.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        first = await it.started()
        await it.cluster.until_asked("POST", "pods")
        it.runs.get(first.id).mark_started()
        word = asyncio.Event()
        name = f"pods/{first.summary().kubernetes_name}"
        it.cluster.script("DELETE", name, after(word, always(lambda: answer({}))))
        removal = group.create_task(first.remove())
        await it.cluster.until_asked("DELETE", name)

        second = await it.create()
        await it.begin(second)
        word.set()
        await removal
        it.cluster.objects.pop(name)
        await asyncio.sleep(0.05)

        assert "exited" != second.summary().state.status  # today: exited, 137, "stopped"


async def test_a_refused_secret_is_told_in_the_clusters_words(tmp_path: Path) -> None:
    """
    KubernetesError takes more than a message: `type(failure)(str(failure))` is a TypeError.
    """
    async with scene(tmp_path) as it:
        it.cluster.script(
            "POST", "secrets", always(lambda: refusal(403, "Forbidden", "exceeded quota: secrets"))
        )
        assert "exceeded quota: secrets" in await outcome((await it.create()).start())


async def test_a_full_disk_does_not_keep_a_run_from_ending(tmp_path: Path) -> None:
    """
    Its last line cannot be written; its peers are told of the end all the same.
    """
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "log").symlink_to("/dev/full")
    output = BuildOutput.create(directory / "log", limit_bytes=1000)
    run = Build("a" * 64, SPEC, directory=directory, output=output)
    ended: list[State] = []
    run.add_container("a", ended.append)
    run.end(Exit(137, "OOMKilled"))  # today: StorageFull, and `state` stays None for ever

    assert [137] == [state.exit_code for state in ended]


async def test_whoever_reads_a_removed_build_is_not_kept_by_the_others(tmp_path: Path) -> None:
    """
    Its container is gone; the run goes on for another peer, and nobody reads it for this one.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        first, second = await it.started(), await it.started()
        reader = group.create_task(said(second))
        await asyncio.sleep(0.01)
        await second.remove()
        async with asyncio.timeout(0.2):
            await asyncio.wait([reader])  # today: until `first` ends
        await it.finish(first)


async def test_the_probe_that_waits_is_told_the_compilers_words_alone(tmp_path: Path) -> None:
    """
    There is no line of ours in its answer, as there is none when it comes from the cache.
    """
    async with scene(tmp_path, maxParallel=1) as it:
        first, probe = await it.started(b"1"), await it.started(None)
        await it.finish(first)
        await it.cluster.until_asked("POST", "pods", times=2)
        await it.finish(probe)
        assert SAID == await said(probe)


async def test_what_is_kept_does_not_say_that_it_waits(tmp_path: Path) -> None:
    """
    It waited for its turn; whoever gets its log from the cache does not.
    """
    async with scene(tmp_path, maxParallel=1) as it:
        first, second = await it.started(b"1"), await it.started(b"2")
        await it.finish(first)
        await it.cluster.until_asked("POST", "pods", times=2)
        await it.finish(second)
        again = await it.create(b"2")
        await again.start()
        assert not any(b"waits for its turn" in line for _, line in await said(again))


@pytest.mark.parametrize(
    ("end", "has_run", "expected"),
    [
        (Exit(0), True, "done"),
        (Exit(2), True, "failed"),
        (Exit(137, "OOMKilled"), True, "failed"),
        (Exit(137), True, "failed"),
        (Exit(137, "DeadlineExceeded: it took more than 5 s"), True, "too late"),
        (Exit(137, "stopped"), True, "ended"),
        (Exit(137, "node lost"), True, "ended"),
        (Exit(125, "ErrImagePull"), False, "not started"),
    ],
)
def test_ends_are_counted_by_outcome(
    tmp_path: Path, end: Exit, expected: str, *, has_run: bool
) -> None:
    """
    Once each, and by the phase in which they came.
    """
    builds = Counted("peitho_builds_total", "outcome")
    phases = Counted("peitho_build_phase_duration_seconds_count", "phase")
    output = BuildOutput.create(tmp_path / "log", limit_bytes=1000)
    run = Build("a" * 64, SPEC, directory=tmp_path, output=output)
    run.take_turn()
    if has_run:
        run.mark_started()
    run.end(end)
    run.end(Exit(0))

    assert {expected: 1} == builds.grown
    assert {"waiting": 1, "starting": 1} | ({"running": 1} if has_run else {}) == phases.grown


async def test_a_good_build_has_four_phases(tmp_path: Path) -> None:
    """
    Each once.
    """
    phases = Counted("peitho_build_phase_duration_seconds_count", "phase")
    output = BuildOutput.create(tmp_path / "log", limit_bytes=1000)
    run = Build("a" * 64, SPEC, directory=tmp_path, output=output, result_bytes=1_000_000)
    run.take_turn()
    run.mark_started()
    run.end(Exit(0))
    assert "fetching" == run.phase
    await run.save_result(chunks(package()), "amd64")

    assert "over" == run.phase
    assert {"waiting": 1, "starting": 1, "running": 1, "fetching": 1} == phases.grown


async def test_a_build_that_was_kept_has_no_phases(tmp_path: Path) -> None:
    """
    It is answered with, and not carried out.
    """
    async with scene(tmp_path) as it:
        await it.done()
        phases = Counted("peitho_build_phase_duration_seconds_count", "phase")
        await (await it.create()).start()

    assert {} == phases.grown


def open_files(directory: Path) -> list[Path]:
    """The files below a directory that this process has open."""
    links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    targets = [each.readlink() for each in links]
    return [target for target in targets if target.is_relative_to(directory)]


async def test_a_build_that_is_over_has_no_file_open(tmp_path: Path) -> None:
    """
    However many there are whose containers have not been removed.
    """
    async with scene(tmp_path) as it:
        builds = [await it.done(b"%d" % number) for number in range(5)]
        assert [] == open_files(tmp_path)
        assert all([await said(build) for build in builds])


async def test_a_second_removal_does_not_return_before_the_pod_is_gone(tmp_path: Path) -> None:
    """
    Stop, and remove while the stop is under way: the second cancel leaves the shielded delete.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        build = await it.started()
        await it.cluster.until_asked("POST", "pods")
        word = asyncio.Event()
        name = f"pods/{build.summary().kubernetes_name}"

        it.cluster.script("DELETE", name, after(word, always(lambda: answer({}))))
        stop = group.create_task(build.stop())
        await it.cluster.until_asked("DELETE", name)
        removal = group.create_task(build.remove())
        await asyncio.sleep(0.05)
        over = removal.done()
        word.set()
        await stop
        await removal
        it.cluster.objects.pop(name, None)
        await asyncio.sleep(0.05)
        assert not over


def test_a_command_that_failed_is_nothing_that_keeps_the_helper_from_starting() -> None:
    """
    `_failed_init` takes any other container for an init one.
    """
    states = {BUILD: done(1), HELPER: {"waiting": {"reason": "ContainerCreating"}}}
    statuses = [{"name": name, "image": "i", "state": state} for name, state in states.items()]
    assert typed.pod({"status": {"containerStatuses": statuses}}).start_obstacle(HELPER) is None


async def test_a_build_that_ran_is_not_a_failed_start(tmp_path: Path) -> None:
    """
    The helper has told its exit code; the Pod's status with both ends is seen at the same time.
    """
    async with pod_scene(tmp_path, told(done(1), done(0))) as it:
        it.run.mark_started()
        it.run.set_exit_code(1)
        assert (1, "") == await it.carry_out()


async def test_a_builder_image_that_is_pinned_anew_is_another_build(tmp_path: Path) -> None:
    """
    It counts by the name under which it is pulled, not by the peer's.
    """
    keys = set()
    for digit in "ab":
        images = {"rewrite": {SPEC.image: f"{SPEC.image}@sha256:{digit * 64}"}}
        settings = Settings.model_validate({"data_dir": tmp_path / digit, "images": images})
        async with composed(tmp_path, settings) as (parts, cluster):
            it = Scene(parts, cluster)
            await it.finish(await it.started())
            await asyncio.sleep(0.05)
            keys |= {each.name for each in (tmp_path / digit / "builds").iterdir()} - {".aside"}
            for build in it.made:
                await build.remove()

    assert 2 == len(keys)


async def test_limits_that_change_meanwhile_are_those_of_later_builds(tmp_path: Path) -> None:
    """
    One that is under way may make as much as when it began.
    """
    async with scene(tmp_path) as it:
        build = await it.started()
        later = await it.create(b"package other")
        it.follow(limits=LimitSettings(output_bytes=1, archive_bytes=1))
        await it.finish(build)
        assert (package(), SAID) == (await result(build), await said(build))

        await it.begin(later)
        with pytest.raises(InvalidArgument, match="the body is larger than 1 bytes"):
            await it.finish(later)
        await later.remove()  # before it has ended: else it would wait for its result
