"""
That a Peitho follows all settings that need no restart, in each part that they are for.

Whole builds and launches after a change are told by tests/journeys.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from peitho.core.images import pull_secret
from peitho.errors import InvalidArgument, PeithoError
from peitho.formats.images import oci
from peitho.formats.records import ContainerSpec
from peitho.program import options
from peitho.settings import changes, loading
from peitho.settings.live import Replaceable
from peitho.settings.models import Settings
from tests.support import pull_secrets as secrets
from tests.support import registry_content as content
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, context
from tests.support.docker_double import Dockerd
from tests.support.in_process import composed
from tests.support.registry_double import USER, RegistryDouble, normally, says

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
NAMED = {"cert-file": "/c", "key-file": "/k", "client-ca-file": "/ca"}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}}
# What the parts read of the settings.
VIEWS: Mapping[str, Callable[[Settings], object]] = {
    "allowed_images": options.allowed_images,
    "archive_limits": options.archive_limits,
    "attestations": options.attestations,
    "build_containers": options.build_containers,
    "build_pool": options.build_pool,
    "chaincode": options.chaincode,
    "chaincode_pods": options.chaincode_pods,
    "daemon_backend": partial(options.daemon_backend, namespace="ns"),
    "daemon_images": options.daemon_images,
    "page_access": options.page_access,
    "parallel_builds": options.parallel_builds,
    "pod_backend": options.pod_backend,
    "prebuilt": options.prebuilt,
    "pull_secret": options.pull_secret,
    "registry_account": options.registry_account,
    "registry_publisher": options.registry_publisher,
    "sweeper": options.sweeper,
}
# Every setting that is followed, another value than in BASE, and the views that it is for.
FOLLOWED: Mapping[str, tuple[object, str]] = {
    "server.operationsTokenFile": ("/other", "page_access"),
    "server.operationsHosts": (["peitho.example.com"], "page_access"),
    "peitho.pullerAccessAddress": ("other:1", "chaincode_pods page_access pod_backend"),
    "peitho.pullerImage": ("other:1", "chaincode_pods pod_backend"),
    "k8s.dns": (["10.0.0.1:peer"], "chaincode_pods sweeper"),
    "images.rewrite": (
        {"*": "mirror/*"},
        (
            "allowed_images build_pool chaincode_pods daemon_images pod_backend prebuilt "
            "registry_publisher"
        ),
    ),
    "images.verify": (["/keys/cosign.pub"], "prebuilt"),
    "images.sign": ("/keys/peitho.key", "attestations build_pool"),
    "images.retention": (5, "sweeper"),
    "images.limitBytes": (5, "sweeper"),
    "docker.network": ("builds", "daemon_backend"),
    "docker.registry.email": ("a@b.c", "pull_secret"),
    "docker.registry.username": ("other", "registry_account"),
    "docker.registry.username-file": ("/other", "registry_account"),
    "docker.registry.password": ("other", "registry_account"),
    "docker.registry.password-file": ("/other", "registry_account"),
    "docker.registry.pull-secret": ("other", "chaincode_pods pod_backend pull_secret"),
    "sweeper.enable": (False, "sweeper"),
    "sweeper.interval": (5, "sweeper"),
    "sweeper.retention": (5, "sweeper"),
    "sweeper.orphanAfter": (5, "sweeper"),
    "builder.user": (5, "pod_backend"),
    "builder.users": ({"*": 5}, "pod_backend"),
    "builder.startTimeoutSeconds": (5, "daemon_backend pod_backend"),
    "builder.deadlineSeconds": (5, "daemon_backend pod_backend"),
    "builder.abandonedAfterSeconds": (5, "build_containers"),
    "builder.maxParallel": (5, "parallel_builds"),
    "builder.cache.compiler": (False, "build_pool"),
    "builder.cache.packages": (True, "build_pool"),
    "builder.cache.limitBytes": (5, "sweeper"),
    "builder.cache.maxAgeSeconds": (5, "sweeper"),
    "builder.resources.cpuRequest": ("5m", "pod_backend"),
    "builder.resources.cpuLimit": ("5m", "daemon_backend pod_backend"),
    "builder.resources.memoryRequest": ("5Mi", "pod_backend"),
    "builder.resources.memoryLimit": ("5Mi", "daemon_backend pod_backend"),
    "builder.template": (TEMPLATE, "build_pool pod_backend"),
    "chaincode.user": (5, "chaincode_pods"),
    "chaincode.users": ({"*": 5}, "chaincode_pods"),
    "chaincode.startTimeoutSeconds": (5, "chaincode sweeper"),
    "chaincode.settleSeconds": (5, "chaincode"),
    "chaincode.puller": ("beside", "chaincode_pods"),
    "chaincode.resources.cpuRequest": ("5m", "chaincode_pods"),
    "chaincode.resources.cpuLimit": ("5m", "chaincode_pods"),
    "chaincode.resources.memoryRequest": ("5Mi", "chaincode_pods"),
    "chaincode.resources.memoryLimit": ("5Mi", "chaincode_pods"),
    "chaincode.template": (TEMPLATE, "chaincode_pods"),
    "chaincode.overrides": (
        [{"match": {"label": "a*"}, "template": TEMPLATE}],
        "chaincode_pods",
    ),
    "access.images": (["a/*"], "allowed_images"),
    "limits.archiveEntries": (5, "archive_limits build_containers"),
    "limits.archiveBytes": (5, "archive_limits build_containers build_pool"),
    "limits.outputBytes": (5, "build_pool"),
}
# Those of the log are no part's: `logs` follows them. Of tenants a part is followed: see
# `tests/unit/settings/test_changes.py`.
ELSEWHERE = {"access.tenants", "log.level", "log.format", "log.enable-color"}
BASE: Mapping[str, Any] = {
    "peitho.imageMode": "registry",
    "docker.registry.server-address": "registry.example:5000",
    "docker.registry.username": "robot",
}


def settings(directory: Path, **keys: object) -> Settings:
    """Settings by dotted keys."""
    tree: dict[str, Any] = {"dataDir": directory / "data"}
    for key, value in {**BASE, **keys}.items():
        *above, last = key.split(".")
        below = tree
        for each in above:
            below = below.setdefault(each, {})
        below[last] = value
    return Settings.model_validate(tree, by_alias=True, by_name=False)


def test_every_setting_is_followed_or_needs_a_restart() -> None:
    """
    A new one is put into `changes.NEED_RESTART`, or into FOLLOWED above, which holds it to that.
    """
    without_restart = {*FOLLOWED, *ELSEWHERE, *loading.MEANINGLESS}

    assert changes.NEED_RESTART == {
        leaf.key for leaf in loading.setting_keys() if leaf.key not in without_restart
    }
    assert not changes.NEED_RESTART & without_restart


@pytest.mark.parametrize("key", FOLLOWED)
def test_a_setting_is_followed_by_those_that_it_is_for(tmp_path: Path, key: str) -> None:
    """
    What they read is another once the settings are, and nobody else's is.
    """
    value, wanted = FOLLOWED[key]
    base, other = settings(tmp_path), settings(tmp_path, **{key: value})
    change = changes.change(base, other)
    assert ((key,), ()) == (change.followed, change.waiting)

    live = Replaceable(base)
    views = {name: live.map(view) for name, view in VIEWS.items()}
    before = {name: view.now for name, view in views.items()}
    live.now = other

    assert wanted.split() == [name for name, view in views.items() if view.now != before[name]]


async def test_builds_asked_for_before_a_change_are_as_they_were(tmp_path: Path) -> None:
    """
    Also one that waits for its turn: an equal one that comes later does not join it.
    """
    one = settings(tmp_path, **{"builder.maxParallel": 1})
    other = settings(tmp_path, **{"builder.maxParallel": 5, "builder.template": TEMPLATE})
    async with composed(tmp_path, one) as (parts, cluster):
        builds = parts.services.builds
        made = [builds.create(SPEC, peer=peer) for peer in "abc"]
        await made[0].put_archive("/chaincode/input", chunks(archive_bytes([file("a", b"")])))
        for build in made[:2]:
            builds.tasks.spawn(build.start(), name="start")
        await cluster.until_asked("POST", "pods")

        parts.shared.follow(other)
        builds.tasks.spawn(made[2].start(), name="start")
        await cluster.until_asked("POST", "pods", times=3)

        labels = [
            cluster.objects[f"pods/{each.summary().kubernetes_name}"]["metadata"]["labels"]
            for each in made
        ]
        assert [None, None, "b"] == [each.get("a") for each in labels]
        for build in made:
            await build.remove()


async def test_uploads_are_limited_as_is_set_at_the_moment(tmp_path: Path) -> None:
    """
    Those of a build, and the context of an image.
    """
    archive = archive_bytes([file("a", b"")])
    async with composed(tmp_path, settings(tmp_path)) as (parts, _):
        build = parts.services.builds.create(SPEC)
        await build.put_archive("/chaincode/input", chunks(archive))

        parts.shared.follow(settings(tmp_path, **{"limits.archiveBytes": 5}))

        too_large = "the body is larger than 5 bytes"
        with pytest.raises(InvalidArgument, match=too_large):
            await build.put_archive("/chaincode/input", chunks(archive))
        with pytest.raises(InvalidArgument, match=too_large):
            await parts.services.images.build("mycc", chunks(context()))
        await build.remove()


async def test_a_build_that_is_given_up_after_a_change_goes_when_it_says(tmp_path: Path) -> None:
    """
    Its peer waits for it no more.
    """
    one = settings(tmp_path, **{"builder.abandonedAfterSeconds": 3600})
    other = settings(tmp_path, **{"builder.abandonedAfterSeconds": 0.01})
    async with composed(tmp_path, one) as (parts, cluster), asyncio.TaskGroup() as group:
        build = parts.services.builds.create(SPEC)
        start = group.create_task(build.start())
        await cluster.until_asked("POST", "pods")
        parts.shared.follow(other)
        start.cancel()
        await cluster.until_asked("DELETE", f"pods/{build.summary().kubernetes_name}")


async def test_chaincode_that_was_created_before_a_change_starts_by_it(tmp_path: Path) -> None:
    """
    Its Job is made of the template that there is then, and waited for as long as is said then.
    """
    mode = {"peitho.imageMode": "delivery"}
    one = settings(tmp_path, **mode)
    other = settings(
        tmp_path,
        **mode,
        **{"chaincode.template": TEMPLATE, "chaincode.startTimeoutSeconds": 0.01},
    )
    async with composed(tmp_path, one) as (parts, cluster):
        await parts.services.images.build("mycc", chunks(context()))
        spec = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=())
        made = await parts.services.containers.create("mycc-1", spec)

        parts.shared.follow(other)
        with pytest.raises(PeithoError, match=r"not started within 0\.01 s"):
            await made.start()

        (job,) = [json.loads(each[3]) for each in cluster.requests if each[:2] == ("POST", "jobs")]
        assert "b" == job["spec"]["template"]["metadata"]["labels"]["a"]


async def test_a_pull_secret_that_is_wanted_by_a_change_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    At its next round; until then the cluster is not asked.
    """
    monkeypatch.setattr(pull_secret, "_PAUSE_SECONDS", 0.01)
    one = settings(tmp_path, **{"docker.registry.pull-secret": ""})
    async with composed(tmp_path, one) as (parts, cluster):
        await asyncio.sleep(0.05)
        assert 0 == cluster.count("POST", "secrets")

        parts.shared.follow(settings(tmp_path))

        await cluster.until_asked("POST", "secrets")


