"""(g) From the create of a chaincode to its process, in registry mode and in delivery mode."""

import secrets

from peitho.clients.kubernetes.api import Kubernetes
from tests.bench.place import Place, folder, running, say
from tests.bench.report import Row
from tests.bench.starts import any_moment, launch, make_image
from tests.lab import pairs
from tests.lab import registry as lab
from tests.lab.pairs import DELIVERY, PODS, REGISTRY, Pair
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls

RUNS_FACTOR = 2
HOW = (
    "From the create of a chaincode to its first line of output, as in (b): by the container "
    "runtime's own stamp, with an image of 16 MiB that is new in each run.  In registry mode it is "
    "launched twice: the node pulls it from Debian's docker-registry on loopback for the first "
    "launch, and has it for the second.  In delivery mode every launch is the same: the layer "
    "comes from Peitho each time, by a puller before, or `beside`.  The modes take turns; "
    f"{RUNS_FACTOR} times the runs of other parts."
)


async def measure(place: Place) -> list[Row]:
    """Rows for both modes, and what registry mode takes more."""
    delivered: list[float] = []
    beside: list[float] = []
    pulled: list[float] = []
    there: list[float] = []
    with (
        folder() as path,
        lab.registry(path / "registry", password=True) as registry,
    ):
        await pairs.mirror(registry)
        async with (
            running(place.cluster, **Pair(PODS, DELIVERY).settings(registry)) as delivering,
            running(place.cluster, chaincode={"puller": "beside"}) as besides,
            running(place.cluster, **Pair(PODS, REGISTRY).settings(registry)) as pushing,
        ):
            for number in range(1, place.runs * RUNS_FACTOR + 1):
                delivered += await _launches(delivering, 1)
                beside += await _launches(besides, 1)
                new, again = await _launches(pushing, 2)
                pulled.append(new)
                there.append(again)
                say(
                    f"(g) run {number}: {delivered[-1]:.2f} s, beside {beside[-1]:.2f}, "
                    f"pulled {new:.2f}, there {again:.2f}"
                )
    return [
        *_rows(tuple(delivered), tuple(pulled), tuple(there)),
        Row("g", "create to process, delivery, puller beside", "s", tuple(beside)),
    ]


def _rows(
    delivered: tuple[float, ...], pulled: tuple[float, ...], there: tuple[float, ...]
) -> list[Row]:
    what = "create to process"
    more = tuple(one - other for one, other in zip(pulled, delivered, strict=True))
    return [
        Row("g", f"{what}, delivery", "s", delivered),
        Row("g", f"{what}, registry, image new to the node", "s", pulled),
        Row("g", f"{what}, registry, image on the node", "s", there),
        Row("g", f"{what}, registry with a new image minus delivery", "s", more),
    ]


async def _launches(peitho: Peitho, times: int) -> list[float]:
    """Seconds to the process, of launches of an image of their own."""
    name = f"bench-{secrets.token_hex(4)}"
    taken = []
    async with (
        Calls.to(peitho) as calls,
        Kubernetes.connect(
            kubeconfig=peitho.cluster.kubeconfig, namespace=peitho.namespace
        ) as kubernetes,
    ):
        await make_image(calls, name)
        for _ in range(times):
            await any_moment()
            (process, _), _ = await launch(calls, kubernetes, name)
            taken.append(process)
    return taken
