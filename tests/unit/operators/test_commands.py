import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from peitho import cli
from tests.support.kubernetes_double import ApiServer, always, refusal
from tests.support.operated import ENDED, RUNNING, add, operate, run

CLUSTER = ("ps", "events")


async def test_nothing_is_said_so(tmp_path: Path) -> None:
    """
    In words for people, as an empty list for programs.
    """
    async with ApiServer.start() as cluster:
        for command in CLUSTER:
            for output, said in (("table", "no "), ("json", "[]\n"), ("yaml", "[]\n")):
                shown = await operate(cluster, tmp_path, command, "-o", output)
                assert 0 == shown.exit_code, shown.output
                assert shown.stdout.startswith(said)


@pytest.mark.parametrize("words", [("ps",), ("events",), ("rm", "x", "--yes"), ("logs", "x")])
async def test_a_right_that_is_missing_is_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    """
    In the API server's words, with what an operator needs; exit status 2.
    """
    said = 'secrets is forbidden: User "me" cannot list resource "secrets" in namespace "ns"'
    async with ApiServer.start() as cluster:
        cluster.rule("GET", "secrets", always(lambda: refusal(403, "Forbidden", said)))
        shown = await operate(cluster, tmp_path, *words)

    assert 2 == shown.exit_code
    assert shown.stderr.startswith(said)
    assert "an operator needs get, list, watch on secrets, pods and jobs" in shown.stderr


def test_without_a_cluster_it_is_told_how_to_name_one(tmp_path: Path) -> None:
    """
    The file that is named is not there, or has no such context; exit status 2.
    """
    missing = run("ps", KUBECONFIG=str(tmp_path / "none"))
    kubeconfig = ApiServer().kubeconfig(tmp_path)
    other = run("ps", "--kubeconfig", str(kubeconfig), "--context", "other")

    assert (2, 2) == (missing.exit_code, other.exit_code)
    assert f"{tmp_path}/none" in missing.stderr
    assert "No Kubernetes: Context 'other' not found" in other.stderr


