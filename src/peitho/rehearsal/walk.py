"""The steps of a rehearsal, each timed against what a peer allows for it."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from peitho.errors import PeithoError, Unavailable
from peitho.rehearsal import package
from peitho.rehearsal.daemon import Daemon, WrongAnswerError
from peitho.rehearsal.registration import Registration, Registrations

# core.yaml of Fabric 2.5: installTimeout, startuptimeout and executetimeout of `chaincode`.
INSTALL_SECONDS = 300.0
STARTUP_SECONDS = 300.0
EXECUTE_SECONDS = 30.0
_CALL_SECONDS = 30.0
_CALLS = 20
_CRASH_CODE = 7
# As moby's peers look for it.
_GO_VERSION = re.compile(r"go\s+version\s+go[\d.]+\s+\w+/\w+")
_ANY = range(200, 500)
_CLEANING_SECONDS = 60.0


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, how long it took and may take; `problem` is empty where all was right."""

    name: str
    seconds: float
    limit_seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Whose part is played: the names that the chaincode gets, and where it reaches the peer."""

    network_id: str
    peer_id: str
    msp_id: str
    peer_address: str
    builder: str = ""
    runtime: str = ""


@dataclass(slots=True)
class Walk:
    """One walk: a package is installed, launched, called, crashed, called again and removed."""

    daemon: Daemon
    registrations: Registrations
    part: Part
    nonce: str = field(default_factory=lambda: secrets.token_hex(32))
    _wait: asyncio.Task[dict[str, object]] | None = None
    _registered: Registration | None = None

    @property
    def chaincode_id(self) -> str:
        """The package ID: a label and a hash."""
        return f"rehearsal_1:{self.nonce}"

    @property
    def container(self) -> str:
        """The container's name, as peers make it."""
        package_id = self.chaincode_id.replace(":", "-")
        return f"{self.part.network_id}-{self.part.peer_id}-{package_id}"

    @property
    def image(self) -> str:
        """The image's name."""
        return package.image_name(self.container)

    async def run(self, tell: Callable[[Step], None]) -> bool:
        """
        Walk until a step fails, telling each, and remove in any case what there is.

        Returns whether all was right.
        """
        async with asyncio.TaskGroup() as tasks:
            try:
                is_right = await self._walk(tasks, tell)
            finally:
                if self._wait:
                    self._wait.cancel()
                cleaned = await _timed("clean up", _CLEANING_SECONDS, self._clean)
            tell(cleaned)
        return is_right and not cleaned.problem

    async def _walk(self, tasks: asyncio.TaskGroup, tell: Callable[[Step], None]) -> bool:
        for name, limit_seconds, work in (
            ("greet", _CALL_SECONDS, self.daemon.greet),
            ("install", INSTALL_SECONDS, lambda: self._install(tasks)),
            ("ask for the image", _CALL_SECONDS, self._ask),
            ("launch and register", STARTUP_SECONDS, lambda: self._launch(tasks)),
            (f"{_CALLS} calls", EXECUTE_SECONDS, self._call),
            ("crash, told with its code", EXECUTE_SECONDS, self._crash),
            ("first call after it", EXECUTE_SECONDS, lambda: self._call_again(tasks)),
            ("stop and remove", _CALL_SECONDS, self._remove),
        ):
            step = await _timed(name, limit_seconds, work)
            tell(step)
            if step.problem:
                return False
        return True

    async def _install(self, tasks: asyncio.TaskGroup) -> None:
        """Build as a peer does: the build's call is open while its context is compiled."""
        await self.daemon.call("GET", f"/images/{self.image}/json", {404})
        runtime = self.part.runtime or self.daemon.generation.runtime

        async def context() -> bytes:
            binary = package.binary_package(await self._compiled(tasks))
            return package.build_context(self.daemon.generation, binary, runtime=runtime)

        await self.daemon.build(self.image, context)

    async def _compiled(self, tasks: asyncio.TaskGroup) -> list[bytes]:
        builder = self.part.builder or self.daemon.generation.builder
        try:
            await self.daemon.call("GET", f"/images/{builder}/json", {200})
        except WrongAnswerError:
            query = {"fromImage": builder}
            await self.daemon.call("POST", "/images/create", {200}, params=query)
        if self.daemon.generation.asks_for_go:
            container = await self._created(builder, ["go", "version"])
            words = await self._run(tasks, container)
            await self.daemon.call("DELETE", f"/containers/{container}", {204})
            if not _GO_VERSION.search(words):
                raise WrongAnswerError(f"`go version` said {words[:200]!r}")
        container = await self._created(builder, ["/bin/sh", "-c", package.BUILD])
        source = package.source(self.nonce)
        path = f"/containers/{container}/archive"
        place = {"path": package.SOURCE_DIRECTORY}
        await self.daemon.call("PUT", path, {200}, params=place, data=source)
        await self._run(tasks, container)
        output = await self.daemon.archive(container, f"{package.OUTPUT_DIRECTORY}/.")
        await self.daemon.call("DELETE", f"/containers/{container}", {204})
        return output

    async def _created(self, image: str, command: list[str]) -> str:
        body = {"Image": image, "Cmd": command, "AttachStdout": True, "AttachStderr": True}
        answer = await self.daemon.call("POST", "/containers/create", {201}, json=body)
        return str(answer["Id"])

    async def _run(self, tasks: asyncio.TaskGroup, container: str) -> str:
        """Run a build's container; its output is in the error if it fails."""
        attached = await self.daemon.attach(container)
        output = tasks.create_task(_caught(attached.text()), name="output of a build")
        try:
            await self.daemon.call("POST", f"/containers/{container}/start", {204})
            ended = await self.daemon.call("POST", f"/containers/{container}/wait", {200})
            text = await output
        finally:
            output.cancel()
        if isinstance(text, PeithoError):
            raise text
        if code := ended.get("StatusCode"):
            raise WrongAnswerError(f"the build ended with {code}: {text.strip()[-2000:]}")
        return text

    async def _ask(self) -> None:
        await self.daemon.call("GET", f"/images/{self.image}/json", {200})

    async def _launch(self, tasks: asyncio.TaskGroup) -> None:
        """Launch, and wait until it has registered or ended."""
        path = f"/containers/{self.container}"
        await self.daemon.call("POST", f"{path}/stop", {204, 304, 404}, params={"t": "0"})
        await self.daemon.call("POST", f"{path}/kill", {204, 404, 409})
        await self.daemon.call("DELETE", path, {204, 404}, params={"force": "1"})
        body = {
            "Image": self.image,
            "Cmd": ["chaincode", f"-peer.address={self.part.peer_address}"],
            "Env": package.environment(self.chaincode_id, self.part.msp_id),
            "HostConfig": {"NetworkMode": "host", "Memory": 2**31},
        }
        query = {"name": self.container}
        await self.daemon.call("POST", "/containers/create", {201}, params=query, json=body)
        files = package.launch_files()
        await self.daemon.call("PUT", f"{path}/archive", {200}, params={"path": "/"}, data=files)
        await self.daemon.call("POST", f"{path}/start", {204})
        self._wait = tasks.create_task(self._ended(), name="wait")
        await self._register(tasks, self._wait)

    async def _register(
        self, tasks: asyncio.TaskGroup, wait: "asyncio.Task[dict[str, object]]"
    ) -> None:
        arriving = tasks.create_task(self.registrations.next(self.chaincode_id), name="registers")
        try:
            await asyncio.wait((arriving, wait), return_when=asyncio.FIRST_COMPLETED)
            if not arriving.done():
                answer = wait.result()
                code = answer.get("StatusCode", answer.get("problem"))
                said = await _caught(self.daemon.last_words(self.container))
                raise WrongAnswerError(
                    f"the chaincode ended with {code} before it registered at "
                    f"{self.part.peer_address}: {said}"
                )
            self._registered = arriving.result()
        finally:
            arriving.cancel()
        if not self._registered.has_files:
            raise WrongAnswerError("the chaincode does not have the TLS files that were uploaded")

    async def _ended(self) -> dict[str, object]:
        """What the wait is answered with; an error is told where the end is asked for."""
        path = f"/containers/{self.container}/wait"
        answer = await _caught(self.daemon.call("POST", path, {200}))
        return {"problem": str(answer)} if isinstance(answer, PeithoError) else answer

    async def _call(self) -> None:
        for number in range(_CALLS):
            if not (self._registered and await self._registered.call(number)):
                raise WrongAnswerError(f"call {number} was not answered: the chaincode has ended")

    async def _crash(self) -> None:
        if self._registered and self._wait:
            await self._registered.crash()
            answer = await self._wait
            if answer.get("StatusCode") != _CRASH_CODE:
                raise WrongAnswerError(f"it ended with {_CRASH_CODE}, and the wait said {answer}")

    async def _call_again(self, tasks: asyncio.TaskGroup) -> None:
        await self._launch(tasks)
        await self._call()

    async def _remove(self) -> None:
        path = f"/containers/{self.container}"
        await self.daemon.call("POST", f"{path}/stop", {204}, params={"t": "0"})
        await self.daemon.call("POST", f"{path}/kill", {409})
        await self.daemon.call("DELETE", path, {204}, params={"force": "1"})
        await self.daemon.call("GET", f"{path}/json", {404})

    async def _clean(self) -> None:
        """Remove whatever a step that failed has left."""
        force = {"force": "1"}
        await self.daemon.call("DELETE", f"/containers/{self.container}", _ANY, params=force)
        await self.daemon.call("DELETE", f"/images/{self.image}", _ANY)


async def _caught(work: Awaitable[T]) -> T | PeithoError:
    """What work comes to, or why it failed: an error in a task would end the others."""
    try:
        return await work
    except PeithoError as error:
        return error


async def _timed(name: str, limit_seconds: float, work: Callable[[], Awaitable[None]]) -> Step:
    began, problem = time.monotonic(), ""
    try:
        async with asyncio.timeout(limit_seconds):
            await work()
    except TimeoutError:
        problem = f"a peer gives up after {limit_seconds:g} s"
    except (WrongAnswerError, Unavailable, OSError) as error:
        problem = str(error)
    return Step(name, time.monotonic() - began, limit_seconds, problem)
