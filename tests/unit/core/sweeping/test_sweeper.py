"""Sweeps of a Peitho as it is put together, before a double of the API server."""

import asyncio
import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing

from peitho.api.services import Services
from peitho.clients.disk.build_cache import BuildCache, KeptBuild
from peitho.core.images.usage import ImageUsage
from peitho.core.sweeping import sweeper
from peitho.errors import PeithoError
from peitho.formats.images import image_record
from peitho.formats.kubernetes import record_secrets
from peitho.formats.records import Exit
from peitho.settings.models import Settings
from tests.support import typed
from tests.support.contexts import chunks, context, package
from tests.support.in_process import composed
from tests.support.kubernetes_double import always, answer, refusal, watch
from tests.support.measured import sample
from tests.support.observe import until
from tests.support.sweeps import (
    FAILED,
    LONG_AGO,
    created,
    found,
    free_port,
    orphans,
    peitho,
    runs,
    started,
)


class TestChaincode:
    async def test_what_is_over_goes_with_secret_and_job(self, tmp_path: Path) -> None:
        """
        What starts or has just ended stays; each removal is told in the log, with its reason.
        """
        note = record_secrets.exit_note(Exit(1), finished_at=LONG_AGO)
        async with peitho(tmp_path) as (services, cluster):
            started(cluster, await created(services, cluster, "ended", exit=note))
            started(cluster, await created(services, cluster, "failed"), FAILED)
            await created(services, cluster, "forgotten", created=LONG_AGO)
            started(cluster, await created(services, cluster, "starting", created=LONG_AGO))
            await created(services, cluster, "new")

            with structlog.testing.capture_logs() as logs:
                swept = await found(services, dry_run=False)

            assert {"ended", "failed", "forgotten"} == {name for _, name, _ in swept}
            left = sorted("-".join(path.split("-")[:2]) for path in cluster.objects)
            assert ["jobs/cc-starting", "secrets/cc-new", "secrets/cc-starting"] == left
            assert swept == [
                (each["kind"], each["name"], each["why"])
                for each in logs
                if (each["event"], each.get("dry_run")) == ("swept", False)
            ]
            assert [] == await found(services)

    async def test_a_dry_run_tells_the_same_and_removes_nothing(self, tmp_path: Path) -> None:
        """
        In the cluster, in the store, and among the kept builds.
        """
        async with peitho(tmp_path, images={"limitBytes": 1}) as (services, cluster):
            started(cluster, await created(services, cluster, "failed"), FAILED)
            await services.images.build("unused", chunks(context()))
            kept(tmp_path, "a" * 64, age=10**7)
            asked = len(cluster.requests)

            told = await found(services)

            assert ["chaincode", "image", "kept build"] == [kind for kind, _, _ in told]
            assert {method for method, *_ in cluster.requests[asked:]} <= {"GET", "WATCH"}
            assert {"failed", "unused"} == {image.name for image in services.images.list()}
            assert (["a" * 64], 2) == (builds(tmp_path), len(cluster.objects))
            assert [each[:2] for each in told] == [
                each[:2] for each in await found(services, dry_run=False)
            ]
            assert ([], []) == (builds(tmp_path), list(cluster.objects))

    async def test_an_orphan_is_ended(self, tmp_path: Path) -> None:
        """
        Its Job first, so that no Pod comes any more, then its Pod, and then its record.
        """
        async with peitho(tmp_path, sweeper={"orphanAfter": 1e-9}) as (services, cluster):
            cluster.script("POST", "events", always(lambda: answer({})))
            secret = await created(services, cluster, "orphan", peer="peer0.invalid:7052")
            started(cluster, secret)
            pod = runs(cluster, secret)

            async with asyncio.TaskGroup() as group:
                sweep = group.create_task(found(services, dry_run=False))
                await cluster.until_asked("DELETE", f"pods/{pod['metadata']['name']}")
                await cluster.news.put({"type": "DELETED", "object": pod})

            assert [("chaincode", "orphan")] == [each[:2] for each in sweep.result()]
            assert {} == cluster.objects
            assert ["jobs", "pods", "secrets"] == [
                path.split("/")[0] for method, path, *_ in cluster.requests if method == "DELETE"
            ][:3]


