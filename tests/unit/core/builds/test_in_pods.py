import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing
from aiohttp import web

from peitho.core.builds.build import NEVER_RAN
from peitho.core.clock import now
from peitho.core.pods.tokens import Holder, build_scope
from peitho.errors import PeithoError, StartFailed, Unavailable
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.kubernetes import labels, record_secrets
from tests.support.build_pods import AT, CA, ID, NAME, SPEC, TOKENS, done, scene, told
from tests.support.contexts import chunks, package
from tests.support.kubernetes_double import (
    Script,
    after,
    always,
    answer,
    refusal,
)
from tests.support.manifests import SETTINGS

POD, SECRET = f"pods/{NAME}", f"secrets/{NAME}"
OOM_KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": AT}}


async def test_a_build_is_a_pod_as_long_as_it_lasts(tmp_path: Path) -> None:
    """
    With the token of its helper in a Secret of its own; both are gone when its result is there.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        task = group.create_task(it.carry_out())
        await it.cluster.until_asked("POST", "pods")
        await it.run.append_output(chunks(streams.frame(STDOUT, b"compiled\n")))
        await it.run.until_started()
        it.run.set_exit_code(0)
        await it.make()

        assert (0, "") == await task
        assert b"compiled\n" == await it.said()
        assert {} == it.cluster.objects

    token = base64.b64decode(it.posted("secrets")["data"][record_secrets.TOKEN_KEY]).decode()
    assert Holder(NAME, ID) == TOKENS.holder(token, build_scope(ID))
    assert CA == base64.b64decode(it.posted("secrets")["data"][record_secrets.CA_KEY]).decode()
    pod = it.posted("pods")
    assert 900 == pod["spec"]["activeDeadlineSeconds"]
    assert token not in json.dumps(pod)
    assert "/chaincode/input" in json.dumps(pod)


async def test_its_pod_pulls_with_the_secrets_of_its_service_account_too(tmp_path: Path) -> None:
    """
    A builder image may be in another registry than chaincode's.
    """
    options = replace(SETTINGS, pull_secrets=("peitho-registry",))
    async with scene(tmp_path, made_with=options) as it, asyncio.TaskGroup() as group:
        named = {"imagePullSecrets": [{"name": "mirror"}]}
        it.cluster.make("serviceaccounts/default", {"metadata": {}, **named})
        task = group.create_task(it.carry_out())
        await it.cluster.until_asked("POST", "pods")
        task.cancel()

    pulled_with = [{"name": "peitho-registry"}, {"name": "mirror"}]
    assert pulled_with == it.posted("pods")["spec"]["imagePullSecrets"]


async def test_the_image_that_a_build_ran_in_is_known(tmp_path: Path) -> None:
    """
    By its digest: a tag may move.
    """
    async with scene(tmp_path, told(done(0), done(0))) as it:
        it.run.set_exit_code(0)
        await it.make()
        await it.carry_out()

        assert "build@sha256:1" == it.run.image_id


async def test_the_pod_stays_until_the_result_is_there(tmp_path: Path) -> None:
    """
    The exit code is told at once, the result may be large.
    """
    async with scene(tmp_path, told()) as it, asyncio.TaskGroup() as group:
        task = group.create_task(it.carry_out())
        it.run.set_exit_code(0)
        ended = asyncio.Event()
        it.run.add_container("a", lambda _: ended.set())
        await ended.wait()
        assert not task.done()
        assert {POD, SECRET} == set(it.cluster.objects)

        await it.make()
        await task
        assert {} == it.cluster.objects


@pytest.mark.parametrize("tells", [True, False], ids=["ends", "says nothing"])
async def test_the_pod_stays_until_what_was_downloaded_is_sent(
    tmp_path: Path, *, tells: bool
) -> None:
    """
    For as long as its helper is at it, if there is one; for two minutes at most.
    """
    over = asyncio.Event()
    news = [told(), after(over, told(done(0), done(0)))] if tells else [told()]
    async with scene(tmp_path, *news) as it, asyncio.TaskGroup() as group:
        it.run.lacks_packages = True
        task = group.create_task(it.carry_out())
        it.run.set_exit_code(0)
        await it.make()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(10)
        assert not task.done()
        over.set()

        assert (0, "") == await task
        assert (asyncio.get_running_loop().time() - began > 100) != tells
        assert {} == it.cluster.objects


async def test_a_build_on_a_lost_node_ends_past_its_deadline(tmp_path: Path) -> None:
    """
    There is no kubelet to end it, so Peitho does: its turn goes to another.
    """
    async with scene(tmp_path, told()) as it:
        began = asyncio.get_running_loop().time()

        code, reason = await it.carry_out()

        assert (137, True) == (code, "DeadlineExceeded" in reason and "node lost" in reason)
        assert 900 < asyncio.get_running_loop().time() - began < 1050
        assert {} == it.cluster.objects


async def test_a_build_whose_pod_is_deleted_on_a_lost_node_ends(tmp_path: Path) -> None:
    """
    The Pod stays, as no kubelet tells of its end.
    """
    deleted = {"deletionTimestamp": AT, "deletionGracePeriodSeconds": 1}
    async with scene(tmp_path, told(), told(metadata=deleted)) as it:
        assert (137, "node lost") == await it.carry_out()


async def test_a_result_may_take_as_long_as_something_comes(tmp_path: Path) -> None:
    """
    Silence is what cuts it, and not its size.
    """

    async def slowly() -> AsyncIterator[bytes]:
        content = package()
        for at in range(0, len(content), len(content) // 4 + 1):
            await asyncio.sleep(20)
            yield content[at : at + len(content) // 4 + 1]

    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        it.run.mark_started()
        it.run.set_exit_code(0)
        task = group.create_task(it.carry_out())
        group.create_task(it.run.save_result(slowly(), "amd64"))

        assert (0, "") == await task
        assert it.run.result is not None


async def test_a_result_that_cannot_come_is_not_waited_for(tmp_path: Path) -> None:
    """
    The helper has ended, in whatever way.
    """
    async with scene(tmp_path, told(done(0), done(0))) as it:
        it.run.set_exit_code(0)

        assert (0, "") == await it.carry_out()
        with pytest.raises(PeithoError, match="the build's output did not arrive"):
            await it.run.until_result(0)


class TestTheHelpersWord:
    async def test_it_is_enough(self, tmp_path: Path) -> None:
        """
        A watch that is silent holds up nobody: neither the start nor the end.
        """
        async with scene(tmp_path) as it:
            it.run.mark_started()
            it.run.set_exit_code(0)
            await it.make()

            assert (0, "") == await it.carry_out()

    async def test_it_is_waited_for_when_the_pod_is_first(self, tmp_path: Path) -> None:
        """
        The command's code is the helper's: behind it, all of the output has been taken.
        """
        async with scene(tmp_path, told(done(0))) as it, asyncio.TaskGroup() as group:
            task = group.create_task(it.carry_out())
            await it.run.until_started()
            await it.run.append_output(chunks(streams.frame(STDOUT, b"last words")))
            it.run.set_exit_code(0)
            await it.make()

            assert (0, "") == await task
            assert b"last words" == await it.said()

    async def test_a_failure_has_the_pods_reason_behind_it(self, tmp_path: Path) -> None:
        """
        The kubelet says it a little later, and peers read it as the last line.
        """
        word = asyncio.Event()
        news = (told(), after(word, told(OOM_KILLED, done(0))))
        async with scene(tmp_path, *news) as it, asyncio.TaskGroup() as group:
            task = group.create_task(it.carry_out())
            await it.run.append_output(chunks(streams.frame(STDOUT, b"linking\n")))
            it.run.set_exit_code(2)
            word.set()

            assert (2, "OOMKilled") == await task
            assert b"linking\npeitho: the build ended with 2: OOMKilled\n" == await it.said()

    @pytest.mark.parametrize("news", [(), (told(done(1)),)], ids=["silent", "no reason"])
    async def test_a_failure_of_the_command_alone_needs_no_reason(
        self, tmp_path: Path, news: tuple[Script, ...]
    ) -> None:
        """
        A compiler's error is said by the compiler.
        """
        async with scene(tmp_path, *news) as it:
            it.run.mark_started()
            it.run.set_exit_code(1)
            await it.make()

            assert (1, "") == await it.carry_out()
            assert b"" == await it.said()


class TestThePodsWord:
    @pytest.mark.parametrize(
        ("news", "expected"),
        [
            ([told(OOM_KILLED)], (137, "OOMKilled")),
            (
                [told(phase="Failed", reason="DeadlineExceeded", message="too long")],
                (137, "DeadlineExceeded: too long"),
            ),
            ([told(), told(kind="DELETED")], (137, "the Pod was deleted")),
            (
                [told(helper=done(1, message="peitho cannot be reached\n"))],
                (NEVER_RAN, "the helper beside the build failed: peitho cannot be reached"),
            ),
            (
                [told(helper=OOM_KILLED)],
                (NEVER_RAN, "the helper beside the build failed: OOMKilled"),
            ),
        ],
        ids=["memory", "deadline", "deleted", "helper failed", "helper killed"],
    )
    async def test_it_is_taken_when_the_helper_is_silent(
        self, tmp_path: Path, news: list[Script], expected: tuple[int, str]
    ) -> None:
        """
        In the cluster's words, which peers read as the last line.
        """
        word = asyncio.Event()
        async with scene(tmp_path, *news, after(word, told(done(0), done(0)))) as it:
            it.run.add_container("a", lambda _: word.set())
            assert expected == await it.carry_out()

            code, reason = expected
            assert f"peitho: the build ended with {code}: {reason}\n".encode() == await it.said()
            assert {} == it.cluster.objects

    async def test_a_pod_that_cannot_run_is_no_start(self, tmp_path: Path) -> None:
        """
        The peer is told what the kubelet says, and nothing is left.
        """
        bad = {"waiting": {"reason": "InvalidImageName", "message": "no"}}
        async with scene(tmp_path, told(bad)) as it:
            with pytest.raises(StartFailed, match=r"^the build's Pod cannot run: InvalidImageName"):
                await it.carry_out()

            assert {} == it.cluster.objects

    async def test_a_pod_that_does_not_come_is_no_start(self, tmp_path: Path) -> None:
        """
        After the time that the operator gives it.
        """
        async with scene(tmp_path, seconds=0.05) as it:
            with pytest.raises(StartFailed, match=r"not started within 0\.05 s: Timeout"):
                await it.carry_out()

            assert {} == it.cluster.objects


class TestRefusals:
    async def test_a_quota_is_told_in_its_words(self, tmp_path: Path) -> None:
        """
        The Secret that was made before is gone again.
        """
        async with scene(tmp_path) as it:
            over = always(lambda: refusal(403, "Forbidden", "exceeded quota: q"))
            it.cluster.script("POST", "pods", over)
            with pytest.raises(
                StartFailed, match=r"^the build's Pod was refused: exceeded quota: q$"
            ):
                await it.carry_out()

            assert {} == it.cluster.objects

    async def test_a_cluster_that_is_away_is_told_as_such(self, tmp_path: Path) -> None:
        """
        The peer may try again.
        """

        async def hang_up(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        async with scene(tmp_path) as it:
            it.cluster.rule("POST", "pods", hang_up)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await it.carry_out()

            assert {} == it.cluster.objects

    async def test_a_pod_that_cannot_be_removed_is_logged(self, tmp_path: Path) -> None:
        """
        The build's outcome is what it is; the next start clears what is left.
        """
        async with scene(tmp_path) as it:
            it.cluster.rule("DELETE", POD, always(lambda: refusal(403, "Forbidden", "no right")))
            it.run.mark_started()
            it.run.set_exit_code(0)
            await it.make()

            with structlog.testing.capture_logs() as logs:
                assert (0, "") == await it.carry_out()

        assert {"event": "build pod not removed", "pod": NAME, "cause": "no right"}.items() <= (
            logs[-1].items()
        )


@pytest.mark.parametrize("started", [False, True])
async def test_a_build_that_is_cancelled_leaves_nothing(tmp_path: Path, *, started: bool) -> None:
    """
    Before its Pod runs, and while it does; it is not given long to end.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        task = group.create_task(it.carry_out())
        await it.cluster.until_asked("POST", "pods")
        if started:
            it.run.mark_started()
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert {} == it.cluster.objects

    (body,) = [each[3] for each in it.cluster.requests if each[:2] == ("DELETE", POD)]
    assert 1 == json.loads(body)["gracePeriodSeconds"]


