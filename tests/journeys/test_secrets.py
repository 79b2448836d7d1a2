"""What is secret is in the Secrets of the cluster alone, whatever Peitho says at debug level."""

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.peers import does_not_compile, label, lives_and_comes_back
from tests.lab import pki
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.daemon import Daemon
from tests.lab.pairs import PAIRS, REGISTRY, Pair
from tests.lab.peer import Peer, PeerError
from tests.lab.peitho import PROJECT, Peitho, namespace
from tests.lab.registry import ACCOUNT, Running
from tests.support.docker_calls import Calls, archive, context
from tests.support.secrets_seen import Seen, looking

PROXY_PASSWORD = "planted-of-the-proxy"  # noqa: S105
CALLER_PASSWORD = "planted-of-the-caller"  # noqa: S105
VALUES = {
    "variable of a build": "planted-in-a-build",
    "variable of a chaincode": "planted-in-a-chaincode",
    "variable of the peer": "planted-in-the-peer",
}
NOWHERE = "registry.invalid/hyperledger/fabric-baseos:2.5"


@dataclass(frozen=True, slots=True)
class Story:
    """A Peitho with secrets of all kinds, and its files."""

    peitho: Peitho
    pki: Path
    audit: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """What a caller shows, and whom it trusts."""
        context = ssl.create_default_context(cafile=self.pki / "ca.crt")
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        return context

    def planted(self) -> dict[str, str]:
        """All that may be nowhere, by a name for people."""
        config = json.loads((self.peitho.folder / "kubeconfig").read_text())
        key = (self.peitho.data_dir / "delivery.key").read_bytes()
        authority = json.loads((self.peitho.data_dir / "delivery-ca.json").read_text())
        return VALUES | {
            "password of the proxy": PROXY_PASSWORD,
            "password of a caller": CALLER_PASSWORD,
            "password of the registry": ACCOUNT.password,
            "account of the registry": f"{ACCOUNT.username}:{ACCOUNT.password}",
            "token of Peitho": config["users"][0]["user"]["token"],
            "key of Peitho's TLS": (self.pki / "apiserver.key").read_text(),
            "key of delivery's CA": authority["record"]["key"],
            "key of delivery": key.hex(),
            "key of delivery, in base64": base64.b64encode(key).decode(),
        }


@asynccontextmanager
async def beginning(
    pair: Pair, cluster: Cluster, daemon: Daemon, registry: Running, tmp_path: Path
) -> AsyncIterator[Story]:
    """A Peitho of a pair that says all it can, and has every secret that it may have."""
    await asyncio.to_thread(pki.certificates, tmp_path / "pki", host="127.0.0.1", node="node")
    audit = tmp_path / "audit.jsonl"
    settings = pair.settings(registry, endpoint=daemon.endpoint) | {
        "server": {
            "tls": {
                "cert-file": str(tmp_path / "pki/apiserver.crt"),
                "key-file": str(tmp_path / "pki/apiserver.key"),
                "client-ca-file": str(tmp_path / "pki/ca.crt"),
            }
        },
        # Only what is nowhere is asked for through it.
        "proxy": {
            "https": f"http://peitho:{PROXY_PASSWORD}@127.0.0.1:1",
            "noProxy": cluster.host_address,
        },
        "log": {"level": "debug", "format": "json"},
        "audit": {"file": str(audit)},
        "access": {"images": ["*"]},
        "chaincode": {"settleSeconds": 0},
    }
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, **settings) as running,
    ):
        yield Story(running, tmp_path / "pki", audit)


@beside
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
async def test_no_secret_is_anywhere_else(
    cluster: Cluster, daemon: Daemon, registry: Running, tmp_path: Path, pair: Pair
) -> None:
    """
    Log, errors, Events, ConfigMaps, Jobs, Pods, inspect, config, metrics, audit and processes.
    """
    async with beginning(pair, cluster, daemon, registry, tmp_path) as story:
        async with looking(story.peitho) as seen:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_of_a_peer(story, seen), name="peer")
                tasks.create_task(_by_hand(story, seen, mode=pair.mode), name="by hand")
            await asyncio.to_thread(_read, story, seen)
        planted = story.planted()

    # What is no secret is found: it was looked for where it would be.
    shown = {place for name, place in seen.leaks({"instance": "peitho"}) if name == "instance"}
    assert {"events", "jobs", "pods", "log", "inspect", "metrics", "config", "processes"} <= shown
    assert {"audit", "errors", "peer"} <= set(seen.texts)
    assert any("PRIVATE KEY" in text for texts in seen.secrets.values() for text in texts)
    assert [] == seen.leaks(planted)