async def test_a_daemon_pulls_what_is_set_at_the_moment(tmp_path: Path) -> None:
    """
    In place of what the peer names.
    """
    other = settings(tmp_path, **{"images.rewrite": {"fabric-ccenv": "mirror.local/ccenv"}})
    async with (
        Dockerd.start(tmp_path) as daemon,
        daemon.client() as docker,
        composed(tmp_path, settings(tmp_path), docker=docker) as (parts, _),
    ):
        await parts.services.base_images.pull("fabric-ccenv")
        parts.shared.follow(other)
        await parts.services.base_images.pull("fabric-ccenv")

        asked = [query["fromImage"] for query, _ in daemon.asked("POST", "/images/create")]
        assert ["docker.io/library/fabric-ccenv", "mirror.local/ccenv"] == asked


async def test_an_image_is_put_on_what_is_set_at_the_moment(tmp_path: Path) -> None:
    """
    The runtime image is looked for where a rewrite has it.
    """
    async with RegistryDouble.start() as double:
        registry = {
            "docker.registry.server-address": double.address,
            "docker.registry.insecure": True,
        }
        one, other = (
            settings(
                tmp_path,
                **registry,
                **{"images.rewrite": {"hyperledger/*": f"{double.address}/{place}/*"}},
            )
            for place in ("wrong", "hyperledger")
        )
        async with composed(tmp_path, one) as (parts, _):
            with pytest.raises(PeithoError, match="/wrong/fabric-baseos"):
                await parts.services.publisher.build("mycc", chunks(context()))
            parts.shared.follow(other)
            with pytest.raises(PeithoError, match="/hyperledger/fabric-baseos"):
                await parts.services.publisher.build("mycc", chunks(context()))