async def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    """
    Not the builds of this run, nor another Peitho's, nor anything else of ours.

    Another may have our name, and another data directory: what it cannot carry out any more goes.
    """
    async with scene(tmp_path) as it:
        builds = [
            ("peitho", "me", "1" * 64, now()),
            ("peitho", "me", "2" * 64, now()),
            ("other", "me", "3" * 64, now()),
            ("peitho", "other", "4" * 64, now()),
            ("peitho", "other", "5" * 64, AT),
        ]
        for instance, owner, container_id, created in builds:
            record = record_secrets.build_secret(
                instance=instance,
                owner=owner,
                container_id=container_id,
                spec=SPEC,
                token=ID,
                created=created,
            )
            name = record["metadata"]["name"]
            it.cluster.objects[f"secrets/{name}"] = record
            it.cluster.objects[f"pods/{name}"] = {"metadata": {"name": name}}
        chaincode = {
            "metadata": {"name": "cc", "labels": labels.container_labels("peitho", "x", "4")}
        }
        it.cluster.objects["secrets/cc"] = chaincode

        await it.backend.clear_leftovers({"2" * 64})

        kept = {f"{kind}/build-{each * 12}" for kind in ("pods", "secrets") for each in "234"}
        assert kept | {"secrets/cc"} == set(it.cluster.objects)


async def test_a_build_that_begins_while_leftovers_are_looked_for_is_none(tmp_path: Path) -> None:
    """
    The first after a start is there when the list is answered, and was not when it was asked for.
    """
    known: dict[str, None] = {}
    record = record_secrets.build_secret(
        instance="peitho", owner="me", container_id=ID, spec=SPEC, token=ID, created=now()
    )

    async def begun_meanwhile(_: web.Request) -> web.StreamResponse:
        known[ID] = None
        it.cluster.make(f"secrets/{record['metadata']['name']}", record)
        return answer({"items": [record], "metadata": {"resourceVersion": "1"}})

    async with scene(tmp_path) as it:
        it.cluster.script("GET", "secrets", begun_meanwhile)

        await it.backend.clear_leftovers(known.keys())

        assert [f"secrets/{record['metadata']['name']}"] == list(it.cluster.objects)
