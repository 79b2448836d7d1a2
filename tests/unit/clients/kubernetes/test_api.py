"""
The client against a double of the API server: faults that a real one cannot be made to do.

Everything else is tested on a real cluster, by tests/journeys.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stamina
from aiohttp import web

from peitho import metrics
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError, Listing
from peitho.errors import Unavailable
from peitho.formats.kubernetes.objects import Manifest
from tests.support.counted import Counted
from tests.support.kubernetes_double import (
    ApiServer,
    Script,
    always,
    answer,
    refusal,
    watch,
)


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[tuple[ApiServer, Kubernetes]]:
    """A double of the API server, and the client of it."""
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        yield server, kubernetes


def secret(name: str) -> Manifest:
    """The least of a Secret."""
    return {"kind": "Secret", "metadata": {"name": name}}


def stream(*parts: bytes, dies: bool = False) -> Script:
    """A log of these bytes."""
    return watch(*parts, dies=dies)


class TestErrors:
    async def test_a_refusal_has_the_clusters_words(self, tmp_path: Path) -> None:
        """
        Code, reason and message are those of the Status.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.script(
                "POST", "secrets", always(lambda: refusal(403, "Forbidden", "exceeded quota: q"))
            )
            with pytest.raises(KubernetesError, match=r"^exceeded quota: q$") as raised:
                await kubernetes.create(secret("a"))

        assert (403, "Forbidden") == (raised.value.code, raised.value.reason)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"<html>bad gateway</html>", "answered 502: <html>bad gateway</html>"),
            (b"", "answered 502: $"),
            (b'{"kind": "Other"}', 'answered 502: {"kind": "Other"}'),
            (b'{"code": "x"}', "answered 502: "),
            (b"\xff" * 5000, "answered 502: "),
        ],
        ids=["html", "empty", "no status", "odd code", "binary"],
    )
    async def test_what_a_proxy_answers_is_told_in_part(
        self, tmp_path: Path, body: bytes, message: str
    ) -> None:
        """
        An error that is no Status still has its code, and a beginning of its body.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.rule("GET", "secrets", always(lambda: web.Response(status=502, body=body)))
            with pytest.raises(KubernetesError, match=message) as raised:
                await kubernetes.find("Secret")

        assert 502 == raised.value.code
        assert len(str(raised.value)) < 300

    async def test_a_status_without_a_message_has_its_reason(self, tmp_path: Path) -> None:
        """
        Something is always said.
        """
        status = {"code": 422, "reason": "Invalid"}
        async with connected(tmp_path) as (server, kubernetes):
            server.script("GET", "secrets", always(lambda: answer(status, status=422)))
            with pytest.raises(KubernetesError, match=r"^Invalid$"):
                await kubernetes.find("Secret")

    async def test_a_server_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        """
        The same call may succeed later.
        """
        async with ApiServer.start() as server:
            kubeconfig = server.kubeconfig(tmp_path)
        async with Kubernetes.connect(kubeconfig=kubeconfig, namespace="") as kubernetes:
            for call in (kubernetes.find("Pod"), kubernetes.create(secret("a"))):
                with pytest.raises(Unavailable, match=r"^The Kubernetes API cannot be reached: "):
                    await call
            with pytest.raises(Unavailable):
                [_ async for _ in kubernetes.log("p", "c", follow=True)]

    async def test_a_connection_that_is_lost_in_an_answer_is_unavailable(
        self, tmp_path: Path
    ) -> None:
        """
        Half an answer is none.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.rule("GET", "secrets", watch(b'{"items": [', dies=True))
            with pytest.raises(Unavailable):
                await kubernetes.find("Secret")

    @pytest.mark.parametrize("text", ["{}", "[]", "x", "", "{clusters: 1, contexts: 2}", "a: ["])
    async def test_a_file_that_is_no_kubeconfig_is_told(self, tmp_path: Path, text: str) -> None:
        """
        As one that is not there.
        """
        path = tmp_path / "kubeconfig"
        path.write_text(text)

        with pytest.raises(Unavailable, match=r"No Kubernetes: .*kubeconfig"):
            async with Kubernetes.connect(kubeconfig=path, namespace=""):
                pass

    async def test_a_kubeconfig_without_a_context_is_told(self, tmp_path: Path) -> None:
        """
        Before anything is sent.
        """
        path = tmp_path / "kubeconfig"
        path.write_text("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\n")

        with pytest.raises(Unavailable, match="No Kubernetes"):
            async with Kubernetes.connect(kubeconfig=path, namespace=""):
                pass


