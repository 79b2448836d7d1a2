"""
A Fabric peer's double: a process that makes a peer's calls over the client library it links.

The process is a Go program of `tests/lab/peer`, told what to do in JSON lines.  Its binaries and
the chaincode's vendored packages are in the cache, keyed by their sources.
"""

import asyncio
import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tests.lab.machine import CACHE, go, one_at_a_time, run, step

_SOURCES = Path(__file__).parent / "peer"
_CHAINCODE = Path(__file__).parent / "chaincode"
_LINE_BYTES = 16 << 20
_STOP_SECONDS = 30.0

# The module file that pins each version of a library.  1.4.12 links a commit that is no release
# and cannot be had; v1.3.0 says on the wire what it says.
_BINARIES = {
    "fsouza-1.3.0": ("oldest.mod", "fsouza"),
    "fsouza-1.7.3": ("older.mod", "fsouza"),
    "fsouza-1.12.0": ("go.mod", "fsouza"),
    "moby-0.2.1": ("older.mod", "moby"),
    "moby-0.4.1": ("go.mod", "moby"),
}
# The first release of each library, in falling order within a line.
_LIBRARIES = (
    ((3, 1, 5), "moby-0.4.1"),
    ((3, 1, 4), "moby-0.2.1"),
    ((3, 0, 0), "fsouza-1.12.0"),
    ((2, 5, 15), "moby-0.2.1"),
    ((2, 5, 5), "fsouza-1.12.0"),
    ((2, 0, 0), "fsouza-1.7.3"),
    ((1, 0, 0), "fsouza-1.3.0"),
)


class PeerError(Exception):
    """A command failed; the message is what the operator of a real peer would read."""


async def at_once(
    releases: Iterable[str], story: Callable[[str], Coroutine[Any, Any, None]]
) -> None:
    """The story of a peer of each release, all at a time: most of each is waiting for Pods."""
    async with asyncio.TaskGroup() as tasks:
        for release in releases:
            tasks.create_task(_told_of(release, story), name=release)