@pytest.mark.parametrize(
    ("server", "is_open"),
    [
        ({}, True),
        ({"api": "127.0.0.1:8080"}, False),
        ({"api": "127.0.0.1:8080", "operations": "127.0.0.1:9090"}, True),
        ({"operationsTokenFile": "/token"}, False),
        ({"operationsTokenFile": "/token", "operations": "127.0.0.1:9090"}, False),
        ({"operationsTls": {"cert-file": "/c", "key-file": "/k"}}, True),
        ({"operationsTls": NAMED, "operations": "127.0.0.1:9090"}, False),
    ],
)
def test_the_status_page_is_no_more_open_than_the_docker_api(
    server: dict[str, Any], *, is_open: bool
) -> None:
    """
    What is on loopback is not open to the network, and neither is the page then.
    """
    settings = Settings.model_validate({"server": server})

    assert is_open == options.page_access(settings).is_open


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("peitho:8081", {"peitho"}),
        (
            "Peitho.Fabric:8081",
            {"peitho", "peitho.fabric", "peitho.fabric.svc", "peitho.fabric.svc.cluster.local"},
        ),
        (
            "peitho.fabric.svc:8081",
            {"peitho", "peitho.fabric", "peitho.fabric.svc", "peitho.fabric.svc.cluster.local"},
        ),
        ("peitho.example.com:8081", {"peitho.example.com"}),
        ("10.96.0.7:8081", {"10.96.0.7"}),
    ],
)
def test_an_open_page_knows_the_services_names(address: str, names: set[str]) -> None:
    """
    As the cluster's DNS has them, beside those that are set.
    """
    tree = {
        "peitho": {"pullerAccessAddress": address},
        "server": {"operationsHosts": ["Page.Example.Com"]},
    }
    settings = Settings.model_validate(tree)

    assert names | {"page.example.com"} == set(options.page_access(settings).hosts)


