"""
A Peitho of the tests: a process of this machine, with the rights that its Role in deploy/ gives.

Its Pods come to a namespace of its own with `enforce=restricted`, and reach it at the address that
this machine has on their bridge.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml

from tests.lab import images
from tests.lab.cluster import Cluster, answers
from tests.lab.machine import CACHE, LabError

PROJECT = Path(__file__).parents[2]

_READY_SECONDS = 30.0
_STOP_SECONDS = 20.0
_ACCOUNT_SECONDS = 30.0
_LOG_SHOWN = 20_000
# Ports from 32768 on Linux gives to any connection, while a Peitho is down for a moment.
_PORTS = range(10_000, 30_000)
_given_ports: set[int] = set()
# The keys of a manifest whose value is the name of a namespace, wherever they stand.
_NAMING = ("namespace", "kubernetes.io/metadata.name")


class Peitho:
    """A running Peitho; `url` is what a peer's CORE_VM_ENDPOINT would be."""

    def __init__(  # noqa: PLR0913  a Peitho of the tests is these six things
        self,
        cluster: Cluster,
        namespace: str,
        folder: Path,
        *,
        settings: Mapping[str, Any],
        port: int = 0,
        api_server: str = "",
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self.data_dir = folder / "data"
        self.log = folder / "peitho.log"
        self._config = folder / "peitho.yml"
        host = cluster.host_address
        hosts = ("127.0.0.1", host, "127.0.0.1")
        ports = range(port, port + 3) if port else [_free_port(each) for each in hosts]
        api, delivery, operations = ports
        self.port = api
        self.url = f"tcp://127.0.0.1:{api}"
        self.delivery = f"{host}:{delivery}"
        self.http = f"http://127.0.0.1:{api}"
        self.operations = f"http://127.0.0.1:{operations}"
        self._places: dict[str, Any] = {
            "dataDir": str(self.data_dir),
            "server": {
                "api": f"127.0.0.1:{api}",
                "delivery": f"{host}:{delivery}",
                "operations": f"127.0.0.1:{operations}",
            },
            "k8s": {
                "namespace": namespace,
                "kubeconfig": str(account_kubeconfig(cluster, namespace, folder, api_server)),
            },
        }
        self.configure(settings)
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        cluster: Cluster,
        namespace: str,
        folder: Path,
        *,
        port: int = 0,
        api_server: str = "",
        **settings: Any,
    ) -> AsyncIterator[Self]:
        """
        A Peitho with its files in a folder, ready; stopped at the end.  An error has its log.

        `api_server` is a front of the cluster's own, such as one that notes what is asked for.
        """
        peitho = await asyncio.to_thread(
            partial(
                cls,
                cluster,
                namespace,
                folder,
                settings=settings,
                port=port,
                api_server=api_server,
            )
        )
        await peitho.begin()
        try:
            yield peitho
        except BaseException as error:
            error.add_note(peitho.log.read_text()[-_LOG_SHOWN:])
            raise
        finally:
            await peitho.end()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the settings file, at once with all of it, as the kubelet does."""
        peitho = {"pullerAccessAddress": self.delivery, "pullerImage": images.PEITHO}
        tree = {
            **self._places,
            **settings,
            "peitho": peitho | settings.get("peitho", {}),
            "server": self._places["server"] | settings.get("server", {}),
        }
        written = self._config.with_suffix(".new")
        written.write_text(yaml.safe_dump(tree))
        written.rename(self._config)

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise LabError("Peitho is not running")
        return self._process.pid

    @property
    def resident_bytes(self) -> int:
        """What the process has in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def begin(self, *, program: tuple[str, ...] = ("-m", "peitho")) -> None:
        """Start the process, and return once it is ready; `program` is how Python runs it."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program, "serve", "--config", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}"},  # noqa: TID251
            )
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._ready()
        except BaseException:
            await self.end()
            raise

    async def _ready(self) -> None:
        while not await asyncio.to_thread(answers, f"{self.operations}/readyz"):
            if self._process is None or self._process.returncode is not None:
                raise LabError(f"Peitho ended at once:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    async def end(self, *, kill: bool = False) -> None:
        """End the process, with SIGTERM or SIGKILL; return when it is gone."""
        process = self._process
        if process is None or process.returncode is not None:
            self._process = None
            return
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise LabError(f"Peitho did not stop within {_STOP_SECONDS:g} s") from None
        finally:
            # One that a cancelled test left on its way out still has its ports.
            self._process = process if process.returncode is None else None

    def kubectl(self, *words: str) -> str:
        """What `kubectl -n NAMESPACE WORDS` prints."""
        return self.cluster.run_kubectl("-n", self.namespace, *words)

    def objects(self, kind: str, *, labels: str = "") -> list[dict[str, Any]]:
        """The objects of a kind in the namespace: asked for many times, so without kubectl."""
        group = "apis/batch/v1" if kind == "jobs" else "api/v1"
        return self.cluster.find(f"{group}/namespaces/{self.namespace}/{kind}", labels=labels)


@asynccontextmanager
async def namespace(cluster: Cluster, *, level: str = "restricted") -> AsyncIterator[str]:
    """A namespace in which Pod Security enforces a level; gone at the end."""
    name = f"peitho-{secrets.token_hex(4)}"
    await asyncio.to_thread(make_namespace, cluster, name, level=level)
    try:
        yield name
    finally:
        delete = ("delete", "namespace", name, "--wait=false")
        await asyncio.to_thread(cluster.run_kubectl, *delete)


def make_namespace(cluster: Cluster, name: str, *, level: str = "restricted") -> None:
    """Make it, and return once Pods can be made in it."""
    labels = {"pod-security.kubernetes.io/enforce": level, "peitho/chaincode": "true"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    )
    # Pods need the account that a controller makes.
    wait = ["wait", "--for=create", f"--timeout={_ACCOUNT_SECONDS:g}s", "serviceaccount/default"]
    cluster.run_kubectl("-n", name, *wait)


def shipped(file: str, *, peitho: str, chaincode: str, **others: str) -> list[dict[str, Any]]:
    """What is in a file of deploy/, with other namespaces for Peitho, its Pods and others."""
    names = {"peitho": peitho, "peitho-chaincode": chaincode} | others
    found = yaml.safe_load_all((PROJECT / "deploy" / file).read_text())
    return [_placed(each, names) for each in found]


def _placed(manifest: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A manifest with other namespaces wherever it names one."""
    placed: dict[str, Any] = _with_names(manifest, names)
    if placed["kind"] == "Namespace":
        name = placed["metadata"]["name"]
        placed["metadata"]["name"] = names.get(name, name)
    return placed


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_names(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: names.get(each, each) if key in _NAMING else _with_names(each, names)
        for key, each in value.items()
    }


