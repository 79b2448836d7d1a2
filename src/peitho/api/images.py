"""Images: build, inspect, list, pull, remove."""

import asyncio

from aiohttp import web

from peitho import audit
from peitho.api import filters, models, queries
from peitho.api.bodies import chunks
from peitho.api.filters import ImageFilters
from peitho.api.middleware import json_response, list_response
from peitho.api.pace import BodyPace
from peitho.api.services import services
from peitho.api.system import architecture
from peitho.core.clock import unix_seconds
from peitho.core.images.store import BuiltImage, tagged
from peitho.errors import Conflict, InvalidArgument, NotFound
from peitho.formats.docker import registry_auth, streams
from peitho.formats.docker.registry_auth import RegistryAuths
from peitho.formats.images.image_record import Image

# The first bytes come at once, the others once the compile is done: peers allow 300 s and more.
BUILD_PACE = BodyPace(silent_seconds=7200.0, window_seconds=7200.0, window_bytes=1)


async def build(request: web.Request) -> web.Response:
    """
    POST /build — 200 with Docker's step messages; 400 for a Dockerfile of another shape.

    The body comes when the compile, on other connections, is done: minutes after the head.
    A failure is a status, for the newer peers do not read errors inside a 200 stream.
    """
    name = queries.required(request, "t")
    if request.query.get("dockerfile", "Dockerfile") != "Dockerfile":
        raise InvalidArgument("only a Dockerfile of that name is read")

    auths = _registry_auths(request)
    with audit.recording("image built", image=name) as fields:
        built = await services(request).publisher.build(name, chunks(request), auths)
        fields |= {"id": built.image.id, "layer": built.image.layer, "runtime": built.image.runtime}
    services(request).usage.touch(built.image.name, request.remote or "")

    return _messages(_steps(built))


async def inspect(request: web.Request) -> web.Response:
    """GET /images/{name}/json — 200 for a chaincode image, or a base image that is there; 404."""
    name = request.match_info["name"]
    published = await services(request).publisher.find(name)
    if published is None and (base := await services(request).base_images.find(name)):
        return json_response(
            models.base_image(base, architecture=base.architecture or architecture())
        )
    if published is None:
        raise NotFound(f"No such image: {tagged(name)}")

    services(request).usage.touch(published.image.name, request.remote or "")

    return json_response(models.image(published.image, reference=published.reference))


async def list_all(request: web.Request) -> web.Response:
    """GET /images/json — 200: the chaincode images; 400, 404, 501 for a filter."""
    asked = ImageFilters.of(filters.parse(request.query.get("filters", ""), filters.IMAGES))
    known = await services(request).publisher.list()

    # A thread: a filter may be compared with thousands of images.
    images = await asyncio.to_thread(asked.select, known)

    return await list_response(
        models.image_list_entry(image, created=int(unix_seconds(image.created))) for image in images
    )


async def pull(request: web.Request) -> web.Response:
    """
    POST /images/create — 200 once the image is there, or will be; 400 for a bad name; 404, 500.

    As with a build, a failure is a status, and not an error inside a 200 stream.
    """
    name, tag = queries.required(request, "fromImage"), request.query.get("tag", "")
    separator = "@" if tag.startswith("sha256:") else ":"

    image = f"{name}{separator}{tag}" if tag else name
    auths = _registry_auths(request)
    with audit.recording("image pulled", image=image):
        outcome = await services(request).base_images.pull(image, auths)

    return _messages([f"Status: {outcome}"])


async def remove(request: web.Request) -> web.Response:
    """DELETE /images/{name} — 200; 404; 409 if a container has it and `force` is not set."""
    name = request.match_info["name"]
    if not name:
        raise NotFound("No such image")
    if not queries.flag(request, "force"):
        await _check_unused(request, name)

    with audit.recording("image removed", image=name) as fields:
        image = await services(request).publisher.remove(name)
        fields |= {"id": image.id, "layer": image.layer}

    return json_response([{"Untagged": f"{image.name}:latest"}, {"Deleted": image.id}])


def _registry_auths(request: web.Request) -> RegistryAuths:
    """Return the registry accounts that come with a call. Raises InvalidArgument."""
    return registry_auth.read(
        request.headers.getall(registry_auth.AUTH, []),
        request.headers.getall(registry_auth.CONFIG, []),
    )


async def _check_unused(request: web.Request, name: str) -> None:
    """
    Raise Conflict, in Docker's words, if a container has the image, whether or not it runs.

    An image that is not whole is used by nobody: its peer builds it anew.
    """
    published = await services(request).publisher.find(name)
    if published is None:
        return
    image = published.image
    for container in await services(request).containers.list():
        if filters.is_image(image, container.image):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f"container {container.id[:12]} is using its referenced image {_short_id(image)}"
            )


def _messages(texts: list[str]) -> web.Response:
    return web.Response(
        body=b"".join(streams.stream_message(f"{text}\n") for text in texts),
        headers={"Content-Type": "application/json"},
    )


def _steps(built: BuiltImage) -> list[str]:
    recipe, image = built.recipe, built.image
    labels = " ".join(f'{key}="{value}"' for key, value in recipe.labels.items())
    env = " ".join(f"{key}={value}" for key, value in recipe.env.items())
    steps = [
        f"FROM {recipe.base}",
        f"ADD {recipe.add_source} {recipe.add_directory}",
        *([f"LABEL {labels}"] if labels else []),
        *([f"ENV {env}"] if env else []),
    ]
    said = [f"Step {number}/{len(steps)} : {step}" for number, step in enumerate(steps, 1)]
    return [
        *said,
        f"Successfully built {_short_id(image)}",
        f"Successfully tagged {image.name}:latest",
    ]


def _short_id(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:12]
