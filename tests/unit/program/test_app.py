"""Peitho from its start to its end, before a double of the API server."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog.testing
from structlog.typing import EventDict

from peitho import metrics
from peitho.api.listeners import CannotListen
from peitho.clients.disk.storage import Storage
from peitho.errors import Conflict, NotFound, StorageUnusable, Unavailable
from peitho.formats.kubernetes import labels
from peitho.formats.records import BUILD, CHAINCODE
from peitho.operators import inside
from peitho.program import app
from peitho.settings.loading import SettingsSource
from tests.support import go_peitho
from tests.support.docker_double import Dockerd
from tests.support.kubernetes_double import ApiServer, always, refusal
from tests.support.measured import sample
from tests.support.observe import until
from tests.support.proxy_double import proxying
from tests.support.tls_wire import client

LISTENERS = {f"server.{name}": "127.0.0.1:0" for name in ("api", "delivery", "operations")}
REGISTRY = {
    "docker.registry.server-address": "registry.example:5000",
    "docker.registry.username": "robot",
}


def flags(tmp_path: Path, cluster: ApiServer, **more: Any) -> dict[str, Any]:
    """What the program is started with."""
    place = {"dataDir": str(tmp_path / "data"), "k8s.kubeconfig": str(cluster.kubeconfig(tmp_path))}
    return {**LISTENERS, **place, **more}


@asynccontextmanager
async def serving(source: SettingsSource) -> AsyncIterator[list[EventDict]]:
    """A Peitho that serves, and is told to stop in the end; what it logs."""
    with structlog.testing.capture_logs() as told:
        async with asyncio.TaskGroup() as group:
            group.create_task(app.serve(source, source.load()))
            await until(lambda: "peitho started" in [each["event"] for each in told])
            yield told
            signal.raise_signal(signal.SIGTERM)
    # The program's end is that of its process; this one goes on.
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(each)
    assert "peitho stopping" in [each["event"] for each in told]


def asked_for(cluster: ApiServer, kind: str) -> int:
    """How often the records of a kind were looked at."""
    wanted = labels.kind_labels("peitho", kind).items()
    return sum(
        (method, path) == ("GET", "secrets")
        and wanted <= {tuple(pair.split("=")) for pair in query["labelSelector"].split(",")}
        for method, path, query, _ in cluster.requests
    )


async def test_all_that_goes_on_beside_requests_is_started(tmp_path: Path) -> None:
    """
    And it ends at a signal, with the use of images written down.
    """
    file = tmp_path / "peitho.yml"
    file.write_text("log: {level: info}\n")
    async with ApiServer.start() as cluster:
        source = SettingsSource(file, flags(tmp_path, cluster, **REGISTRY), {})
        async with serving(source):
            await cluster.until_asked("WATCH", "pods")
            # What all parts know of records, and those builds that an earlier run left.
            await until(lambda: asked_for(cluster, CHAINCODE) >= 1)
            await until(lambda: asked_for(cluster, BUILD) >= 1)
            await until(lambda: "secrets/peitho-registry" in cluster.objects)

    assert (tmp_path / "data/usage.json").exists()


async def test_with_a_daemon_the_pods_of_builds_before_it_are_cleared(tmp_path: Path) -> None:
    """
    Beside what is left in the daemon.
    """
    async with (
        Dockerd.start(tmp_path) as daemon,
        ApiServer.start() as cluster,
    ):
        source = SettingsSource(
            None, flags(tmp_path, cluster, **{"docker.endpoint": daemon.endpoint}), {}
        )
        async with serving(source):
            await until(lambda: asked_for(cluster, BUILD) >= 1)


async def test_a_start_drops_what_an_earlier_run_left_half_written(tmp_path: Path) -> None:
    """
    Uploads in flight, and builds that were being kept.
    """
    Storage.open(tmp_path / "data").make_spool_directory("left-")
    aside = tmp_path / "data/builds/.aside/left"
    aside.mkdir(parents=True)
    async with (
        ApiServer.start() as cluster,
        serving(SettingsSource(None, flags(tmp_path, cluster), {})),
    ):
        pass

    assert ([], []) == (list((tmp_path / "data/spool").iterdir()), list(aside.parent.iterdir()))


async def test_a_sweep_by_hand_drops_nothing_that_is_being_written(tmp_path: Path) -> None:
    """
    A Peitho may be running beside it.
    """
    upload = Storage.open(tmp_path / "data").make_spool_directory("upload-")
    aside = tmp_path / "data/builds/.aside/kept"
    aside.mkdir(parents=True)
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, flags(tmp_path, cluster, **REGISTRY), {})
        assert [] == await app.sweep(source.load().settings, dry_run=False)

    assert upload.exists()
    assert aside.exists()
    assert {method for method, *_ in cluster.requests} <= {"GET", "WATCH"}


async def test_a_dry_sweep_changes_nothing(tmp_path: Path) -> None:
    """
    Neither on the disk, where damaged files stay, nor in the cluster.
    """
    Storage.open(tmp_path / "data")
    for name in ("images/odd.json", "usage.json"):
        (tmp_path / "data" / name).write_bytes(b"damaged")
    (tmp_path / "data/builds" / ("a" * 64)).mkdir(parents=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, flags(tmp_path, cluster), {})
        await app.sweep(source.load().settings, dry_run=True)

    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert {"GET", "WATCH"} >= {method for method, *_ in cluster.requests}


async def test_a_sweep_by_hand_wants_a_data_directory_of_a_peitho(tmp_path: Path) -> None:
    """
    Where there is none, it makes none.
    """
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, flags(tmp_path, cluster), {})
        with pytest.raises(NotFound, match="No Peitho keeps its data in"):
            await app.sweep(source.load().settings, dry_run=False)

    assert not (tmp_path / "data").exists()


def tenants_file(tmp_path: Path, folder: Path, names: Iterable[str]) -> Path:
    """A settings file with tenants, each in a namespace of its own."""
    tls = {"cert-file": "apiserver.crt", "key-file": "apiserver.key", "client-ca-file": "ca.crt"}
    tenants = {
        name: {
            "match": [{"o": name}],
            "msp-ids": [f"{name}MSP"],
            "networks": ["lab"],
            "peers": [f"*.{name}"],
            "namespace": f"{name}-ns",
        }
        for name in names
    }
    tree = {
        "server": {"tls": {key: str(folder / file) for key, file in tls.items()}},
        "access": {"tenants": tenants},
    }
    file = tmp_path / "peitho.yml"
    file.write_text(json.dumps(tree))
    return file


async def test_fifty_tenants_are_served_with_few_requests(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Each is listed and watched in its namespace, and has a directory and a key of its own.
    """
    names = [f"org{number}" for number in range(50)]
    file = tenants_file(tmp_path, certificates / "ours", names)
    async with ApiServer.start() as cluster:
        async with serving(SettingsSource(file, flags(tmp_path, cluster), {})):
            for name in names:
                await cluster.until_asked("WATCH", f"{name}-ns:pods")
        requests = [(method, kind) for method, kind, *_ in cluster.requests]
    assert 12 * len(names) > len(requests)
    keys = {path.read_bytes() for path in (tmp_path / "data").glob("**/delivery.key")}
    assert 51 == len(keys)


