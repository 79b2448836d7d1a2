"""
A front of the API server that passes everything on, and notes what was asked for.

A right of RBAC is a verb on a resource: what is noted can be compared with a Role.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self

import aiohttp
from aiohttp import web
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import User

from tests.lab.cluster import Cluster
from tests.lab.machine import LabError
from tests.lab.peitho import shipped
from tests.support.loopback import on_loopback

Right = tuple[str, str, str]

_CHUNK_BYTES = 65_536
_OF_ONE = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_ALL = {"POST": "create", "DELETE": "deletecollection"}
# What is the connection's own business, and not the message's.
_NOT_PASSED_ON = {"host", "transfer-encoding", "connection", "content-length"}


class AskedApi:
    """The front; `rights` are the verbs that were asked for: `(group, resource, verb)`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.url = ""
        self.rights: set[Right] = set()
        self._session = session

    @classmethod
    @asynccontextmanager
    async def start(cls, cluster: Cluster) -> AsyncIterator[Self]:
        """A front of a cluster's API server, on loopback and in plain HTTP."""
        config = KubeConfig.from_file(cluster.kubeconfig).get()
        if config is None:
            raise LabError(f"{cluster.kubeconfig} has no current context")
        trusted = verify_cluster(config.cluster, User(), config.abs_file, trust_env=False)
        connector = aiohttp.TCPConnector(limit=0, ssl=trusted)
        async with aiohttp.ClientSession(
            config.cluster.server,
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        ) as session:
            front = cls(session)
            app = web.Application(client_max_size=16 << 20)
            app.router.add_route("*", "/{path:.*}", front._pass_on)
            async with on_loopback(app) as address:
                front.url = f"http://{address}"
                yield front

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        self.rights.add(right_of(request.method, request.path, request.query))
        async with self._session.request(
            request.method,
            request.rel_url,
            headers=_passed_on(request.headers),
            data=await request.read(),
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                await response.write(chunk)
            return response


def right_of(method: str, path: str, query: Mapping[str, str]) -> Right:
    """The right that a request of namespaced objects needs, as RBAC reads it."""
    words = path.strip("/").split("/")
    group, rest = ("", words[2:]) if words[0] == "api" else (words[1], words[3:])
    resource, *others = rest[2:]  # behind `namespaces/NAME`
    if others[1:]:
        resource = f"{resource}/{others[1]}"
    if others:
        return group, resource, _OF_ONE[method]
    if method == "GET":
        return group, resource, "watch" if query.get("watch") == "true" else "list"
    return group, resource, _OF_ALL[method]


def granted() -> set[Right]:
    """What the Role in deploy/ grants, right by right."""
    objects = shipped("chaincode.yaml", peitho="peitho", chaincode="peitho-chaincode")
    (role,) = (each for each in objects if each["kind"] == "Role")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_PASSED_ON}
