"""
The Kubernetes API: verbs on manifests, and a Pod's log as bytes.

lightkube gives kubeconfig, credentials and transport.  Objects stay what they are on the wire,
dicts in Kubernetes' spelling (docs/decisions/0003-lightkube-transport.md has the reasons).
"""

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import httpx2 as httpx
import yaml
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from peitho import metrics
from peitho.clients import keepalive, retries
from peitho.clients.proxies import Proxies
from peitho.clients.retries import Again, Refused, RetryPolicy, Tries, asked_seconds
from peitho.clients.tls import as_peers_verify
from peitho.errors import Unavailable
from peitho.formats.kubernetes import labels as own_labels
from peitho.formats.kubernetes.objects import Manifest

_PATHS = {
    "ConfigMap": "api/v1/namespaces/{namespace}/configmaps",
    "Deployment": "apis/apps/v1/namespaces/{namespace}/deployments",
    "Event": "api/v1/namespaces/{namespace}/events",
    "Job": "apis/batch/v1/namespaces/{namespace}/jobs",
    "Pod": "api/v1/namespaces/{namespace}/pods",
    "Secret": "api/v1/namespaces/{namespace}/secrets",
    "ServiceAccount": "api/v1/namespaces/{namespace}/serviceaccounts",
    "SelfSubjectAccessReview": "apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
}
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
T = TypeVar("T")

_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
# A page of Pods has half a megabyte, which is decoded in 15 ms; nobody else is answered meanwhile.
_PAGE_ITEMS = 50
# The rest of a list is refused once the API server has forgotten its beginning (after 5 minutes).
_LISTS = 3
_GONE = 410
_REQUEST_SECONDS = 10.0
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it
# What the pool does for a request grows with the square of its connections, idle ones included.
_CONNECTIONS = 20
# Another leader, a webhook that starts, a connection that is cut: it passes within seconds, and
# nobody who waits for us has much longer.
_PATIENCE = RetryPolicy(attempts=6, first_seconds=0.25, longest_seconds=5.0, jitter_seconds=0.5)
# One that is not there is told sooner than one that says that it will be; and a silent one takes
# the whole time of each request.
_UNHEARD_TRIES = 4
_SILENT_TRIES = 2
# Rights that are not known yet are in a moment; those that are missing are told soon.
_REFUSED_TRIES = 3
_REFUSING = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
# 403, too, but the words of quotas and admission: these do not pass.
_ADMISSION = re.compile(
    "quota|violates PodSecurity|denied|being terminated|(minimum|maximum) "
    "|ratio|must specify|not allowed|ValidatingAdmissionPolicy"
)
_USUAL_PAUSE = "1"
# The API server ends a watch after this; one that goes on past the read time-out is dead.
_WATCH_SECONDS = 20
_WATCH_SILENCE_SECONDS = 25.0


_HIGHEST_PORT = 65_535
# What lightkube lets through where a kubeconfig's file with a token, or its program that prints
# one, is not there or has something else; errors of the connection are httpx's own.
_NO_CREDENTIALS = (ConfigError, OSError, ValueError, LookupError, TypeError)
_CONTENDED = "has been modified"


class KubernetesError(Refused):
    """The API server refused a request; `code` is the HTTP status, `reason` its own word."""

    def __init__(self, message: str, *, code: int, reason: str) -> None:
        super().__init__(message, code=code)
        self.reason = reason

    @property
    def is_contended(self) -> bool:
        """Whether it is for somebody who wrote at the same moment (apimachinery's NewConflict)."""
        return _CONTENDED in str(self)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """What a list had, and the resource version to watch from."""

    items: list[T]
    version: str


@dataclass(frozen=True, slots=True)
class ClusterAbout:
    """What an API server tells of itself; `unix_seconds` is its clock, or 0."""

    version: str
    unix_seconds: float


