"""What operators type: the stock `docker` command with Peitho as its daemon."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from peitho import __version__
from tests.conformance.launched import TERMINATED, Launched
from tests.lab.peitho import Peitho
from tests.support.observe import alive

CCENV = "hyperledger/fabric-ccenv:2.5"
REFUSED = "is not part of what Peitho does"

pytestmark = pytest.mark.usefixtures("peitho_log")


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of a list, each in JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class Docker:
    """The `docker` command of this machine."""

    def __init__(self, peitho: Peitho) -> None:
        self._url = peitho.url

    async def tried(self, *words: str) -> Said:
        """Run a command, whatever comes of it."""
        process = await asyncio.create_subprocess_exec(
            *("docker", "--host", self._url, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *words: str) -> Said:
        """Run a command that succeeds."""
        said = await self.tried(*words)
        assert (0, "") == (said.code, said.err), said
        return said

    async def listed(self, *words: str) -> list[dict[str, Any]]:
        """The lines of a list, nothing cut."""
        return (await self(*words, "--no-trunc", "--format", "{{json .}}")).lines

    async def inspect(self, name: str) -> dict[str, Any]:
        """`docker inspect`, which looks for a container first, then for an image."""
        (found,) = json.loads((await self("inspect", name)).out)
        return dict(found)


@pytest.fixture
def docker(peitho: Peitho) -> Docker:
    """The command, pointed to the file's Peitho."""
    return Docker(peitho)


async def test_version_names_peitho_and_an_api_that_all_peers_speak(docker: Docker) -> None:
    """
    `docker version` negotiates, and prints both halves.
    """
    server = json.loads((await docker("version", "--format", "{{json .Server}}")).out)

    assert ("Peitho", __version__) == (server["Platform"]["Name"], server["Version"])
    assert 44 <= int(server["ApiVersion"].removeprefix("1.")) <= 52
    assert "linux" == server["Os"]
    assert "Server: Peitho" in (await docker("version")).out


async def test_info_counts_containers_and_images(docker: Docker, tiny: Launched) -> None:
    """
    `docker info` prints to its end, with the numbers of what there is.
    """
    async with tiny.running():
        info = json.loads((await docker("info", "--format", "{{json .}}")).out)

        assert (1, 1, 0) == (
            info["Containers"],
            info["ContainersRunning"],
            info["ContainersStopped"],
        )
        assert (1, "kubernetes", "linux") == (info["Images"], info["Driver"], info["OSType"])
        assert "Operating System: Peitho on Kubernetes" in (await docker("info")).out


async def test_ps_shows_what_runs_and_with_a_what_has_ended(docker: Docker, tiny: Launched) -> None:
    """
    One line each, in the columns that people know.
    """
    async with tiny.running() as name:
        (running,) = await docker.listed("ps")
        assert (name, tiny.package.image) == (running["Names"], running["Image"])
        assert "running" == running["State"]
        assert running["Status"].startswith("Up ")
        assert running["Command"].startswith('"chaincode -peer.address=')
        assert name in (await docker("ps")).out

        await docker("stop", name)

        assert [] == await docker.listed("ps")
        (ended,) = await docker.listed("ps", "-a")
        assert (running["ID"], "exited") == (ended["ID"], ended["State"])
        assert f"Exited ({TERMINATED}" in ended["Status"]
        assert f"Exited ({TERMINATED}" in (await docker("ps", "-a")).out


async def test_a_teardown_script_finds_what_it_asks_for_alone(
    docker: Docker, tiny: Launched
) -> None:
    """
    `docker rm $(docker ps -q --filter ...)` and `docker rmi $(docker images -q --filter ...)`.
    """
    async with tiny.running() as name:
        (whole,) = await docker.listed("ps")
        short = whole["ID"][:12]
        for filtered, expected in (
            ("label=service=hyperledger-fabric", ""),
            (f"label=peitho/chaincode={tiny.package.id}x", ""),
            (f"name={name[:8]}*", short),
            ("name=^/nobody", ""),
            (f"id={short}", short),
            ("status=running", short),
            ("status=exited", ""),
            (f"ancestor={tiny.package.image}", short),
            ("ancestor=hyperledger/fabric-ccenv:2.5", ""),
        ):
            found = (await docker("ps", "-q", "--filter", filtered)).out
            assert expected == found.strip(), filtered
        for filtered, some in ((f"{name[:8]}*", True), ("dev-peer*", False), ("*/*", False)):
            found = (await docker("images", "-q", "--filter", f"reference={filtered}")).out
            assert some == bool(found), filtered

        for words in (("ps", "--filter", "colour=blue"), ("images", "--filter", "colour=blue")):
            refused = await docker.tried(*words)
            assert (1, "Error response from daemon: invalid filter 'colour'\n") == (
                refused.code,
                refused.err,
            )


