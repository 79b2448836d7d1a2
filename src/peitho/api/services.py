"""The parts that handlers call; composition puts them into the application."""

from dataclasses import dataclass

from aiohttp import web

from peitho.clients.disk.storage import Storage
from peitho.clients.disk.write_probe import WriteProbe
from peitho.clients.docker import Docker
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.record_watch import RecordWatch
from peitho.core.builds.container import BuildContainers
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.containers import Containers
from peitho.core.images.base import BaseImages
from peitho.core.images.publisher import Publisher
from peitho.core.images.store import ImageStore
from peitho.core.images.usage import ImageUsage
from peitho.core.pods.tokens import DeliveryTokens
from peitho.core.surroundings import Surroundings
from peitho.core.sweeping.sweeper import Sweeper


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that handlers call; `docker` is None unless builds run in a daemon."""

    containers: Containers
    builds: BuildContainers
    images: ImageStore
    publisher: Publisher
    storage: Storage
    tokens: DeliveryTokens
    watch: PodWatch
    usage: ImageUsage
    sweeper: Sweeper
    base_images: BaseImages
    write_probe: WriteProbe
    surroundings: Surroundings
    record_watch: RecordWatch
    exits: ExitRecorder
    docker: Docker | None = None


SERVICES = web.AppKey("services", Services)
# Of the tenant that calls, where there are several: such an application has no other.
OWN_SERVICES = web.RequestKey("own services", Services)


def services(request: web.Request) -> Services:
    """Return the parts that a request's handler calls: those of the tenant that calls."""
    own = request.get(OWN_SERVICES)
    return request.config_dict[SERVICES] if own is None else own


def is_known(request: web.Request) -> bool:
    """Whether there are such parts: there are none for a ping of whoever is no tenant."""
    return OWN_SERVICES in request or SERVICES in request.config_dict
