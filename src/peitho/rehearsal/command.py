"""`peitho rehearse`: whose part is played, and how the steps are shown."""

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from peitho.clients.tls import CertificateFiles
from peitho.errors import InvalidArgument, Unavailable
from peitho.formats.docker import endpoints
from peitho.rehearsal.daemon import Daemon
from peitho.rehearsal.generations import BY_NAME, GENERATIONS, Generation
from peitho.rehearsal.registration import Registrations
from peitho.rehearsal.walk import Part, Step, Walk

_LAST_PORT = 65535
_COLUMNS = "{:<5} {:<28} {:>8} {:>6}  {}"


async def rehearse(endpoint: str, options: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """
    Walk as each generation that the options name; returns whether all was right.

    Raises InvalidArgument for an endpoint or an address that is none, Unavailable where the
    certificates or the address to listen at cannot be used.
    """
    host, port = _endpoint(endpoint)
    tls = _tls(options)
    listen_host, listen_port = _listening(options, host)
    named = options["generation"]
    generations = GENERATIONS if named == "all" else (BY_NAME[named],)
    shown: Shown = Json(say) if options["output"] == "json" else Table(say)
    shown.begin()
    is_right = True
    try:
        async with Registrations.listen(listen_host, listen_port) as registrations:
            address = options["peer_address"] or f"{listen_host}:{registrations.port}"
            for generation in generations:
                async with Daemon.connect(host, port, generation, tls=tls) as daemon:
                    walk = Walk(daemon, registrations, _part(options, address))
                    is_right &= await walk.run(lambda step, by=generation: shown.step(by, step))  # type: ignore[misc]
    except OSError as error:
        raise Unavailable(f"cannot listen at {listen_host}:{listen_port}: {error}") from error
    shown.end(is_right=is_right)
    return is_right


class Table:
    """Steps as lines for people."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def begin(self) -> None:
        """Say what the columns are."""
        self._say(_COLUMNS.format("peer", "step", "seconds", "limit", "").rstrip())

    def step(self, generation: Generation, step: Step) -> None:
        """Show a step once it is over."""
        outcome = f"FAILED: {step.problem}" if step.problem else "ok"
        seconds, limit = f"{step.seconds:.2f}", f"{step.limit_seconds:g}"
        self._say(_COLUMNS.format(generation.name, step.name, seconds, limit, outcome))

    def end(self, *, is_right: bool) -> None:
        """Say how it went in all."""
        self._say("all was right" if is_right else "not all was right")


class Json:
    """Steps as one JSON document for programs, at the end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._steps: list[dict[str, object]] = []

    def begin(self) -> None:
        """Show nothing yet."""

    def step(self, generation: Generation, step: Step) -> None:
        """Keep a step."""
        self._steps.append(
            {
                "peer": generation.name,
                "step": step.name,
                "seconds": round(step.seconds, 3),
                "limitSeconds": step.limit_seconds,
                "problem": step.problem,
            }
        )

    def end(self, *, is_right: bool) -> None:
        """Show all of them."""
        self._say(json.dumps({"ok": is_right, "steps": self._steps}, indent=2))


Shown = Table | Json


def _part(options: Mapping[str, Any], address: str) -> Part:
    return Part(
        network_id=options["network_id"],
        peer_id=options["peer_id"],
        msp_id=options["msp_id"],
        peer_address=address,
        builder=options["builder"],
        runtime=options["runtime"],
    )


def _endpoint(text: str) -> tuple[str, int]:
    parsed = endpoints.parse(text)
    if not parsed.address:
        raise InvalidArgument(f"{text}: a rehearsal needs tcp://HOST:PORT")
    host, _, port = parsed.address.rpartition(":")
    return host.strip("[]"), int(port)


def _tls(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    names = ("ca_file", "cert_file", "key_file")
    if not any(options[name] for name in names):
        return None
    files = CertificateFiles("The TLS files", *(options[name] for name in names))
    return files.context()


def _listening(options: Mapping[str, Any], daemon_host: str) -> tuple[str, int]:
    """Where chaincode is waited for: as told, or at the address that Peitho is reached from."""
    text = options["listen"]
    if text:
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or int(port) > _LAST_PORT:
            raise InvalidArgument(f"--listen {text}: HOST:PORT is needed")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  as the caller says
    family = socket.AF_INET6 if ":" in daemon_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((daemon_host, 9))  # no packet is sent
        except OSError as error:
            raise Unavailable(f"{daemon_host}: {error}") from error
        return str(probe.getsockname()[0]), 0