async def test_a_pull_secret_of_the_template_reads_a_runtime_image(tmp_path: Path) -> None:
    """
    From the moment that the template names it; a bucket behind it is not shown the account.
    """
    async with (
        RegistryDouble.start(auth="basic") as private,
        RegistryDouble.start() as bucket,
        RegistryDouble.start() as double,
    ):
        content.fabric(private)
        content.fabric(bucket)
        registry = {
            "docker.registry.server-address": double.address,
            "docker.registry.insecure": True,
            "images.rewrite": {"hyperledger/*": f"{private.address}/hyperledger/*"},
        }
        template = {"spec": {"imagePullSecrets": [{"name": "mine"}]}}
        one = settings(tmp_path, **registry)
        other = settings(tmp_path, **registry, **{"chaincode.template": template})
        async with composed(tmp_path, one) as (parts, cluster):
            cluster.make("secrets/mine", secrets.pull_secret({private.address: USER}))
            with pytest.raises(PeithoError, match="401"):
                await parts.services.publisher.build("mycc", chunks(context()))
            parts.shared.follow(other)
            there = (
                f"http://{bucket.address}/v2/{content.RUNTIME}/blobs/{oci.digest_of(content.BASE)}"
            )
            private.script("GET", "blob", normally(), says(307, Location=there))
            await parts.services.publisher.build("mycc", chunks(context()))

        assert oci.digest_of(content.BASE) in double.repository("mycc").blobs
        assert bucket.headers
        assert all("Authorization" not in each for each in (*bucket.headers, *double.headers))