async def test_images_shows_chaincode_images(docker: Docker, tiny: Launched) -> None:
    """
    The name that the peer gave, with Docker's tag, and a size.
    """
    (image,) = await docker.listed("images")

    assert (tiny.package.image, "latest") == (image["Repository"], image["Tag"])
    assert image["ID"].startswith("sha256:")
    assert "0B" != image["Size"]
    assert tiny.package.image in (await docker("images")).out


async def test_inspect_shows_a_container(docker: Docker, tiny: Launched) -> None:
    """
    By name, and by the short ID that `docker ps` shows.
    """
    async with tiny.running() as name:
        found = await docker.inspect(name)

        assert (f"/{name}", tiny.package.image) == (found["Name"], found["Config"]["Image"])
        assert ("running", 0) == (found["State"]["Status"], found["State"]["ExitCode"])
        assert f"CORE_CHAINCODE_ID_NAME={tiny.package.id}" in found["Config"]["Env"]
        assert "chaincode" == found["Path"]
        assert found == await docker.inspect(found["Id"][:12])


async def test_inspect_shows_an_image(docker: Docker, tiny: Launched) -> None:
    """
    What the peer's Dockerfile said of it.
    """
    found = await docker.inspect(tiny.package.image)

    assert [f"{tiny.package.image}:latest"] == found["RepoTags"]
    assert "GOLANG" == found["Config"]["Labels"]["org.hyperledger.fabric.chaincode.type"]
    assert "CORE_CHAINCODE_BUILDLEVEL=2.5.16" in found["Config"]["Env"]
    assert ("amd64", "linux") == (found["Architecture"], found["Os"])
    assert found == await docker.inspect(found["Id"].removeprefix("sha256:")[:12])


async def test_logs_are_clean_text(docker: Docker, tiny: Launched) -> None:
    """
    Nothing but what the process wrote; followed, they end with it.
    """
    async with tiny.running() as name, asyncio.TaskGroup() as tasks:
        said = (await docker("logs", name)).out.splitlines()
        assert "tinycc ready" in said
        assert any(line.startswith("tinycc starting, args") for line in said)

        followed = tasks.create_task(docker("logs", "--follow", name))
        await docker("stop", name)

    assert "tinycc got terminated" == followed.result().out.splitlines()[-1]


async def test_logs_are_cut_as_asked(docker: Docker, tiny: Launched) -> None:
    """
    By lines and by times; what a Pod's log cannot tell is refused.
    """
    async with tiny.running() as name:
        timed = (await docker("logs", "--timestamps", name)).out.splitlines()
        said = (await docker("logs", name)).out.splitlines()
        times = [line.partition(" ")[0] for line in timed]
        assert said == [line.partition(" ")[2] for line in timed]
        assert all(
            each.endswith("Z") and len("2026-01-02T03:04:05.678901234Z") == len(each)
            for each in times
        )

        assert said[-1:] == (await docker("logs", "--tail", "1", name)).out.splitlines()
        last = [line for line, at in zip(said, times, strict=True) if at >= times[-1]]
        assert last == (await docker("logs", "--since", times[-1], name)).out.splitlines()
        first = [line for line, at in zip(said, times, strict=True) if at <= times[0]]
        assert first == (await docker("logs", "--until", times[0], name)).out.splitlines()
        assert "" == (await docker("logs", "--until", "1h", name)).out
        for words in (("--details",), ("--follow", "--until", "1h")):
            refused = await docker.tried("logs", *words, name)
            assert 1 == refused.code
            assert REFUSED in refused.err


async def test_run_is_a_build_without_uploads(docker: Docker) -> None:
    """
    Output on both streams and the code are told, and with `--rm` nothing is left.
    """
    script = "echo out; echo err >&2; exit 3"

    said = await docker.tried("run", "--rm", CCENV, "sh", "-c", script)

    assert Said(3, "out\n", "err\n") == said
    assert "" == (await docker("ps", "-aq", "--filter", f"ancestor={CCENV}")).out


@pytest.mark.parametrize("words", [("-i", CCENV, "cat"), ("-t", CCENV, "sh"), (CCENV,)])
async def test_run_that_would_hang_is_refused_at_once(
    words: tuple[str, ...], docker: Docker
) -> None:
    """
    No container has stdin or a terminal, and what an image would run is not known.
    """
    said = await docker.tried("run", "--rm", *words)

    assert (125, "") == (said.code, said.out)
    assert REFUSED in said.err or "no command specified" in said.err
    assert "" == (await docker("ps", "-aq", "--filter", f"ancestor={CCENV}")).out


