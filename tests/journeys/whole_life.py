"""A story in which Peitho does all that it ever asks the cluster for."""

from typing import Any

from peitho.formats.kubernetes import labels
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls, archive
from tests.support.observe import alive, builds, pods, until

_MOUNT = {"name": "more", "mountPath": "/more"}
_LACKING = {
    "match": {"label": "lacking"},
    "template": {
        "spec": {
            "volumes": [{"name": "more", "configMap": {"name": "is-not-there"}}],
            "containers": [{"name": "chaincode", "volumeMounts": [_MOUNT]}],
        }
    },
}
# From so many on, Jobs are listed: `clients/kubernetes/statuses.py`.
_MANY = 21

SETTINGS: dict[str, Any] = {
    "sweeper": {"interval": 1, "retention": 0},
    "chaincode": {"startTimeoutSeconds": 20, "overrides": [_LACKING]},
}


async def live(peitho: Peitho) -> None:
    """Build, launch, upload, log, crash, relaunch, failed start, upgrade, sweep and removal."""
    async with Calls.to(peitho) as calls:
        await _builds(calls)
        # From here on sweeps ask for the Job of one that was never started, and later for many.
        await calls.create("idle", "lives")
        await _lives(calls, peitho)
        await _cannot_start(calls)
        for number in range(_MANY):
            await calls.create(f"idle-{number}", "lives")
        await _outlives_an_upgrade(calls, peitho)
        await _is_removed(calls, peitho)


async def _builds(calls: Calls) -> None:
    build = await calls.create_build("cat /chaincode/input/a > /chaincode/output/b")
    await calls.put(build, archive({"a": (0o644, b"source")}))
    assert 204 == (await calls.start(build)).status
    assert 0 == await calls.wait(build)
    await calls.remove(build)
    await calls.make_image("lives", "sleep 4; exit 3")


async def _lives(calls: Calls, peitho: Peitho) -> None:
    """It is launched, talks, crashes, is launched again, and is stopped."""
    assert 204 == (await calls.launch("lives", "lives")).status
    answer = await calls.call("GET", "/containers/lives/logs?stdout=1&stderr=1")
    assert "started with" in str(answer.body)
    assert 3 == await calls.wait("lives")
    await until(lambda: bool(peitho.objects("events", labels="peitho/instance=peitho")))
    assert 204 == (await calls.launch("lives", "lives")).status
    await calls.stop("lives")


async def _cannot_start(calls: Calls) -> None:
    """The cluster is asked for the reason."""
    await calls.create("lacking", "lives", env=["CORE_CHAINCODE_ID_NAME=lacking:1"])
    answer = await calls.start("lacking")
    assert 500 == answer.status
    assert "is-not-there" in answer.message


async def _outlives_an_upgrade(calls: Calls, peitho: Peitho) -> None:
    """What an earlier Peitho made is known, and gets the labels of today; its process goes on."""
    await calls.make_image("stays", "sleep 600")
    assert 204 == (await calls.launch("stays", "stays")).status
    (before,) = pods(peitho, "stays")
    await peitho.end()
    former = [f"{key}={value}" for key, value in labels.former_labels("peitho").items()]
    words = ("-l", f"{labels.INSTANCE}=peitho", f"{labels.INSTANCE}-", *former)
    peitho.kubectl("label", "secrets,jobs,pods", *words)
    await peitho.begin()

    assert (await calls.inspect("stays"))["State"]["Running"]
    kinds, selector = ("secrets", "jobs", "pods"), ",".join(former)
    await until(lambda: not any(peitho.objects(kind, labels=selector) for kind in kinds))
    (after,) = pods(peitho, "stays")
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    await calls.stop("stays")


async def _is_removed(calls: Calls, peitho: Peitho) -> None:
    """What is over is swept; a build that its peer left is ended."""
    assert 204 == (await calls.launch("swept", "lives")).status
    assert 3 == await calls.wait("swept")
    await calls.remove("lives")
    await calls.remove("lacking")
    await until(lambda: not alive(peitho, "swept") and not builds(peitho))