async def _told_of(release: str, story: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    try:
        await story(release)
    except Exception as error:
        error.add_note(f"with a peer {release}")
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a peer's core.yaml says, as far as it matters here."""

    version: str
    endpoint: str
    network_id: str = "lab"
    peer_id: str = "peer0.org1.lab"
    msp_id: str = "Org1MSP"
    listen: str = "127.0.0.1:0"
    chaincode_address: str = "127.0.0.1:0"
    hosts: tuple[str, ...] = ()
    tls: bool = True
    network_mode: str = "host"
    attach_stdout: bool = False
    builder_image: str = ""
    runtime_image: str = ""
    build_env: tuple[str, ...] = ("GOPROXY=https://goproxy.example",)
    startup_seconds: float = 300.0
    folder: str = ""
    daemon_ca: str = ""
    daemon_cert: str = ""
    daemon_key: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package: its ID, and the names of its container and image."""

    id: str
    container: str
    image: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a chaincode function returned."""

    status: int
    message: str
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Something that happened: `step`, `registered`, `refused`, `exit`, `stream ended`, `log`, ...

    `id` is the command that led to it, or 0; steps have `seconds` and a `status`: "ok" or an error.
    """

    event: str
    id: int = 0
    step: str = ""
    seconds: float = 0.0
    status: str = ""
    package: str = ""
    container: str = ""
    code: int | None = None
    text: str = ""


@dataclass(slots=True)
class _Process:
    """One life of a peer: the process and the commands that wait for an answer."""

    child: asyncio.subprocess.Process
    waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Peer:
    """A running double.  `events` is all that happened, in its order, restarts included."""

    def __init__(self, settings: Settings, on_event: Callable[[Event], None] | None) -> None:
        self.settings = settings
        self.events: list[Event] = []
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._given: dict[tuple[str, str], int] = {}
        self._news = asyncio.Condition()
        self._process: _Process | None = None
        self._tasks = asyncio.TaskGroup()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        version: str,
        *,
        endpoint: str,
        host_address: str = "127.0.0.1",
        on_event: Callable[[Event], None] | None = None,
        **others: Any,
    ) -> AsyncIterator[Self]:
        """
        A peer of a version, which chaincode reaches at `host_address`; stopped at the end.

        `others` are fields of Settings.
        """
        with tempfile.TemporaryDirectory(prefix="peitho-peer-") as folder:
            settings = Settings(
                version=version,
                endpoint=endpoint,
                listen=f"{host_address}:0",
                chaincode_address=f"{host_address}:0",
                **({"folder": folder} | others),
            )
            peer = cls(settings, on_event)
            failure: Exception | None = None
            async with peer._tasks:
                try:
                    await peer._begin()
                    yield peer
                except Exception as error:  # noqa: BLE001  raised below, outside of the group
                    failure = error
                finally:
                    await peer._end(kill=False)
            if failure:
                raise failure

    async def install(
        self, chaincode: str | Path, *, label: str | None = None, language: str = "golang"
    ) -> Package:
        """
        Install a chaincode of this folder (`go`, `tiny`, ...) or any folder; from 2.0 on, build it.

        A label for 1.4 has the form NAME_VERSION.  Raises PeerError.
        """
        name = chaincode if isinstance(chaincode, str) else chaincode.name
        folder = build_chaincode(chaincode) if isinstance(chaincode, str) else chaincode
        answer = await self._ask(
            "install", folder=str(folder), label=label or f"{name}_1", language=language
        )
        names = await self._ask("names", package=answer["package"])
        return Package(answer["package"], names["container"], names["image"])

    async def launch(self, package: Package) -> None:
        """Commit (1.4: instantiate) a package; it has registered at return.  Raises PeerError."""
        await self._ask("launch", package=package.id)

    async def upgrade(self, old: Package, new: Package) -> None:
        """Commit another package in place of one.  Raises PeerError."""
        await self._ask("upgrade", old=old.id, package=new.id)

    async def invoke(self, package: Package, *arguments: str) -> Result:
        """Call a function, launching the chaincode if it is not running.  Raises PeerError."""
        answer = await self._ask("invoke", package=package.id, arguments=arguments)
        return Result(**answer)

    async def stop(self, package: Package) -> None:
        """Stop, kill and remove the container of a package."""
        await self._ask("stop", package=package.id)

    async def ping(self) -> None:
        """What the operations listener's /healthz does.  Raises PeerError."""
        await self._ask("ping")

    async def restart(self, *, kill: bool = False) -> None:
        """End the process, with SIGKILL or in its own way, and start it with what is on disk."""
        await self._end(kill=kill)
        await self._begin()

    async def expect(self, event: str, *, package: Package | None = None) -> Event:
        """The next event of a name, past or to come; each is given once."""
        package_id = package.id if package else ""
        key = (event, package_id)
        async with self._news:
            while True:
                start = self._given.get(key, 0)
                for index, each in enumerate(self.events[start:], start):
                    if each.event == event and (not package_id or each.package == package_id):
                        self._given[key] = index + 1
                        return each
                await self._news.wait()

    def steps(self, *names: str) -> list[Event]:
        """The calls to the endpoint that have ended, or those of these names."""
        return [
            each
            for each in self.events
            if each.event == "step" and (not names or each.step in names)
        ]

    async def _begin(self) -> None:
        linked = library(self.settings.version)
        binary = build_peers(linked)[linked]
        child = await asyncio.create_subprocess_exec(
            binary,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        self._process = process = _Process(child)
        self._tasks.create_task(self._read(process), name="lines of the double")
        answer = await self._ask("configure", settings=asdict(self.settings))
        # After a restart the peer listens where it did before.
        address: str = answer["chaincode_address"]
        host, port = self.settings.listen.rpartition(":")[0], address.rpartition(":")[2]
        self.settings = replace(self.settings, chaincode_address=address, listen=f"{host}:{port}")

    async def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.child.returncode is None:
            if kill:
                process.child.kill()
            else:
                process.child.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.ended.wait()
        except TimeoutError:
            process.child.kill()
        await process.ended.wait()

    async def _ask(self, command: str, **fields: Any) -> Any:
        process = self._process
        if process is None or process.child.stdin is None or process.ended.is_set():
            raise PeerError("the peer is not running")
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        process.waiting[number] = answer
        line = json.dumps({"id": number, "command": command} | fields)
        process.child.stdin.write(f"{line}\n".encode())
        return await answer

    async def _read(self, process: _Process) -> None:
        assert process.child.stdout is not None
        async for line in process.child.stdout:
            content = json.loads(line)
            if "event" in content:
                await self._take(Event(**content))
            elif not (answer := process.waiting.pop(content["id"])).done():
                _settle(answer, content)
        await process.child.wait()
        process.ended.set()
        for answer in process.waiting.values():
            if not answer.done():
                answer.set_exception(PeerError("the peer has ended"))

    async def _take(self, event: Event) -> None:
        if self._on_event:
            self._on_event(event)
        async with self._news:
            self.events.append(event)
            self._news.notify_all()


def _settle(answer: asyncio.Future[Any], content: Mapping[str, Any]) -> None:
    if error := content.get("error"):
        answer.set_exception(PeerError(error))
    else:
        answer.set_result(content.get("result"))


def library(version: str) -> str:
    """The client library that a version of Fabric links, or the nearest one that there is."""
    numbers = tuple(int(part) for part in version.split("."))
    return next(name for since, name in _LIBRARIES if numbers >= since)


@one_at_a_time("peers")
def build_peers(*libraries: str) -> dict[str, Path]:
    """
    The doubles' binaries by library, of these or of all, from the cache or built.

    Raises LabError.
    """
    folder = CACHE / f"peer-{_key(_SOURCES)}"
    binaries = {name: folder / name for name in libraries or _BINARIES}
    lacking = [name for name, path in binaries.items() if not path.exists()]
    if not lacking:
        return binaries
    folder.mkdir(parents=True, exist_ok=True)
    with step("building the peer's doubles"):
        for name in lacking:
            module, package = _BINARIES[name]
            flags = ["-trimpath", "-ldflags=-s -w", f"-modfile={module}"]
            part = folder / f"{name}.part"
            run([*go(), "build", *flags, "-o", part, f"./{package}"], cwd=_SOURCES)
            part.rename(binaries[name])
    _discard_others(folder)
    return binaries


@one_at_a_time("chaincode")
def build_chaincode(name: str, *, replacing: Mapping[str, str] | None = None) -> Path:
    """
    The folder of a chaincode of ours with what it needs vendored, so that it builds offline.

    `replacing` changes the text of its Go files, for another version of it.  Raises LabError.
    """
    source = _CHAINCODE / name
    key = _key(source, extra=json.dumps(replacing or {}, sort_keys=True))
    folder = CACHE / "chaincode" / f"{name}-{key}" / name
    if folder.exists():
        return folder
    part = Path(f"{folder.parent}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part / name, ignore=shutil.ignore_patterns("node_modules", "vendor"))
    for old, new in (replacing or {}).items():
        _replace(part / name, old, new)
    if (source / "go.sum").exists():
        with step(f"vendoring the modules of chaincode {name}"):
            run([*go(), "mod", "vendor"], cwd=part / name)
    shutil.rmtree(folder.parent, ignore_errors=True)
    part.rename(folder.parent)
    return folder


def _replace(folder: Path, old: str, new: str) -> None:
    changed = 0
    for path in folder.glob("*.*"):
        text = path.read_text()
        if old in text:
            path.write_text(text.replace(old, new))
            changed += 1
    if not changed:
        raise ValueError(f"{old!r} is in no file of {folder}")


def _key(folder: Path, *, extra: str = "") -> str:
    digest = hashlib.sha256(extra.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts:
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _discard_others(folder: Path) -> None:
    for old in CACHE.glob("peer-*"):
        if old != folder:
            shutil.rmtree(old)