class TestPeers:
    async def test_one_that_listens_is_there_and_one_that_refuses_is_not(
        self, tmp_path: Path
    ) -> None:
        """
        By the address that is in the chaincode's command; one that is waited for stays.
        """
        async with peitho(tmp_path, sweeper={"orphanAfter": 1e-9}) as (services, cluster):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                closed = free_port()
                secrets = {}
                for name, at in (("reached", port), ("refused", closed), ("waited", closed)):
                    peer = f"127.0.0.1:{at}"
                    secrets[name] = await created(services, cluster, name, peer=peer)
                    runs(cluster, secrets[name])
                waited = await services.containers.get("waited")
                started(cluster, secrets["waited"])

                async with asyncio.TaskGroup() as group:
                    wait = group.create_task(waited.wait())
                    await asyncio.sleep(0)
                    swept = await orphans(services)
                    wait.cancel()

            assert ["refused"] == swept

    async def test_it_is_remembered_since_when_it_has_refused(self, tmp_path: Path) -> None:
        """
        And forgotten when it answers again.
        """
        port = free_port()
        async with peitho(tmp_path, sweeper={"orphanAfter": 0.1}) as (services, cluster):
            runs(cluster, await created(services, cluster, "mycc", peer=f"127.0.0.1:{port}"))

            assert [] == await orphans(services)
            await asyncio.sleep(0.1)
            assert ["mycc"] == await orphans(services)
            with socket.create_server(("127.0.0.1", port)):
                assert [] == await orphans(services)
            assert [] == await orphans(services)

    async def test_one_whose_chaincode_is_gone_is_forgotten(self, tmp_path: Path) -> None:
        """
        Chaincode that comes later has all the time.
        """
        peer = f"127.0.0.1:{free_port()}"
        async with peitho(tmp_path, sweeper={"orphanAfter": 0.1}) as (services, cluster):
            runs(cluster, await created(services, cluster, "first", peer=peer))
            assert [] == await orphans(services)
            cluster.objects.clear()
            assert [] == await orphans(services)
            await asyncio.sleep(0.1)
            runs(cluster, await created(services, cluster, "second", peer=peer))

            assert [] == await orphans(services)

    async def test_a_host_that_the_dns_lacks_is_found_where_the_operator_says(
        self, tmp_path: Path
    ) -> None:
        """
        As the chaincode itself finds it.
        """
        aliases = {"dns": ["127.0.0.1:peer0.invalid"]}
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            orphans_at_once = {"orphanAfter": 1e-9}
            async with peitho(tmp_path, k8s=aliases, sweeper=orphans_at_once) as parts:
                services, cluster = parts
                for name in ("peer0", "peer1"):
                    peer = f"{name}.invalid:{port}"
                    runs(cluster, await created(services, cluster, f"of-{name}", peer=peer))

                assert ["of-peer1"] == await orphans(services)

    @pytest.mark.parametrize(
        "peer",
        ["a..b:7052", f"{'x' * 64}:7052", "127.0.0.1:99999", f"a:{'9' * 5000}"],
        ids=["empty label", "long label", "no such port", "long port"],
    )
    async def test_an_address_that_can_be_none_spoils_no_sweep(
        self, tmp_path: Path, peer: str
    ) -> None:
        """
        It is a peer's word; the others' chaincode is swept all the same.
        """
        async with peitho(tmp_path) as (services, cluster):
            runs(cluster, await created(services, cluster, "odd", peer=peer))
            await created(services, cluster, "forgotten", created=LONG_AGO)

            assert ["forgotten"] == await orphans(services)

    async def test_a_host_of_a_template_is_found_where_the_pod_looks(self, tmp_path: Path) -> None:
        """
        Its hosts file comes before the operator's settings, and both before the DNS.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            async with peitho(tmp_path, sweeper={"orphanAfter": 1e-9}) as (services, cluster):
                for name, address in (("reached", "127.0.0.1"), ("refused", "127.0.0.2")):
                    peer = f"peer0.invalid:{port}"
                    pod = runs(cluster, await created(services, cluster, name, peer=peer))
                    aliases = [{"ip": address, "hostnames": ["peer0.invalid"]}]
                    pod["spec"] = {"hostAliases": aliases}

                assert ["refused"] == await orphans(services)


class TestWhatCannotBeRemoved:
    async def test_it_keeps_nothing_else_there(self, tmp_path: Path) -> None:
        """
        It is told with its cause, counted, and tried again ever more seldom.
        """
        stays = always(lambda: refusal(422, "Invalid", "a finalizer"))
        async with peitho(tmp_path) as (services, cluster):
            for name in ("first", "second", "third"):
                await created(services, cluster, name, created=LONG_AGO)
            (path,) = [path for path in cluster.objects if "first" in path]
            cluster.rule("DELETE", path, stays)
            before = errors()

            swept = await services.sweeper.sweep(dry_run=False)
            again = await services.sweeper.sweep(dry_run=False)

        assert {"first": "a finalizer", "second": "", "third": ""} == {
            each.name: each.failure for each in swept
        }
        assert [path] == list(cluster.objects)
        assert ["first"] == [each.name for each in again]
        assert (1, before + 1) == (cluster.count("DELETE", path), errors())

    async def test_a_damaged_annotation_spoils_no_sweep(self, tmp_path: Path) -> None:
        """
        Whoever can write to the namespace can write anything there.
        """
        odd = {
            "peer-address": "peer0:http",
            "image": "%% no/image::",
            "exit": '{"at": "0001-01-01T00:00:00", "code": 1, "reason": []}',
        }
        async with peitho(tmp_path) as (services, cluster):
            for key, value in odd.items():
                secret = await created(services, cluster, f"odd-{key}")
                runs(cluster, secret)
                secret["metadata"]["annotations"][f"peitho/{key}"] = value
            await created(services, cluster, "forgotten", created=LONG_AGO)

            assert ["forgotten"] == await orphans(services)
            assert 3 == len(await services.containers.list())

    async def test_old_builds_go_while_the_cluster_is_away(self, tmp_path: Path) -> None:
        """
        They are on the disk, and a full disk waits for nobody.
        """
        async with peitho(tmp_path, builder={"cache": {"maxAgeSeconds": 100}}) as parts:
            services, cluster = parts
            kept(tmp_path, "a" * 64, age=110, used=0)
            away = always(lambda: refusal(503, "ServiceUnavailable", "starting"))
            cluster.rule("GET", "secrets", away)

            with pytest.raises(PeithoError):
                await services.sweeper.sweep(dry_run=False)

            assert [] == builds(tmp_path)


class TestImages:
    async def test_past_the_limit_those_go_that_no_container_has(self, tmp_path: Path) -> None:
        """
        Layer and record.
        """
        async with peitho(tmp_path, images={"limitBytes": 1}) as (services, cluster):
            await created(services, cluster, "launched")
            other = chunks(context(binpackage=package(b"other")))
            layer = (await services.images.build("unused", other)).image.layer

            swept = await found(services, dry_run=False)

            assert [("image", "unused", "the store holds more than 1 bytes")] == swept
            assert ["launched"] == [image.name for image in services.images.list()]
            assert services.storage.blob(layer) is None

    async def test_one_goes_whose_peer_was_not_seen_for_long(self, tmp_path: Path) -> None:
        """
        An open request of the peer keeps it, used or not.
        """
        used = {name: (f"peer of {name}", time.time() - 200) for name in ("lost", "kept")}
        async with peitho(tmp_path) as (services, _):
            for name in ("lost", "kept", "new"):
                await services.images.build(name, chunks(context()))
            noted = {"kept": {"since": 0, "until": time.time()}, "images": used}
            services.storage.save_file("usage.json", json.dumps(noted).encode())

        async with peitho(tmp_path, images={"retention": 100}) as (services, _):
            with services.usage.serving("peer of kept"):
                swept = await found(services)

            assert ["lost"] == [name for _, name, _ in swept]

    @pytest.mark.parametrize("content", [None, b"{", b'{"images": {}}'])
    async def test_none_goes_whose_use_is_unknown(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        """
        However old it is: its peer may have used it each day, as far as is known.
        """
        async with peitho(tmp_path) as (services, _):
            image = (await services.images.build("mycc", chunks(context()))).image
            old = replace(image, created=LONG_AGO)
            services.storage.save_image("mycc", image_record.to_json(old))
            if content:
                services.storage.save_file("usage.json", content)

        async with peitho(tmp_path) as (services, _):
            assert [LONG_AGO] == [each.created for each in services.images.list()]
            assert [] == await found(services)

    async def test_a_store_that_is_nearly_full_is_told(self, tmp_path: Path) -> None:
        """
        Before anything goes for it.
        """
        async with peitho(tmp_path) as (services, _):
            size = (await services.images.build("mycc", chunks(context()))).image.layer_bytes
            assert "images are near their limit" not in await warnings(services)
        async with peitho(tmp_path, images={"limitBytes": size + 1}) as (services, _):
            assert "images are near their limit" in await warnings(services)

    async def test_a_clock_that_is_set_makes_no_image_old(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Nor a kept build, nor a container that waits for its start.
        """
        year = 365 * 86400
        async with peitho(tmp_path) as (services, cluster):
            await services.images.build("mycc", chunks(context()))
            await created(services, cluster, "young")
            kept(tmp_path, "a" * 64, age=0, used=0)
            real = time.time
            for jump in (year, -year):
                monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
                assert [] == await found(services)
            monkeypatch.setattr(time, "time", lambda: real() + year)
            await services.sweeper.keep_usage()

        async with peitho(tmp_path) as (services, _):
            assert [] == [name for kind, name, _ in await found(services) if kind == "image"]