async def test_a_sweep_by_hand_is_of_all_tenants(tmp_path: Path, certificates: Path) -> None:
    """
    Of those that were served; one whose namespace does not answer keeps no other from it.
    """
    for place in ("", "tenants/org1", "tenants/org2"):
        directory = tmp_path / "data" / place
        Storage.open(directory)
        (directory / "builds" / ("a" * 64)).mkdir(parents=True)
        os.utime(directory / "builds" / ("a" * 64), (0, 0))
    file = tenants_file(tmp_path, certificates / "ours", ["org1", "org2", "org3"])
    async with ApiServer.start() as cluster:
        cluster.rule("GET", "org1-ns:pods", always(lambda: refusal(403, "Forbidden", "no right")))
        settings = SettingsSource(file, flags(tmp_path, cluster), {}).load().settings
        found = await app.sweep(settings, dry_run=True)

    assert [("default", "kept build", ""), ("org2", "kept build", "")] == [
        (each.tenant, each.kind, each.failure) for each in found if each.kind != "sweep"
    ]
    (failed,) = (each for each in found if each.kind == "sweep")
    assert ("org1", True) == (failed.tenant, "cannot be reached" in failed.failure)
    assert not (tmp_path / "data/tenants/org3").exists()


def in_flight(tmp_path: Path) -> list[Path]:
    """What a Peitho is writing: an upload, and a build that is being kept."""
    upload = Storage.open(tmp_path / "data").make_spool_directory("upload-")
    aside = tmp_path / "data/builds/.aside/kept"
    aside.mkdir(parents=True)
    return [upload, aside]


