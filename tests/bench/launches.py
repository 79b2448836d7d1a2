"""(k) The ends of a launch: many files in, many files out, and how soon an exit is told."""

import asyncio
import random
import secrets
from datetime import datetime

from peitho.clients.kubernetes.api import Kubernetes
from tests.bench.place import BenchError, Place, Stopwatch, running, say
from tests.bench.report import Row
from tests.bench.starts import any_moment, first_line, launch
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import pods

FILES_IN = 45_000
FILES_OUT = 60_000
EXITS = 10
HOW = (
    f"A layer of {FILES_IN} files and 160 MB, as a large Node.js package has: from the create to "
    "the first line of output as in (b), with no limit of CPU, and with a LimitRange that gives "
    f"each container 100m.  A build's output of {FILES_OUT} files: from its exit to the last byte "
    "of the download.  An exit: from the last line of the process, by the container runtime's "
    f"stamp, to the answer of a `wait` that was open, {EXITS} times the runs."
)

_FILE_BYTES = 3500
_SCRIPT = b"#!/bin/sh\necho started\nexec sleep 3600\n"
_EXITING = "sleep {seconds}; echo over; exit 3"
_OUTPUT = (
    'awk \'BEGIN {{ for (n = 0; n < {files}; n++) {{ d = "/chaincode/output/d" int(n / 100); '
    'if (n % 100 == 0) system("mkdir -p " d); f = d "/f" n; print "x" > f; close(f) }} }}\''
)
# ext4 gives no inode again that was free a few minutes ago, and looks at each (fs/ext4/ialloc.c,
# recently_deleted): what a launch or a build left behind would slow the next launch, tenfold at a
# tenth of a CPU.  So launches come after minutes in which few files go, stay to the end, and are
# before builds.
_LIMIT_NAME = "small"
_LIMIT = {"type": "Container", "default": {"cpu": "100m"}}


async def measure(place: Place) -> list[Row]:
    """Rows for each, in an order in which no part slows another."""
    layers, limited, handed = [], [], []
    async with (
        running(place.cluster) as peitho,
        Calls.to(peitho) as calls,
        Kubernetes.connect(
            kubeconfig=place.cluster.kubeconfig, namespace=peitho.namespace
        ) as kubernetes,
    ):
        answer = await calls.build("bench-files", await asyncio.to_thread(_large))
        if answer.status != 200:
            raise BenchError(f"the image was not built: {answer}")
        exits = [await _exit(calls) for _ in range(place.runs * EXITS)]
        say(f"(k) an exit is told after {sorted(exits)[len(exits) // 2]:.2f} s")
        for _ in range(place.runs):
            layers.append((await launch(calls, kubernetes, "bench-files", keep=True))[0][0])
            say(f"(k) process with {FILES_IN} files after {layers[-1]:.1f} s")
        _limit(peitho)
        for _ in range(place.runs):
            limited.append((await launch(calls, kubernetes, "bench-files", keep=True))[0][0])
            say(f"(k) the same at 100m after {limited[-1]:.1f} s")
        peitho.kubectl("delete", "limitrange", _LIMIT_NAME)
        for _ in range(place.runs):
            handed.append(await _handed_over(calls))
            say(f"(k) {FILES_OUT} files handed over in {handed[-1]:.1f} s")
    return [
        Row("k", "exit to wait answered", "s", tuple(exits)),
        Row("k", f"output of {FILES_OUT} files, hand-over", "s", tuple(handed), at_most=10.0),
        Row("k", f"layer of {FILES_IN} files, launch", "s", tuple(layers), at_most=5.0),
        Row("k", f"layer of {FILES_IN} files, launch at 100m", "s", tuple(limited), at_most=15.0),
    ]


async def _exit(calls: Calls) -> float:
    name = f"bench-{secrets.token_hex(4)}"
    seconds = f"{4 + secrets.randbelow(1000) / 1000:.3f}"  # past the settling of a start
    await calls.make_image(name, body=_EXITING.format(seconds=seconds))
    await any_moment()
    if (answer := await calls.launch(name, name)).status != 204:
        raise BenchError(f"the chaincode did not start: {answer}")
    await calls.wait(name)
    told = datetime.now().astimezone()
    (pod,) = pods(calls.peitho, name)
    ended = await first_line(calls.peitho, pod, last=True)
    await calls.remove(name)
    return (told - ended).total_seconds()


async def _handed_over(calls: Calls) -> float:
    build = await calls.create_build(_OUTPUT.format(files=FILES_OUT))
    await calls.put(build, archive({"a": (0o644, secrets.token_bytes(100))}))
    await calls.start(build)
    if code := await calls.wait(build):
        raise BenchError(f"the build failed with {code}")
    watch = Stopwatch()
    answer = await calls.call(
        "GET", f"/containers/{build}/archive", params={"path": "/chaincode/output/."}
    )
    seconds = watch.seconds
    if answer.status != 200:
        raise BenchError(f"the output was not handed over: {answer}")
    return seconds


def _large() -> bytes:
    drawn = random.Random(7)  # noqa: S311  content that does not compress
    files = {
        f"node_modules/p{n // 90}/d{n // 15 % 6}/f{n}.js": (0o644, drawn.randbytes(_FILE_BYTES))
        for n in range(FILES_IN)
    }
    return context(archive({"chaincode": (0o755, _SCRIPT), **files}))


def _limit(peitho: Peitho) -> None:
    peitho.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": _LIMIT_NAME, "namespace": peitho.namespace},
            "spec": {"limits": [_LIMIT]},
        }
    )