class TestKeptBuilds:
    async def test_an_old_one_goes(self, tmp_path: Path) -> None:
        """
        However lately it was used: a builder image's tag may have moved.
        """
        async with peitho(tmp_path, builder={"cache": {"maxAgeSeconds": 100}}) as (services, _):
            kept(tmp_path, "a" * 64, age=90, used=90)
            kept(tmp_path, "b" * 64, age=110, used=0)

            swept = await found(services, dry_run=False)

            assert [("kept build", "b" * 12)] == [each[:2] for each in swept]
            assert ["a" * 64] == builds(tmp_path)

    async def test_past_the_limit_the_least_recently_used_go(self, tmp_path: Path) -> None:
        """
        As many as it takes.
        """
        async with peitho(tmp_path, builder={"cache": {"limitBytes": 3500}}) as (services, _):
            for key, used in (("a", 30), ("b", 10), ("c", 40), ("d", 20)):
                kept(tmp_path, key * 64, age=60, used=used)

            swept = await found(services, dry_run=False)

            why = "the cache holds more than 3500 bytes"
            assert [("kept build", key * 12, why) for key in "ca"] == swept
            assert ["b" * 64, "d" * 64] == builds(tmp_path)


class TestTheDataDirectory:
    @pytest.mark.parametrize(("part", "expected"), [(0.0, True), (1.0, False)])
    async def test_it_is_told_once_it_is_nearly_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: float, *, expected: bool
    ) -> None:
        """
        At each sweep, and not before.
        """
        monkeypatch.setattr(sweeper, "_NEARLY_FULL", part)
        async with peitho(tmp_path) as (services, _):
            assert expected == ("data directory is nearly full" in await warnings(services))


