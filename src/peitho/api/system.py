"""What a client asks first: are you there, and who are you?"""

import platform

from aiohttp import web

from peitho import __version__
from peitho.api.middleware import API_VERSION, MINIMUM_API_VERSION, json_response
from peitho.api.services import services
from peitho.formats.images.architectures import go_name


def architecture() -> str:
    """Return Go's name of the architecture that Peitho runs on."""
    return go_name(platform.machine())


async def ping(request: web.Request) -> web.Response:
    """GET|HEAD /_ping — 200, whether or not the cluster can be reached."""
    del request
    return web.Response(
        text="OK",
        headers={"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"},
    )


async def version(request: web.Request) -> web.Response:
    """GET /version — 200."""
    del request
    about = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MINIMUM_API_VERSION,
        "Arch": architecture(),
        "Os": "linux",
        "KernelVersion": platform.release(),
        "GitCommit": "",
        "GoVersion": "",
        "BuildTime": "",
    }
    component = {"Name": "Engine", "Version": __version__, "Details": about}
    name = {"Name": "Peitho"}
    return json_response(
        {"Platform": name, "Version": __version__, "Components": [component]} | about
    )


async def info(request: web.Request) -> web.Response:
    """GET /info — 200; 503 if the cluster cannot be reached."""
    summaries = await services(request).containers.list()
    running = sum(summary.state.status == "running" for summary in summaries)
    return json_response(
        {
            "ID": "peitho",
            "Name": platform.node(),
            "ServerVersion": __version__,
            "Containers": len(summaries),
            "ContainersRunning": running,
            "ContainersPaused": 0,
            "ContainersStopped": len(summaries) - running,
            "Images": len(await services(request).publisher.list()),
            "Driver": "kubernetes",
            "OSType": "linux",
            "OperatingSystem": "Peitho on Kubernetes",
            "Architecture": platform.machine(),
            "KernelVersion": platform.release(),
            "NCPU": 0,
            "MemTotal": 0,
            "Warnings": [],
        }
    )