async def test_a_second_start_on_the_same_data_directory_touches_nothing(tmp_path: Path) -> None:
    """
    It says who serves there, before it has asked the cluster for anything.
    """
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, flags(tmp_path, cluster), {})
        async with serving(source):
            await cluster.until_asked("WATCH", "pods")
            written = in_flight(tmp_path)
            asked = len(cluster.requests)
            with pytest.raises(Conflict, match="Another Peitho serves from"):
                await app.serve(source, source.load())

            assert all(path.exists() for path in written)
            told = cluster.requests[asked:]
    assert {"GET", "WATCH"} >= {method for method, *_ in told}


async def test_a_start_whose_address_is_in_use_touches_nothing(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    """
    Whoever has the address may be at work: no build of it is ended, no file of it removed.
    """
    written = in_flight(tmp_path)
    taken = {"server.operations": f"127.0.0.1:{unused_tcp_port}"}
    async with (
        ApiServer.start() as cluster,
        await asyncio.start_server(lambda *_: None, "127.0.0.1", unused_tcp_port),
    ):
        source = SettingsSource(None, {**flags(tmp_path, cluster), **taken}, {})
        with pytest.raises(CannotListen, match=f"Cannot listen at 127.*:{unused_tcp_port}: "):
            await app.serve(source, source.load())

        assert all(path.exists() for path in written)
        assert 0 == asked_for(cluster, BUILD) + asked_for(cluster, CHAINCODE)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("delivery.key", b"", "it has 0 bytes instead of 32"),
        ("delivery.key", b"k" * 31, "it has 31 bytes instead of 32"),
        ("delivery-ca.json", b"", "it is not whole"),
        ("delivery-ca.json", b'{"certificate": "", "key": ""}', "it is not whole"),
    ],
)
async def test_what_delivery_relies_on_ends_the_start_if_it_is_damaged(
    tmp_path: Path, name: str, content: bytes, cause: str
) -> None:
    """
    Before anything is started, with what to do.
    """
    Storage.open(tmp_path / "data")
    (tmp_path / "data" / name).write_bytes(content)
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, flags(tmp_path, cluster), {})
        with pytest.raises(StorageUnusable, match=f"{name} is damaged, {cause}: take it from a ba"):
            await app.serve(source, source.load())