class Kubernetes:
    """A client for one namespace of one cluster."""

    def __init__(self, http: httpx.AsyncClient, streams: httpx.AsyncClient, namespace: str) -> None:
        self._http = http
        self._streams = streams
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._former: set[tuple[str, str]] = set()
        self.namespace = namespace

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        *,
        kubeconfig: Path | None,
        namespace: str,
        proxies: Proxies | None = None,
        context: str = "",
    ) -> AsyncIterator[Self]:
        """
        Make a client from a kubeconfig file, else from the Pod's service account.

        Without the name of a context, the kubeconfig's current one is taken. Nothing is sent yet.
        Raises Unavailable if neither is there.
        """
        # A thread: to read certificates and YAML takes long, for what Peitho does in one turn.
        config, proxy, verify = await asyncio.to_thread(
            _read_all, kubeconfig, proxies or Proxies(), context
        )
        client = partial(_client, config, verify=verify, proxy=proxy)
        async with client(connections=_CONNECTIONS) as http, client(connections=None) as streams:
            yield cls(http, streams, namespace or config.namespace)

    def in_namespace(self, namespace: str) -> "Kubernetes":
        """Return a client for another namespace over the same connections; empty: for this one."""
        return Kubernetes(self._http, self._streams, namespace or self.namespace)

    async def about(self) -> ClusterAbout:
        """Return the API server's version, and what time it has."""
        answer = await _RequestTries().answer(partial(self._http.request, "GET", "version"))
        told = answer.body
        date = answer.date
        try:
            seconds = parsedate_to_datetime(date).timestamp() if date else 0.0
        except ValueError:
            seconds = 0.0
        return ClusterAbout(str(told.get("gitVersion", "")), seconds)

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create an object; with `dry_run` only ask whether it would be admitted."""
        parameters = {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {}
        tries = _RequestTries(is_trial=dry_run)
        try:
            return await self._json(
                "POST",
                self._path(manifest["kind"]),
                parameters=parameters,
                body=manifest,
                tries=tries,
            )
        except KubernetesError as error:
            name = manifest["metadata"].get("name")
            if error.reason == "AlreadyExists" and tries.failed and name:
                for present in await self._named(manifest["kind"], name):
                    if _is_made_of(present, manifest):  # by a try that got no answer
                        return present
            raise

    async def _named(self, kind: str, name: str) -> list[Manifest]:
        """Find an object by a list: Pods are never asked for by name, which is a right less."""
        found = await self.find(kind, fields=f"metadata.name={name}")
        return [each for each in found if each["metadata"]["name"] == name]

    async def get(self, kind: str, name: str) -> Manifest | None:
        """Return one object, or None if it is not there."""
        try:
            return await self._json("GET", self._path(kind, name))
        except KubernetesError as error:
            if error.code == httpx.codes.NOT_FOUND:
                return None
            raise

    async def listed(
        self,
        kind: str,
        read: Callable[[Manifest], T],
        *,
        labels: Mapping[str, str] | None = None,
        fields: str = "",
        metadata_only: bool = False,
    ) -> Listing[T]:
        """
        List the objects that have the labels, each as `read` reduces it.

        The list comes in pages, so no more than one of them is in memory as it was sent. It begins
        anew where the API server has forgotten its beginning.
        """
        selection = self._selection(kind, labels or {})
        parameters = _selectors(selection.labels, fields) | {"limit": str(_PAGE_ITEMS)}
        accept = {"Accept": _METADATA_LIST} if metadata_only else {}
        pages = partial(self._all_pages, self._path(kind), parameters, accept, selection.takes)
        lists = 0
        while True:
            try:
                return await pages(read)
            except KubernetesError as error:
                lists += 1
                if error.code != _GONE or lists == _LISTS:
                    raise

    async def find(
        self, kind: str, *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> list[Manifest]:
        """List the objects that have the labels, as they are: for kinds of which there are few."""
        return (await self.listed(kind, lambda found: found, labels=labels, fields=fields)).items

    async def find_metadata(self, kind: str, *, labels: Mapping[str, str]) -> list[Manifest]:
        """List the metadata of objects that have the labels; what a Secret holds is not sent."""
        found = await self.listed(kind, lambda each: each, labels=labels, metadata_only=True)
        return found.items

    async def has_former(self, kind: str, instance: str) -> bool:
        """Whether objects of a Peitho have former labels."""
        parameters = _selectors(own_labels.former_labels(instance), "") | {"limit": "1"}
        headers = {"Accept": _METADATA_LIST}
        found = await self._json("GET", self._path(kind), parameters=parameters, headers=headers)
        return bool(found.get("items"))

    def expect_former(self, kind: str, instance: str) -> None:
        """Have lists and watches of what has a Peitho's labels take in what has former ones."""
        self._former.add((kind, instance))

    def forget_former(self, kind: str, instance: str) -> None:
        """Know that no object of that kind has former labels any more."""
        self._former.discard((kind, instance))

    async def patch(self, kind: str, name: str, changes: Manifest) -> Manifest:
        """Merge changes into an object (RFC 7396)."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self._json("PATCH", self._path(kind, name), body=changes, headers=headers)

    async def delete(
        self, kind: str, name: str, *, grace_seconds: int | None = None, uid: str = ""
    ) -> bool:
        """Delete an object, and in the background what it owns; False if it was not there."""
        body: Manifest = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._json("DELETE", self._path(kind, name), body=body)
        except KubernetesError as error:
            if error.code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
                return False
            raise
        return True

    async def log(  # noqa: PLR0913  what the API server takes
        self,
        pod: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None = None,
        since_seconds: int = 0,
        timestamps: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """
        Yield a container's log as bytes, unchanged; if followed, until the container ends.

        `since_seconds` is Unix time; with `timestamps`, each line begins with its own.
        """
        parameters = {"container": container, "follow": str(follow).lower()}
        if tail_lines is not None:
            parameters["tailLines"] = str(tail_lines)
        if since_seconds:
            parameters["sinceTime"] = datetime.fromtimestamp(since_seconds, UTC).isoformat()
        if timestamps:
            parameters["timestamps"] = "true"
        path = f"{self._path('Pod', pod)}/log"
        async with self._stream(path, parameters, silence_seconds=None) as response:
            async for chunk in response.aiter_raw():
                yield chunk

    async def watch(
        self,
        kind: str,
        *,
        labels: Mapping[str, str],
        version: str,
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[Manifest]:
        """
        Yield events since a resource version, until the API server ends the stream.

        Without a version, what is there comes first, as if it had just been made.
        """
        selection = self._selection(kind, labels)
        parameters = _selectors(selection.labels, fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with self._stream(
            self._path(kind),
            parameters,
            silence_seconds=_WATCH_SILENCE_SECONDS,
            headers={"Accept": _METADATA} if metadata_only else {},
        ) as response:
            async for line in _lines(response.aiter_bytes()):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _status_error(event["object"])
                yield event if selection.takes(event["object"]) else _bookmark(event["object"])

    def _selection(self, kind: str, labels: Mapping[str, str]) -> "_Selection":
        """Ask for others too, and leave them out, where ours may have former labels."""
        if (kind, labels.get(own_labels.INSTANCE)) in self._former:
            return _Selection(own_labels.of_any_instance(labels), labels)
        return _Selection(labels)

    async def _all_pages(
        self,
        path: str,
        parameters: dict[str, str],
        headers: Mapping[str, str],
        takes: Callable[[Manifest], bool],
        read: Callable[[Manifest], T],
    ) -> Listing[T]:
        found: list[T] = []
        rest = ""
        while True:
            more = {"continue": rest} if rest else {}
            page = await self._json("GET", path, parameters=parameters | more, headers=headers)
            await asyncio.sleep(0)  # what was decoded is read in a turn of its own
            found.extend(read(item) for item in page.get("items") or [] if takes(item))
            metadata = page.get("metadata") or {}
            rest = metadata.get("continue") or ""
            if not rest:
                return Listing(found, metadata.get("resourceVersion", ""))

    def _path(self, kind: str, name: str = "") -> str:
        path = _PATHS[kind].format(namespace=self.namespace)
        return f"{path}/{name}" if name else path

    @asynccontextmanager
    async def _stream(
        self,
        path: str,
        parameters: Mapping[str, str],
        *,
        silence_seconds: float | None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """An answer that comes over time; what is silent for longer than that is dead."""
        timeout = httpx.Timeout(_REQUEST_SECONDS, read=silence_seconds, pool=None)
        verb = "watch" if "watch" in parameters else "log"
        with _reachable():
            request = self._streams.build_request(
                "GET", path, params=parameters, timeout=timeout, headers=headers
            )
            response = await _counted(verb, self._streams.send(request, stream=True))
            try:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                yield response
            finally:
                await response.aclose()

    async def _json(  # noqa: PLR0913  what a request is, and its tries
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        headers: Mapping[str, str] | None = None,
        tries: "_RequestTries | None" = None,
    ) -> Manifest:
        content = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | dict(headers or {})
        verb = _VERBS.get(method) or ("list" if "limit" in (parameters or {}) else "get")

        async def request() -> httpx.Response:
            # The pool looks at all that wait for a connection whenever one more does.
            async with self._connections:
                return await _counted(
                    verb,
                    self._http.request(
                        method, path, params=parameters, content=content, headers=sent
                    ),
                )

        return (await (tries or _RequestTries()).answer(request)).body


def _read_all(
    kubeconfig: Path | None, proxies: Proxies, context: str = ""
) -> tuple[SingleConfig, httpx.Proxy | None, ssl.SSLContext]:
    """What a kubeconfig says, the proxy to the cluster, and whom to trust there."""
    file = _parsed(kubeconfig) if kubeconfig else None
    config = _configuration(kubeconfig, context, file)
    proxy = _proxy(config, file, proxies)
    user = config.user or User()  # lightkube takes one for granted
    try:
        user_auth(user)  # as it is made for each client
        verify = as_peers_verify(
            verify_cluster(config.cluster, user, config.abs_file, trust_env=False)
        )
    except OSError as error:  # of a file that it names, or of a certificate in one
        named = (config.cluster.certificate_auth, user.client_cert, user.client_key)
        files = ", ".join(each for each in named if each)
        raise Unavailable(
            f"No Kubernetes: a file that the kubeconfig names cannot be read: {error} ({files})"
        ) from error
    except (ConfigError, ValueError) as error:
        told = str(error) if isinstance(error, ConfigError) else "a certificate or key is none"
        raise Unavailable(f"No Kubernetes: the kubeconfig cannot be used: {told}") from error
    return config._replace(user=user), proxy, verify


def _parsed(kubeconfig: Path) -> Any:
    try:
        return yaml.load(kubeconfig.expanduser().read_text(), Loader=_LOADER)  # noqa: S506  it is a safe one
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"No Kubernetes: {kubeconfig} cannot be read: {error}") from error
    except yaml.YAMLError as error:  # its text may have a token
        raise Unavailable(
            f"No Kubernetes: {kubeconfig} is no kubeconfig ({type(error).__name__})"
        ) from error


def _configuration(kubeconfig: Path | None, context: str, file: Any) -> SingleConfig:
    try:
        if kubeconfig:
            config = KubeConfig.from_dict(file, fname=kubeconfig.expanduser()).get(context or None)
        else:
            config = KubeConfig.from_service_account().get()
    except (ConfigError, OSError, ValueError) as error:
        raise Unavailable(
            f"No Kubernetes: {error}; set k8s.kubeconfig, or run in a Pod with a service account"
        ) from error
    except (LookupError, TypeError, AttributeError) as error:
        # lightkube takes a file of another shape for granted; its text may have a token.
        raise Unavailable(
            f"No Kubernetes: {kubeconfig} is no kubeconfig ({type(error).__name__})"
        ) from error
    if config is None:
        raise Unavailable(f"No Kubernetes: {kubeconfig} has no current context")
    return config


def _proxy(config: SingleConfig, file: Any, proxies: Proxies) -> httpx.Proxy | None:
    """The proxy to the API server: the cluster's own in the kubeconfig, else by its address."""
    server = _server(config)
    named = _named_proxy(config, file) or proxies.of(server.scheme, server.host, server.port)
    try:
        return httpx.Proxy(named) if named else None
    except (ValueError, httpx.InvalidURL) as error:  # its text may have a password
        raise Unavailable(
            f"No Kubernetes: the proxy of {server.host} is no http://HOST:PORT"
        ) from error


