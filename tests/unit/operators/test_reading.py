from pathlib import Path

from aiohttp import web

from peitho.formats.records import Exit
from tests.support.kubernetes_double import ApiServer
from tests.support.operated import AT, PULLING, RUNNING, add, operate


async def test_the_log_is_the_pods(tmp_path: Path) -> None:
    """
    As it is, with what was asked for.
    """

    async def log(request: web.Request) -> web.StreamResponse:
        return web.Response(body=f"said {request.query.get('tailLines', 'all')}\n".encode())

    async with ApiServer.start() as cluster:
        secret = add(cluster, "runs", "a" * 64, state=RUNNING)["metadata"]["name"]
        cluster.rule("GET", f"pods/{secret}-aaaaaaaa-abcde/log", log)
        everything = await operate(cluster, tmp_path, "logs", "runs")
        last = await operate(cluster, tmp_path, "logs", "aaaa", "--tail", "5")

    assert (0, "said all\n") == (everything.exit_code, everything.stdout), everything.stderr
    assert "said 5\n" == last.stdout


async def test_of_what_is_over_the_last_lines_are_kept(tmp_path: Path) -> None:
    """
    As many of them as are asked for.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "over", "a" * 64, end=Exit(1, "", AT, "one\ntwo\nthree"))
        everything = await operate(cluster, tmp_path, "logs", "over")
        last = await operate(cluster, tmp_path, "logs", "over", "--tail=2")
        none = await operate(cluster, tmp_path, "logs", "over", "--tail=0")

    assert "one\ntwo\nthree\n" == everything.stdout
    assert "two\nthree\n" == last.stdout
    assert "" == none.stdout


async def test_what_does_not_start_has_said_nothing_yet(tmp_path: Path) -> None:
    """
    What keeps it back is told instead.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "pulls", "a" * 64, state=PULLING)
        shown = await operate(cluster, tmp_path, "logs", "pulls")

    said = "pulls has said nothing yet: ErrImagePull: i: not found\n"
    assert (2, said) == (shown.exit_code, shown.stderr)


async def test_what_was_never_started_has_said_nothing(tmp_path: Path) -> None:
    """
    Which is told; nor has a damaged record a log.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "new", "a" * 64)
        damaged = add(cluster, "bad", "b" * 64)
        del damaged["metadata"]["annotations"]
        new = await operate(cluster, tmp_path, "logs", "new")
        bad = await operate(cluster, tmp_path, "logs", damaged["metadata"]["name"])

    assert (2, "new has said nothing: it was never started\n") == (new.exit_code, new.stderr)
    assert 2 == bad.exit_code
    assert "is damaged: " in bad.stderr