class TestVerbs:
    async def test_an_object_from_create_to_delete(self, tmp_path: Path) -> None:
        """
        What is not there is None or False, not an error.
        """
        async with connected(tmp_path) as (_, kubernetes):
            await kubernetes.create(secret("a"))
            await kubernetes.patch("Secret", "a", {"metadata": {"labels": {"x": "y"}}})
            found = await kubernetes.get("Secret", "a")
            with pytest.raises(KubernetesError) as raised:
                await kubernetes.create(secret("a"))

            assert found is not None
            assert {"x": "y"} == found["metadata"]["labels"]
            assert "AlreadyExists" == raised.value.reason
            assert await kubernetes.delete("Secret", "a")
            assert not await kubernetes.delete("Secret", "a")
            assert await kubernetes.get("Secret", "a") is None

    async def test_the_namespace_is_the_given_one_or_the_contexts(self, tmp_path: Path) -> None:
        """
        An empty setting leaves it to the kubeconfig.
        """
        async with ApiServer.start() as server:
            path = server.kubeconfig(tmp_path)
            async with Kubernetes.connect(kubeconfig=path, namespace="") as left:
                assert "ns" == left.namespace
            async with Kubernetes.connect(kubeconfig=path, namespace="other") as given:
                assert "other" == given.namespace

    async def test_what_is_asked_of_the_server(self, tmp_path: Path) -> None:
        """
        Selectors, dry run, grace and precondition as Kubernetes spells them.
        """
        async with connected(tmp_path) as (server, kubernetes):
            await kubernetes.find("Pod", labels={"a/b": "c", "d": "e"}, fields="x=y")
            await kubernetes.create(secret("a"), dry_run=True)
            await kubernetes.delete("Secret", "a", grace_seconds=1, uid="u")

        find, create, delete = server.requests
        selected = {"labelSelector": "a/b=c,d=e", "fieldSelector": "x=y"}
        assert selected | {"limit": "50"} == find[2]
        assert {"dryRun": "All", "fieldValidation": "Strict"} == create[2]
        assert {
            "propagationPolicy": "Background",
            "gracePeriodSeconds": 1,
            "preconditions": {"uid": "u"},
        } == json.loads(delete[3])

    async def test_a_name_that_has_a_new_owner_is_not_deleted(self, tmp_path: Path) -> None:
        """
        A precondition that does not hold is "it was not there".
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.script("DELETE", "secrets/a", always(lambda: refusal(409, "Conflict", "uid")))

            assert not await kubernetes.delete("Secret", "a", uid="old")

    async def test_no_items_may_be_null(self, tmp_path: Path) -> None:
        """
        An empty list is written so by some servers.
        """
        body = {"items": None, "metadata": {"resourceVersion": "5"}}
        async with connected(tmp_path) as (server, kubernetes):
            server.script("GET", "pods", *[always(lambda: answer(body))] * 2)

            assert [] == await kubernetes.find("Pod")
            assert Listing([], "5") == await kubernetes.listed("Pod", dict)


async def test_requests_are_counted_by_verb_and_code(tmp_path: Path) -> None:
    """
    Each try, and one that got no answer, too.
    """
    codes = {
        verb: Counted("peitho_kubernetes_requests_total", "code", verb=verb)
        for verb in metrics.KUBERNETES_VERBS
    }
    async with connected(tmp_path) as (server, kubernetes):
        server.script("GET", "secrets/b", always(lambda: refusal(503, "", "starting")))
        server.script("WATCH", "pods", watch())
        await kubernetes.create(secret("b"))
        await kubernetes.get("Secret", "b")
        await kubernetes.find("Secret")
        await kubernetes.patch("Secret", "b", {"data": {}})
        await kubernetes.delete("Secret", "b")
        assert [] == [each async for each in kubernetes.watch("Pod", labels={}, version="1")]
    async with Kubernetes.connect(
        kubeconfig=server.kubeconfig(tmp_path), namespace="ns"
    ) as kubernetes:
        with pytest.raises(Unavailable):
            await kubernetes.get("Secret", "b")

    grown = {verb: each.grown for verb, each in codes.items() if each.grown}
    assert grown.pop("get")["none"] > 1
    assert {
        "create": {"201": 1},
        "list": {"200": 1},
        "patch": {"200": 1},
        "delete": {"200": 1},
        "watch": {"200": 1},
    } == grown


class TestLogs:
    PATH = "pods/p/log"

    async def test_a_log_is_kept_byte_for_byte(self, tmp_path: Path) -> None:
        r"""
        `\r`, U+2028, NUL and bytes that are no UTF-8 arrive as they are.
        """
        said = "50 %\r100 %\r\n\u2028\u0085\0".encode() + b"\xff\xfe no end"
        async with connected(tmp_path) as (server, kubernetes):
            server.script("GET", self.PATH, stream(said[:9], said[9:]))
            found = [chunk async for chunk in kubernetes.log("p", "c", follow=True)]

        assert said == b"".join(found)
        assert {"container": "c", "follow": "true"} == server.requests[0][2]

    async def test_a_part_of_a_log_is_asked_for_as_the_kubelet_has_it(self, tmp_path: Path) -> None:
        """
        A number of lines, a whole second, and the times.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.script("GET", self.PATH, stream(b"x"))
            log = kubernetes.log(
                "p", "c", follow=False, tail_lines=0, since_seconds=1767323045, timestamps=True
            )
            assert [b"x"] == [chunk async for chunk in log]

        assert {
            "container": "c",
            "follow": "false",
            "tailLines": "0",
            "sinceTime": "2026-01-02T03:04:05+00:00",
            "timestamps": "true",
        } == server.requests[0][2]

    async def test_a_log_that_is_refused_is_told(self, tmp_path: Path) -> None:
        """
        A container that waits has none.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.script(
                "GET", self.PATH, always(lambda: refusal(400, "BadRequest", "is waiting"))
            )
            with pytest.raises(KubernetesError, match="is waiting"):
                [_ async for _ in kubernetes.log("p", "c", follow=False)]

    async def test_a_log_that_breaks_off_is_told_after_what_came(self, tmp_path: Path) -> None:
        """
        Its reader has what was said, and knows that it is not all.
        """
        found = []
        async with connected(tmp_path) as (server, kubernetes):
            server.script("GET", self.PATH, stream(b"half", dies=True))
            log = kubernetes.log("p", "c", follow=True)
            found.append(await anext(log))
            with pytest.raises(Unavailable):
                found += [chunk async for chunk in log]

        assert b"half" == b"".join(found)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"5", b"\xff", b"[" * 100_000])
async def test_an_answer_that_is_none_of_an_api_server_is_told(tmp_path: Path, body: bytes) -> None:
    """
    Nothing is taken for gone, and the cause is no word of ours.
    """
    async with connected(tmp_path) as (server, kubernetes):
        server.rule("GET", "secrets/a", always(lambda: web.Response(body=body)))
        with pytest.raises(KubernetesError, match="no object in JSON"):
            await kubernetes.get("Secret", "a")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"'])
async def test_a_proxys_json_is_told(tmp_path: Path, body: bytes) -> None:
    """
    JSON that is not the API server's is an error with its status.
    """
    async with connected(tmp_path) as (server, kubernetes):
        server.rule("GET", "secrets", always(lambda: web.Response(status=502, body=body)))
        with pytest.raises(KubernetesError, match="502"):
            await kubernetes.find("Secret")


async def test_a_kubeconfig_without_a_user_is_taken(tmp_path: Path) -> None:
    """
    A proxy on loopback asks for no credentials.
    """
    path = tmp_path / "kubeconfig"
    path.write_text(
        "current-context: d\ncontexts: [{name: d, context: {cluster: d}}]\n"
        "clusters: [{name: d, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )

    async with Kubernetes.connect(kubeconfig=path, namespace="ns") as kubernetes:
        assert "ns" == kubernetes.namespace


def kubeconfig(directory: Path, *, user: str = "{}", server: str = "server: 'http://a'") -> Path:
    """A kubeconfig file whose user and cluster have these keys."""
    path = directory / "kubeconfig"
    path.write_text(
        "current-context: d\ncontexts: [{name: d, context: {cluster: d, user: u}}]\n"
        f"clusters: [{{name: d, cluster: {{{server}}}}}]\nusers: [{{name: u, user: {user}}}]\n"
    )
    return path


EXEC = "apiVersion: client.authentication.k8s.io/v1beta1"


@pytest.mark.parametrize(
    ("user", "cause"),
    [
        ("{tokenFile: /nope}", "Token file /nope not found"),
        ("{tokenFile: /tmp}", "Is a directory"),
        (f"{{exec: {{{EXEC}, command: /nope}}}}", "No such file"),
        (f"{{exec: {{{EXEC}, command: 'false'}}}}", "Exec false returned 1"),
        (f"{{exec: {{{EXEC}, command: echo, args: [secret]}}}}", "JSONDecodeError"),
        (f"{{exec: {{{EXEC}, command: echo, args: ['{{}}']}}}}", "KeyError"),
        ("{exec: {apiVersion: client.authentication.k8s.io/v9, command: a}}", "not implemented"),
    ],
)
async def test_credentials_that_cannot_be_had_are_told(
    tmp_path: Path, user: str, cause: str
) -> None:
    """
    They may come: a token's file is written anew. What is a secret is not among the words.
    """
    path = kubeconfig(tmp_path, user=user)
    async with Kubernetes.connect(kubeconfig=path, namespace="") as kubernetes:
        with pytest.raises(Unavailable, match="No credentials for the Kubernetes API") as raised:
            await kubernetes.get("Secret", "a")

    assert cause in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ("{auth-provider: {name: gcp}}", ""),
        ("{client-certificate: /nope, client-key: /nope}", ""),
        ("{client-certificate-data: x, client-key-data: x}", ""),
        ("{}", ", certificate-authority: /nope"),
        ("{}", ", certificate-authority: /tmp"),
        ("{}", ", certificate-authority-data: x"),
        ("{}", ", certificate-authority-data: eA=="),
    ],
)
async def test_a_certificate_that_is_none_is_told(tmp_path: Path, user: str, cluster: str) -> None:
    """
    Before anything is started.
    """
    path = kubeconfig(tmp_path, user=user, server=f"server: 'https://a'{cluster}")
    with pytest.raises(Unavailable, match="No Kubernetes: "):
        async with Kubernetes.connect(kubeconfig=path, namespace=""):
            pass


@pytest.mark.parametrize("server", ["https://327.0.0.1", "https://a:port", "5", "'http://a:99999'"])
async def test_a_server_that_is_no_url_is_told(tmp_path: Path, server: str) -> None:
    """
    Before anything is sent.
    """
    path = tmp_path / "kubeconfig"
    path.write_text(
        "current-context: d\ncontexts: [{name: d, context: {cluster: d}}]\n"
        f"clusters: [{{name: d, cluster: {{server: {server}}}}}]\n"
    )

    with pytest.raises(Unavailable, match="No Kubernetes"):
        async with Kubernetes.connect(kubeconfig=path, namespace="ns"):
            pass


async def test_an_overloaded_api_server_is_asked_again(tmp_path: Path) -> None:
    """
    Some times, and not for ever; in a test without the pauses that it asks for.
    """

    def busy() -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7"}, text="Too many requests")

    async with connected(tmp_path) as (server, client):
        server.script("GET", "secrets/a", always(busy), always(busy))
        server.script("GET", "secrets/b", *[always(busy)] * 10)
        with stamina.set_testing(testing=True, attempts=100):
            assert await client.get("Secret", "a") is None
            with pytest.raises(KubernetesError, match="429"):
                await client.get("Secret", "b")

    assert (3, 6) == (server.count("GET", "secrets/a"), server.count("GET", "secrets/b"))


PASSING = {
    "the leader changes": always(lambda: refusal(500, "InternalError", "etcdserver: no leader")),
    "a webhook fails": always(lambda: refusal(500, "InternalError", "failed calling webhook")),
    "it shuts down": always(lambda: refusal(503, "ServiceUnavailable", "shutting down")),
    "it takes too long": always(lambda: refusal(504, "Timeout", "timed out")),
    "it is overloaded": always(lambda: refusal(429, "TooManyRequests", "later")),
    "rights are not known yet": always(lambda: refusal(403, "Forbidden", "User x cannot create")),
    "a quota is contended": always(lambda: refusal(409, "Conflict", "cannot be fulfilled on")),
    "it is cut": watch(dies=True),
    "a proxy has a page": always(lambda: web.Response(text="<html>", content_type="text/html")),
}


class TestWhatPasses:
    @pytest.mark.parametrize("passing", PASSING.values(), ids=PASSING)
    async def test_it_is_tried_again(self, tmp_path: Path, passing: Script) -> None:
        """
        Whatever is created is there then, once.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.script("POST", "secrets", passing, passing)

            made = await kubernetes.create(secret("a"))

        assert server.objects["secrets/a"] == made
        assert 3 == server.count("POST", "secrets")

    async def test_a_create_whose_answer_was_lost_is_no_conflict(self, tmp_path: Path) -> None:
        """
        What is there is what was asked for; anything else of that name is still in the way.
        """
        async with connected(tmp_path) as (server, kubernetes):

            async def made_unheard(request: web.Request) -> web.StreamResponse:
                server.make("secrets/a", json.loads(await request.read()))
                assert request.transport is not None
                request.transport.abort()
                return web.Response()

            wanted = secret("a")
            wanted["metadata"]["annotations"] = {"peitho/id": "1"}
            server.script("POST", "secrets", made_unheard)
            assert "1" == (await kubernetes.create(wanted))["metadata"]["annotations"]["peitho/id"]

            wanted["metadata"]["annotations"] = {"peitho/id": "2"}
            server.script("POST", "secrets", watch(dies=True))
            with pytest.raises(KubernetesError) as raised:
                await kubernetes.create(wanted)

        assert "AlreadyExists" == raised.value.reason
        # Of a Pod's build it is so, too, and the Role has no right to get a Pod.
        assert 0 == server.count("GET", "secrets/a")

    async def test_what_lasts_is_told_in_time(self, tmp_path: Path) -> None:
        """
        A peer that waits is to read the cause; missing rights are told within seconds.
        """
        loop = asyncio.get_running_loop()
        async with connected(tmp_path) as (server, kubernetes):
            server.rule("GET", "pods", PASSING["it shuts down"])
            server.rule("GET", "jobs", PASSING["rights are not known yet"])
            for kind, code, seconds in (("Pod", 503, 15), ("Job", 403, 3)):
                began = loop.time()
                with pytest.raises(KubernetesError) as raised:
                    await kubernetes.find(kind)
                assert code == raised.value.code
                assert loop.time() - began < seconds

    @pytest.mark.parametrize(
        "words",
        [
            "exceeded quota: q",
            'violates PodSecurity "restricted:latest"',
            'admission webhook "w" denied the request',
            "unable to create new content in namespace ns because it is being terminated",
        ],
    )
    async def test_what_admission_says_is_an_answer(self, tmp_path: Path, words: str) -> None:
        """
        It has the same status as missing rights, and is told at once.
        """
        async with connected(tmp_path) as (server, kubernetes):
            server.rule("POST", "secrets", always(lambda: refusal(403, "Forbidden", words)))
            with pytest.raises(KubernetesError):
                await kubernetes.create(secret("a"))

        assert 1 == server.count("POST", "secrets")


async def test_namespaces_have_clients_over_the_same_connections(tmp_path: Path) -> None:
    """
    What one makes is not in another; without a name it is the same.
    """
    async with connected(tmp_path) as (server, kubernetes):
        other = kubernetes.in_namespace("other")
        await other.create(secret("a"))

        assert ["other:secrets/a"] == list(server.objects)
        assert await kubernetes.get("Secret", "a") is None
        assert await other.get("Secret", "a") is not None
        assert "ns" == kubernetes.in_namespace("").namespace
