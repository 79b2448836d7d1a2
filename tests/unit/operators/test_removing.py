import json
from pathlib import Path

from tests.support.kubernetes_double import ApiServer
from tests.support.operated import add, operate


async def test_the_trail_has_who_removed_what(tmp_path: Path) -> None:
    """
    Also what could not be removed, where the settings' file is here.
    """
    trail = tmp_path / "audit.log"
    settings = tmp_path / "peitho.yml"
    settings.write_text(json.dumps({"audit": {"file": str(trail)}}))
    async with ApiServer.start() as cluster:
        add(cluster, "over", "a" * 64)
        shown = await operate(cluster, tmp_path, "rm", "over", "--yes", "-c", str(settings))

    assert 0 == shown.exit_code, shown.stderr
    (line,) = map(json.loads, trail.read_text().splitlines())
    assert ("container removed", "done", "over", "a" * 64) == tuple(
        line[key] for key in ("event", "outcome", "container", "id")
    )
    assert line["address"].startswith("operator ")


async def test_a_damaged_record_can_be_removed(tmp_path: Path) -> None:
    """
    By the name of its Secret, as `ps` has it.
    """
    async with ApiServer.start() as cluster:
        damaged = add(cluster, "bad", "b" * 64)
        del damaged["metadata"]["annotations"]
        name = damaged["metadata"]["name"]
        shown = await operate(cluster, tmp_path, "rm", name, "--yes")

        assert (0, f"{name}: removed\n") == (shown.exit_code, shown.stdout), shown.stderr
        assert {} == cluster.objects