async def test_logs_of_what_is_starting_come_to_an_end(docker: Docker, tiny: Launched) -> None:
    """
    Nothing yet, and no error, from the creation until the process has said something.
    """
    async with tiny.launching() as name:
        said = [await docker.tried("logs", name)]
        while "tinycc ready" not in said[-1].out:
            said.append(await docker.tried("logs", name))

    failed = {each.err for each in said if each.code}
    assert failed <= {f"Error response from daemon: No such container: {name}\n"}


@pytest.mark.parametrize("command", ["stop", "kill"])
async def test_wait_prints_the_code_once_the_process_is_gone(
    command: str, docker: Docker, tiny: Launched, peitho: Peitho
) -> None:
    """
    `docker stop` and `docker kill` end it; both print its name, as they do for people.
    """
    async with tiny.running() as name, asyncio.TaskGroup() as tasks:
        code = tasks.create_task(docker("wait", name))
        assert f"{name}\n" == (await docker(command, name)).out

        assert [] == alive(peitho, name)
        assert f"{TERMINATED}\n" == (await code).out
        again = await docker.tried("kill", name)
        assert 1 == again.code
        assert "is not running" in again.err


async def test_rm_wants_force_for_what_runs(docker: Docker, tiny: Launched) -> None:
    """
    Refused in Docker's words, done with `-f`, and then it is not there.
    """
    async with tiny.running() as name:
        refused = await docker.tried("rm", name)
        assert 1 == refused.code
        assert "container is running: stop the container before removing" in refused.err

        assert f"{name}\n" == (await docker("rm", "-f", name)).out

        assert [] == await docker.listed("ps", "-a")
        gone = await docker.tried("logs", name)
        assert (1, f"Error response from daemon: No such container: {name}\n") == (
            gone.code,
            gone.err,
        )


async def test_rm_removes_what_has_ended(docker: Docker, tiny: Launched) -> None:
    """
    Without force.
    """
    async with tiny.running() as name:
        await docker("stop", name)

        assert f"{name}\n" == (await docker("rm", name)).out

        assert [] == await docker.listed("ps", "-a")


async def test_rmi_removes_an_image(docker: Docker, tiny: Launched) -> None:
    """
    It tells what went, and a second time that there is none.
    """
    other = await tiny.peer.install("tiny", label="removed_1")

    said = (await docker("rmi", other.image)).out

    assert f"Untagged: {other.image}:latest" == said.splitlines()[0]
    assert [tiny.package.image] == [each["Repository"] for each in await docker.listed("images")]
    again = await docker.tried("rmi", other.image)
    assert (1, f"Error response from daemon: No such image: {other.image}:latest\n") == (
        again.code,
        again.err,
    )


async def test_rmi_wants_force_for_what_a_container_has(docker: Docker, tiny: Launched) -> None:
    """
    Refused in Docker's words, and the image is still there.
    """
    async with tiny.running():
        refused = await docker.tried("rmi", tiny.package.image)

    assert 1 == refused.code
    assert "conflict: unable to remove repository reference" in refused.err
    assert "(must force) - container" in refused.err
    assert [tiny.package.image] == [each["Repository"] for each in await docker.listed("images")]


async def test_stats_are_refused_with_a_reason(docker: Docker, tiny: Launched) -> None:
    """
    Of a container, and of all; `stats --no-stream` of all is the CLI's: it tells no error.
    """
    async with tiny.running() as name:
        for words in ((name, "--no-stream"), ()):
            said = await docker.tried("stats", *words)
            assert 1 == said.code
            assert REFUSED in said.err


async def test_exec_is_refused_with_a_reason(docker: Docker, tiny: Launched) -> None:
    """
    The sentence names what was asked, and where to go with it.
    """
    async with tiny.running() as name:
        said = await docker.tried("exec", name, "ls")

    assert 0 != said.code
    assert REFUSED in said.err
    assert "use kubectl for the rest" in said.err


@pytest.mark.parametrize("words", [("network", "ls"), ("volume", "ls"), ("events",)])
async def test_what_peitho_does_not_do_is_refused_with_a_reason(
    words: tuple[str, ...], docker: Docker
) -> None:
    """
    The same sentence, whatever the command.
    """
    said = await docker.tried(*words)

    assert 1 == said.code
    assert REFUSED in said.err