async def _of_a_peer(story: Story, seen: Seen) -> None:
    peitho = story.peitho
    peer = Peer.start(
        "2.5.16",
        endpoint=peitho.url,
        host_address=peitho.cluster.host_address,
        build_env=(f"GOPROXY=https://u:{VALUES['variable of the peer']}@goproxy.example",),
        daemon_ca=str(story.pki / "ca.crt"),
        daemon_cert=str(story.pki / "admin.crt"),
        daemon_key=str(story.pki / "admin.key"),
        attach_stdout=True,
    )
    async with peer as asking:
        package = await asking.install("go", label=label("secrets", "2.5.16"))
        await lives_and_comes_back(asking, package, peitho)
        with suppress(PeerError):
            await does_not_compile(asking)
        await asking.stop(package)
        for event in asking.events:
            seen.add("peer", f"{event.status} {event.text}")


async def _by_hand(story: Story, seen: Seen, *, mode: str) -> None:
    async with Calls.to(story.peitho, tls=story.trust) as calls:
        for headers in (_accounts("registry.invalid"), _accounts("docker.io"), _damaged()):
            pulled = await calls.call(
                "POST", "/images/create", params={"fromImage": NOWHERE}, headers=headers
            )
            seen.add("errors", str(pulled.body))
            if mode == REGISTRY:  # else no registry is asked
                built = await calls.call(
                    "POST",
                    "/build",
                    params={"t": "nowhere"},
                    data=_context_of(NOWHERE),
                    headers=headers,
                )
                seen.add("errors", str(built.body))
        await _build(calls, seen)
        await _chaincode(calls, seen)


async def _build(calls: Calls, seen: Seen) -> None:
    env = [f"TOKEN={VALUES['variable of a build']}"]
    command = ["/bin/sh", "-c", "no-such-command; exit 3"]
    created = await calls.create("", "hyperledger/fabric-ccenv:2.5", command, env)
    build = created.body["Id"]
    await calls.start(build)
    assert 3 == await calls.wait(build)
    seen.add("inspect", await calls.inspect(build))
    await calls.remove(build)


async def _chaincode(calls: Calls, seen: Seen) -> None:
    await calls.make_image("secrets")
    env = [f"CORE_SECRET={VALUES['variable of a chaincode']}"]
    created = await calls.create("secrets", "secrets", ["chaincode"], env)
    assert 201 == created.status, created
    again = await calls.create("secrets", "secrets", ["chaincode"], env)
    seen.add("errors", str(again.body))
    refused = await calls.create("Not A Name", "secrets", ["chaincode"], env)
    seen.add("errors", str(refused.body))
    assert 204 == (await calls.start("secrets")).status
    seen.add("inspect", await calls.inspect("secrets"))
    listed = await calls.call("GET", "/containers/json", params={"all": "1"})
    seen.add("inspect", listed.body)
    await calls.remove("secrets")


def _accounts(registry: str) -> dict[str, str]:
    """What a caller sends to log in at a registry."""
    said = {"username": "u", "password": CALLER_PASSWORD, "serveraddress": registry}
    auth, config = (
        base64.urlsafe_b64encode(json.dumps(each).encode()).decode()
        for each in (said, {registry: said})
    )
    return {"X-Registry-Auth": auth, "X-Registry-Config": config}


def _damaged() -> dict[str, str]:
    return {"X-Registry-Auth": f"{CALLER_PASSWORD}!", "X-Registry-Config": CALLER_PASSWORD}


def _context_of(runtime: str) -> bytes:
    dockerfile = f"FROM {runtime}\nADD binpackage.tar /usr/local/bin\n"
    return context(archive({"chaincode": (0o755, b"#!/bin/sh\n")}), dockerfile)


def _read(story: Story, seen: Seen) -> None:
    """What Peitho itself has written, and what it answers at its other listener."""
    peitho = story.peitho
    seen.add("log", peitho.log.read_text())
    seen.add("audit", story.audit.read_text())
    for path in ("metrics", "readyz?verbose", "healthz"):
        with urllib.request.urlopen(f"{peitho.operations}/{path}") as response:
            seen.add("metrics", response.read().decode())
    seen.add("config", _config(peitho))


def _config(peitho: Peitho) -> str:
    """What `peitho config` prints."""
    command = [sys.executable, "-m", "peitho", "config", "-c", str(peitho.folder / "peitho.yml")]
    env = os.environ | {"PYTHONPATH": str(PROJECT / "src")}  # noqa: TID251
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