async def test_the_first_kubeconfig_that_is_there_counts(tmp_path: Path) -> None:
    """
    As kubectl reads KUBECONFIG; a flag comes before it.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "runs", "a" * 64, state=RUNNING)
        paths = f"{tmp_path}/none:{cluster.kubeconfig(tmp_path)}"
        shown = await asyncio.to_thread(run, "ps", "-o", "name", KUBECONFIG=paths)

    assert (0, "runs\n") == (shown.exit_code, shown.stdout)


class TestRm:
    async def test_it_asks_before_it_removes(self, tmp_path: Path) -> None:
        """
        No is no, and so is nobody there; a terminal is told what it is about.
        """
        async with ApiServer.start() as cluster:
            add(cluster, "over", "a" * 64, state=ENDED)
            before = dict(cluster.objects)
            for answer in ("n\n", ""):
                shown = await operate(cluster, tmp_path, "rm", "over", answer=answer)
                assert 1 == shown.exit_code
                assert "over (exited)\nRemove this from namespace ns?" in shown.stderr
                assert shown.stderr.endswith("nothing was removed\n")
            assert before == cluster.objects

    @pytest.mark.parametrize("words", [("--yes",), ("-y",), ()])
    async def test_nothing_is_left_behind(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        """
        Neither record nor Job nor Pod; what is another's stays.
        """
        async with ApiServer.start() as cluster:
            add(cluster, "over", "a" * 64)
            add(cluster, "runs", "c" * 64, state=RUNNING)
            add(cluster, "other", "b" * 64, state=RUNNING)
            others = {path for path in cluster.objects if "other" in path}
            shown = await operate(cluster, tmp_path, "rm", "over", "runs", *words, answer="y\n")

        said = "over: removed\nruns: removed\n"
        assert (0, said) == (shown.exit_code, shown.stdout), shown.stderr
        assert others == cluster.objects.keys()

    async def test_an_empty_name_is_nobodys(self, tmp_path: Path) -> None:
        """
        A script whose variable is not set removes nothing, also where there is only one.
        """
        async with ApiServer.start() as cluster:
            add(cluster, "alone", "a" * 64)
            shown = await operate(cluster, tmp_path, "rm", "", "--yes")
            kept = list(cluster.objects)

        assert 2 == shown.exit_code
        assert shown.stderr.startswith("No chaincode '' in namespace ns")
        assert 1 == len(kept)

    async def test_what_stays_is_told(self, tmp_path: Path) -> None:
        """
        With the cause, and exit status 1; the others go.
        """
        said = 'secrets "x" is forbidden: User "me" cannot delete resource "secrets"'
        async with ApiServer.start() as cluster:
            add(cluster, "a", "a" * 64)
            stays = add(cluster, "b", "b" * 64)["metadata"]["name"]
            cluster.rule(
                "DELETE", f"secrets/{stays}", always(lambda: refusal(403, "Forbidden", said))
            )
            shown = await operate(cluster, tmp_path, "rm", "a", "b", "--yes")

        assert 1 == shown.exit_code
        assert "a: removed\n" == shown.stdout
        assert shown.stderr.startswith(f"b: not removed: {said}")

    async def test_all_are_found_before_one_is_removed(self, tmp_path: Path) -> None:
        """
        A slip in the second name removes nothing.
        """
        async with ApiServer.start() as cluster:
            add(cluster, "a", "a" * 64)
            shown = await operate(cluster, tmp_path, "rm", "a", "b", "--yes")
            kept = list(cluster.objects)

        assert 2 == shown.exit_code
        assert 1 == len(kept)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell: str) -> None:
    """
    Its script asks peitho itself.
    """
    shown = run("completion", shell)

    assert 0 == shown.exit_code
    assert f"_PEITHO_COMPLETE={shell}_complete" in shown.stdout


def test_completion_knows_the_commands() -> None:
    """
    As the shell asks for them.
    """
    asked = {"_PEITHO_COMPLETE": "bash_complete", "COMP_WORDS": "peitho i", "COMP_CWORD": "1"}
    shown = run_program(asked)

    assert ["plain,images"] == shown.splitlines()


async def test_completion_knows_the_names_of_chaincode(tmp_path: Path) -> None:
    """
    Of the cluster that the flags before name; without one there are none.
    """
    async with ApiServer.start() as cluster:
        for name, digit in (("dev-a", "a"), ("dev-b", "b"), ("other", "c")):
            add(cluster, name, digit * 64)
        kubeconfig = cluster.kubeconfig(tmp_path)
        words = f"peitho logs --kubeconfig {kubeconfig} dev"
        asked = {"_PEITHO_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
        shown = await asyncio.to_thread(run_program, asked)
        elsewhere = asked | {"COMP_WORDS": "peitho logs --kubeconfig /none dev"}
        nothing = await asyncio.to_thread(run_program, elsewhere)

    assert ["plain,dev-a", "plain,dev-b"] == shown.splitlines()
    assert "" == nothing.strip()


def run_program(variables: dict[str, str]) -> str:
    """What `peitho` prints in an environment, as the shell runs it."""
    return CliRunner().invoke(cli.main, prog_name="peitho", env=variables).output


def test_the_plugin_of_kubectl_has_the_commands_of_operators_alone() -> None:
    """
    What serves has no place on a laptop.
    """
    assert {
        "ps",
        "logs",
        "images",
        "builds",
        "events",
        "provenance",
        "rm",
    } == cli.kubectl_plugin.commands.keys()
    assert set(cli.main.commands) > cli.kubectl_plugin.commands.keys()


async def test_an_instance_and_settings_of_the_file_count(tmp_path: Path) -> None:
    """
    As for all of Peitho; a flag comes before them.
    """
    file = tmp_path / "peitho.yml"
    file.write_text("peitho: {instance: mine}\n")
    async with ApiServer.start() as cluster:
        add(cluster, "ours", "a" * 64, instance="mine")
        add(cluster, "theirs", "b" * 64, instance="other")
        ours = await operate(cluster, tmp_path, "ps", "-c", str(file), "-o", "json")
        theirs = await operate(
            cluster, tmp_path, "ps", "-c", str(file), "--instance", "other", "-o", "json"
        )

    assert ["ours"] == [row["name"] for row in json.loads(ours.stdout)]
    assert ["theirs"] == [row["name"] for row in json.loads(theirs.stdout)]


async def test_a_tenants_chaincode_is_shown_by_its_name(tmp_path: Path) -> None:
    """
    On a laptop without settings, and with those that name its namespace; a slip is told.
    """
    file = tmp_path / "peitho.yml"
    match = {
        "match": [{"cn": "peer0"}],
        "msp-ids": ["Org1MSP"],
        "networks": ["dev"],
        "peers": ["peer0"],
        "namespace": "ns",
    }
    tls = {"cert-file": "/c", "key-file": "/k", "client-ca-file": "/ca"}
    tree = {"access": {"tenants": {"org1": match}}, "server": {"tls": tls}}
    file.write_text(json.dumps(tree))
    async with ApiServer.start() as cluster:
        add(cluster, "theirs", "a" * 64, instance="peitho.org1")
        add(cluster, "ours", "b" * 64)
        laptop = await operate(cluster, tmp_path, "ps", "--tenant", "org1", "-o", "name")
        pod = await operate(
            cluster, tmp_path, "ps", "-c", str(file), "--tenant", "org1", "-o", "name"
        )
        default = await operate(cluster, tmp_path, "ps", "-n", "ns", "-o", "name")
        slip = await operate(cluster, tmp_path, "ps", "-c", str(file), "--tenant", "org2")

    assert (0, "theirs\n") == (laptop.exit_code, laptop.stdout), laptop.stderr
    assert (0, "theirs\n") == (pod.exit_code, pod.stdout), pod.stderr
    assert "ours\n" == default.stdout
    assert (2, "No tenant org2 in the settings: there are default, org1\n") == (
        slip.exit_code,
        slip.stderr,
    )