def _server(config: SingleConfig) -> httpx.URL:
    """The address of the API server. Raises Unavailable if it is none."""
    try:
        server = httpx.URL(config.cluster.server)
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise Unavailable(f"No Kubernetes: its server is no URL: {error}") from error
    if server.port is not None and server.port > _HIGHEST_PORT:
        raise Unavailable(f"No Kubernetes: its server has no port {server.port}")
    return server


def _named_proxy(config: SingleConfig, file: Any) -> str:
    """What the kubeconfig names as `proxy-url`, which lightkube does not read."""
    try:
        (cluster,) = (
            each["cluster"] for each in file["clusters"] if each["name"] == config.context.cluster
        )
        return str(cluster.get("proxy-url") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""  # then it names none: what else it has was read


def _client(
    config: SingleConfig,
    *,
    verify: ssl.SSLContext,
    connections: int | None,
    proxy: httpx.Proxy | None,
) -> httpx.AsyncClient:
    # A followed log holds a connection for its whole life, so there is no limit for those; short
    # calls have one, or a burst of thousands would open as many connections.
    # lightkube's own client would read all certificates again, for a transport of its own.
    transport = httpx.AsyncHTTPTransport(
        verify=verify,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=_CONNECTIONS),
        socket_options=keepalive.OPTIONS,
        proxy=proxy,
    )
    return httpx.AsyncClient(
        base_url=config.cluster.server,
        auth=user_auth(config.user),
        timeout=httpx.Timeout(_REQUEST_SECONDS, pool=None),
        trust_env=False,
        transport=transport,
    )