class TestForEver:
    async def test_a_sweep_that_goes_wrong_is_told_and_tried_again(self, tmp_path: Path) -> None:
        """
        And the use of the images that there are is written down before each.
        """
        async with peitho(tmp_path, sweeper={"interval": 0.01}) as (services, cluster):
            secret = await created(services, cluster, "forgotten", created=LONG_AGO)
            services.usage.touch("forgotten", "10.0.0.1")
            services.usage.touch("elsewhere", "10.0.0.1")
            broken = always(lambda: refusal(503, "ServiceUnavailable", "starting"))
            job = f"jobs/{typed.job_name(secret)}"
            cluster.script("GET", job, *[broken] * 6, *[watch(dies=True)] * 4)

            with structlog.testing.capture_logs() as logs:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(services.sweeper.run())
                    # Chaincode's Secrets at each sweep, builds' after it: the fourth has begun.
                    await cluster.until_asked("GET", "secrets", times=7)
                    task.cancel()
            saved = services.storage.read_file("usage.json") or b""

        assert {} == cluster.objects
        assert ["forgotten"] == list(json.loads(saved)["images"])
        causes = [each["cause"] for each in logs if each["event"] == "sweep interrupted"]
        assert ["starting", "The Kubernetes API cannot be reached"] == [
            cause.partition(":")[0] for cause in causes
        ]

    async def test_other_options_are_followed_at_once(self, tmp_path: Path) -> None:
        """
        However long the next sweep was to be waited for; and none is made while that is off.
        """
        hourly = {"interval": 3600, "enable": False}
        one, other = (
            Settings.model_validate({"dataDir": tmp_path / "data", "sweeper": each})
            for each in (hourly, hourly | {"enable": True})
        )
        async with (
            composed(tmp_path, one) as (parts, cluster),
            asyncio.TaskGroup() as group,
        ):
            services = parts.services
            cluster.refuse_to_tell_of_secrets()
            await created(services, cluster, "forgotten", created=LONG_AGO)
            task = group.create_task(services.sweeper.run())
            await asyncio.sleep(0.05)
            assert ["forgotten"] == await orphans(services)

            parts.shared.follow(other)
            await until(lambda: "forgotten" not in str(cluster.objects))
            task.cancel()

    async def test_while_it_is_off_the_use_of_images_is_kept(self, tmp_path: Path) -> None:
        """
        Once it is on again, or for one sweep by hand, no image goes that a peer used meanwhile.
        """
        off = {"interval": 0.01, "enable": False}
        async with (
            peitho(tmp_path, sweeper=off) as (services, cluster),
            asyncio.TaskGroup() as group,
        ):
            await created(services, cluster, "mycc")
            services.usage.touch("mycc", "10.0.0.1")
            task = group.create_task(services.sweeper.run())
            await until(lambda: services.storage.read_file("usage.json") is not None)
            task.cancel()

            used = ImageUsage(services.storage).used_at("mycc", default=0)
            assert services.usage.used_at("mycc", default=0) == used > 0


async def warnings(services: Services) -> set[str]:
    """What a sweep warns of."""
    with structlog.testing.capture_logs() as logs:
        assert [] == await found(services)
    return {each["event"] for each in logs if each["log_level"] == "warning"}


def kept(tmp_path: Path, key: str, *, age: float, used: float = 0) -> None:
    """A build that was kept, and last used, so many seconds ago; about 1350 bytes."""
    run = tmp_path / f"run-{key[:4]}"
    run.mkdir()
    (run / "log").write_bytes(b"said")
    (run / "result").write_bytes(bytes(1000))
    build = KeptBuild("d" * 64, "amd64", "ccenv", seconds=1.0, kept_at=time.time() - age)
    BuildCache(tmp_path / "data/builds").keep(key, build, run)
    moment = time.time() - used
    os.utime(tmp_path / "data/builds" / key / "about.json", (moment, moment))


def builds(tmp_path: Path) -> list[str]:
    """The keys of the builds that are kept."""
    return [each.key for each in BuildCache(tmp_path / "data/builds").entries()]


def errors() -> float:
    """How many containers a sweep could not remove so far."""
    return sample("peitho_sweep_errors_total", kind="chaincode")