def account_kubeconfig(cluster: Cluster, name: str, folder: Path, api_server: str = "") -> Path:
    """A kubeconfig with the rights of Peitho's own account, and no others."""
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    files = ("peitho.yaml", "chaincode.yaml")
    objects = [each for file in files for each in shipped(file, peitho=name, chaincode=name)]
    cluster.apply(*(each for each in objects if each["kind"] in kinds))
    view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]
    config = json.loads(cluster.run_kubectl(*view))
    token = cluster.run_kubectl("-n", name, "create", "token", "peitho", "--duration=6h").strip()
    config["users"] = [{"name": "peitho", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "peitho"
    if api_server:
        config["clusters"][0]["cluster"] = {"server": api_server}
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def _free_port(host: str) -> int:
    while True:
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with suppress(OSError), socket.create_server((host, port)):
            if port not in _given_ports:
                _given_ports.add(port)
                return port


async def main() -> None:
    """`python -m tests.lab.peitho [PORT]`: a Peitho to try things with, until Ctrl-C."""
    from tests.lab import cluster as lab  # noqa: PLC0415

    cluster = lab.up()
    images.ensure()
    images.ensure_peitho()
    folder = CACHE / "try"
    folder.mkdir(parents=True, exist_ok=True)
    make_namespace(cluster, "try")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    async with Peitho.start(cluster, "try", folder, port=port) as peitho:
        print(f"export DOCKER_HOST=tcp://127.0.0.1:{port}   # log: {peitho.log}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