async def test_a_certificate_that_cannot_be_used_ends_the_start(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Before anything is started, with the names of the files.
    """
    tls = {
        "server.tls.cert-file": str(certificates / "ours/apiserver.crt"),
        "server.tls.key-file": str(certificates / "others/apiserver.key"),
    }
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, {**flags(tmp_path, cluster), **tls}, {})
        with pytest.raises(Unavailable, match=r"The TLS files of the Docker API .*: .*mismatch"):
            await app.serve(source, source.load())

    assert not (tmp_path / "data/images").exists()


async def test_the_operations_listener_speaks_tls_where_it_has_a_certificate(
    tmp_path: Path, certificates: Path, unused_tcp_port: int
) -> None:
    """
    One that cannot be used ends the start; a renewed one is shown to new connections.
    """
    ours, others = certificates / "ours", certificates / "others"
    files = {"cert-file": "apiserver.crt", "key-file": "apiserver.key", "client-ca-file": "ca.crt"}
    tls = {f"server.operationsTls.{key}": str(ours / name) for key, name in files.items()}
    place = {"server.operations": f"127.0.0.1:{unused_tcp_port}"}
    url = f"https://127.0.0.1:{unused_tcp_port}"
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, {**flags(tmp_path, cluster), **tls, **place}, {})
        async with serving(source), aiohttp.ClientSession(url) as http:
            async with http.get("/readyz?verbose", ssl=client(ours, named=False)) as response:
                lines = (await response.text()).splitlines()
            async with http.get("/metrics", ssl=client(ours, named=False)) as response:
                assert 403 == response.status
            async with http.get("/metrics", ssl=client(ours)) as response:
                assert 'expiry_timestamp_seconds{certificate="operations CA"}' in (
                    await response.text()
                )
            assert [] == await inside.builds(source.load().settings)
            for name in files.values():
                (ours / name).write_bytes((others / name).read_bytes())
            async with http.get("/livez", ssl=client(others, named=False)) as response:
                assert 200 == response.status
        (ours / "apiserver.key").write_bytes((ours / "ca.key").read_bytes())
        with pytest.raises(Unavailable, match=r"files of the operations listener .*: .*mismatch"):
            await app.serve(source, source.load())

    assert {"[+]operations certificate ok", "[+]operations CA certificate ok"} <= set(lines)


@pytest.mark.parametrize(
    ("address", "names", "is_told"),
    [
        ("127.0.0.1:0", (), False),
        ("[::1]:0", (), False),
        ("0.0.0.0:0", (), True),
        (":0", ("cert-file", "key-file"), True),
        (":0", ("cert-file", "key-file", "client-ca-file"), False),
    ],
)
async def test_an_api_for_whoever_comes_is_told(
    tmp_path: Path, certificates: Path, address: str, names: tuple[str, ...], *, is_told: bool
) -> None:
    """
    Where it is beyond this machine, and callers show no certificate.
    """
    files = {"cert-file": "apiserver.crt", "key-file": "apiserver.key", "client-ca-file": "ca.crt"}
    tls = {f"server.tls.{name}": str(certificates / "ours" / files[name]) for name in names}
    async with ApiServer.start() as cluster:
        source = SettingsSource(
            None, {**flags(tmp_path, cluster), **tls, "server.api": address}, {}
        )
        async with serving(source) as told:
            pass

    warnings = [event["event"] for event in told if event["log_level"] == "warning"]
    assert is_told == any("the docker api is open" in warning for warning in warnings)


async def test_peitho_starts_while_the_cluster_is_away(tmp_path: Path) -> None:
    """
    Its templates are checked when the cluster is back, and told as changed settings are.
    """
    template = {"chaincode.template": {"spec": {"priorityClassName": "none"}}}
    async with ApiServer.start() as cluster:
        away = always(lambda: refusal(503, "ServiceUnavailable", "starting"))
        for method, kind in (("GET", "pods"), ("GET", "secrets"), ("POST", "pods")):
            cluster.rule(method, kind, away)
        source = SettingsSource(None, flags(tmp_path, cluster, **template), {})
        metrics.SETTINGS_REFUSED.set(0)
        async with serving(source):
            cluster.rules.clear()
            no = always(lambda: refusal(422, "Invalid", "no such class"))
            cluster.script("POST", "pods", no)
            await until(lambda: sample("peitho_settings_refused") == 1)


async def test_one_that_cannot_be_adopted_keeps_no_other_from_it(tmp_path: Path) -> None:
    """
    It is told with its cause.
    """
    async with ApiServer.start() as cluster:
        for name in ("first", "second"):
            cluster.objects[f"deployments/{name}"] = go_peitho.deployment(name)
        no = always(lambda: refusal(422, "Invalid", "a webhook says no"))
        cluster.rule("PATCH", "deployments/first", no)
        source = SettingsSource(None, flags(tmp_path, cluster), {})

        adopted = [each async for each in app.adopt(source.load().settings, dry_run=False)]

        assert ["a webhook says no", ""] == [failure for _, failure in adopted]
        assert 0 == cluster.objects["deployments/second"]["spec"]["replicas"]


async def test_the_cluster_is_reached_through_the_proxy_of_the_environment(tmp_path: Path) -> None:
    """
    As kubectl would reach it.
    """
    async with (
        ApiServer.start() as cluster,
        proxying(cluster.url.removeprefix("http://")) as proxy,
    ):
        cluster.url = "http://cluster.example"
        place = flags(tmp_path, cluster)
        async with serving(SettingsSource(None, place, {"HTTP_PROXY": proxy.url})):
            await cluster.until_asked("WATCH", "pods")

    assert proxy.asked
    assert all(each.startswith("http://cluster.example/api") for each in proxy.asked)


async def test_what_is_written_is_its_owners_alone(tmp_path: Path) -> None:
    """
    Folders too, whatever the process may do by default.
    """
    before = os.umask(0o002)
    try:
        async with (
            ApiServer.start() as cluster,
            serving(SettingsSource(None, flags(tmp_path, cluster), {})),
        ):
            pass
        data = tmp_path / "data"
        made = {path: path.stat().st_mode & 0o077 for path in (data, *data.rglob("*"))}
        assert len(made) > 5
        assert {} == {path: mode for path, mode in made.items() if mode}
    finally:
        assert 0o002 == os.umask(before)


async def test_the_audit_trail_is_kept_where_it_is_set(tmp_path: Path) -> None:
    """
    From the start to the stop; a sweep by hand adds to it, and one that only looks does not.
    """
    path = tmp_path / "audit.jsonl"
    async with ApiServer.start() as cluster:
        source = SettingsSource(None, {**flags(tmp_path, cluster), "audit.file": str(path)}, {})
        async with serving(source):
            pass
        before = path.read_bytes()
        await app.sweep(source.load().settings, dry_run=True)

    events = [json.loads(line)["event"] for line in before.splitlines()]
    assert ["peitho started", "peitho stopping"] == events
    assert before == path.read_bytes()