@dataclass(frozen=True, slots=True)
class _Selection:
    """The labels that the API server is asked for, and those that an object has once renewed."""

    labels: Mapping[str, str]
    renewed: Mapping[str, str] = field(default_factory=dict)

    def takes(self, item: Manifest) -> bool:
        """Whether an object is among those that are meant."""
        if not self.renewed:
            return True
        found = (item.get("metadata") or {}).get("labels") or {}
        return self.renewed.items() <= own_labels.renewed(found).items()


def _bookmark(item: Manifest) -> Manifest:
    """The event that tells how far the API server is, and nothing else."""
    version = item["metadata"]["resourceVersion"]
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}


def _selectors(labels: Mapping[str, str] | None, fields: str) -> dict[str, str]:
    parameters = {}
    if labels:
        parameters["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if fields:
        parameters["fieldSelector"] = fields
    return parameters


async def _counted(verb: str, request: Awaitable[httpx.Response]) -> httpx.Response:
    """Count a request by its verb and the status of the answer."""
    began, code = time.monotonic(), "none"
    try:
        response = await request
        code = str(response.status_code)
    except _NO_CREDENTIALS as error:
        raise _without_credentials(error) from error
    finally:
        metrics.KUBERNETES_REQUESTS.labels(verb, code).inc()
        metrics.KUBERNETES_SECONDS.labels(verb).observe(time.monotonic() - began)
    return response


def _without_credentials(error: Exception) -> Unavailable:
    # What a program printed, and what a file has, may be a token.
    told = isinstance(error, (ConfigError, OSError))
    cause = str(error) if told else f"{type(error).__name__} while they were read"
    return Unavailable(f"No credentials for the Kubernetes API: {cause}")


class _reachable:  # noqa: N801  reads as a statement: with _reachable()
    """Turns errors of the connection into Unavailable, with their cause."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, httpx.HTTPError):
            cause = str(error) or type(error).__name__
            raise Unavailable(f"The Kubernetes API cannot be reached: {cause}") from error


class _RequestTries:
    """The tries of one request; it may have been carried out by one that `failed`."""

    def __init__(self, *, is_trial: bool = False) -> None:
        self._tries = Tries(_PATIENCE)
        self._is_trial = is_trial
        self._unheard = 0
        self._silent = 0
        self._refused = 0

    @property
    def failed(self) -> int:
        """How many tries have failed."""
        return self._tries.failed

    async def answer(self, request: Callable[[], Awaitable[httpx.Response]]) -> "_Answer":
        """The answer to a request.  Raises Unavailable, KubernetesError."""
        return await self._tries.run(partial(self._try, request))

    async def _try(self, request: Callable[[], Awaitable[httpx.Response]]) -> "_Answer":
        try:
            with _reachable():
                response = await request()
        except Unavailable as error:
            self._unheard += 1
            self._silent += isinstance(error.__cause__, httpx.TimeoutException)
            if self._silent >= _SILENT_TRIES or self._unheard >= _UNHEARD_TRIES:
                raise
            raise Again(error) from error
        if not response.is_error and (answer := _decoded(response)):
            return answer
        refusal = _refusal(response) if response.is_error else _no_answer(response)
        if not self._may_pass(refusal, response.request.method):
            raise refusal
        busy = response.status_code == httpx.codes.TOO_MANY_REQUESTS
        asked = asked_seconds(response.headers.get("Retry-After", _USUAL_PAUSE if busy else ""))
        # Nobody who waits for us has longer than our longest.
        raise Again(refusal, after_seconds=min(asked, _PATIENCE.longest_seconds))

    def _may_pass(self, error: KubernetesError, method: str) -> bool:
        if error.code in _REFUSING and not (self._is_trial or _ADMISSION.search(str(error))):
            self._refused += 1
            return self._refused < _REFUSED_TRIES
        # A quota that others change at the same time; of our own changes, a conflict is the answer.
        is_contended = method == "POST" and error.reason == "Conflict"
        return is_contended or retries.is_passing(error)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the API server answered, which is JSON and an object; `date` is a header."""

    body: Manifest
    date: str


def _decoded(response: httpx.Response) -> _Answer | None:
    """Return an answer, or None if it is none of an API server's."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return _Answer(body, response.headers.get("Date", "")) if isinstance(body, dict) else None


def _no_answer(response: httpx.Response) -> KubernetesError:
    kind = response.headers.get("Content-Type", "")[:80]
    return KubernetesError(
        f"What the Kubernetes API answered is no object in JSON (Content-Type: {kind!r}): is there "
        "something between that answers in its place?",
        code=httpx.codes.BAD_GATEWAY,
        reason="",
    )


def _is_made_of(present: Manifest, manifest: Manifest) -> bool:
    """Whether an object is the one that we asked for, by all that its metadata say."""
    return all(
        (wanted.get(part) or {}).items() <= (found.get(part) or {}).items()
        for wanted, found in [(manifest["metadata"], present["metadata"])]
        for part in ("labels", "annotations")
    )


def _refusal(response: httpx.Response) -> KubernetesError:
    try:
        return _status_error(response.json())
    except (ValueError, KeyError, TypeError, AttributeError):  # not the API server's own words
        return KubernetesError(
            f"The Kubernetes API answered {response.status_code}: {response.text[:200]}",
            code=response.status_code,
            reason="",
        )


def _status_error(status: Manifest) -> KubernetesError:
    return KubernetesError(
        str(status.get("message") or status.get("reason")),
        code=int(status["code"]),
        reason=str(status.get("reason", "")),
    )


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    r"""Yield lines ended by `\n` alone: JSON may hold U+2028, at which other splitters cut."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
