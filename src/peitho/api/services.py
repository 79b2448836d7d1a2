"""What handlers work with: put into the application by the composition root."""

from dataclasses import dataclass

from aiohttp import web

from peitho.clients.docker import Docker
from peitho.clients.pod_watch import PodWatch
from peitho.clients.storage import Storage
from peitho.core.base_images import BaseImages
from peitho.core.builds import Builds
from peitho.core.containers import Containers
from peitho.core.images import Images
from peitho.core.publishing import Publisher
from peitho.core.sweeper import Sweeper
from peitho.core.tokens import Tokens
from peitho.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a handler may call; the last is there if builds run in a daemon."""

    containers: Containers
    builds: Builds
    images: Images
    publisher: Publisher
    storage: Storage
    tokens: Tokens
    watch: PodWatch
    usage: Usage
    sweeper: Sweeper
    base_images: BaseImages
    docker: Docker | None = None


SERVICES = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    """The services of the application that a request came to."""
    return request.config_dict[SERVICES]
