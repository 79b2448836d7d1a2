"""A chaincode container from create to remove, before a double of the API server."""

import asyncio
import base64
from pathlib import Path

import pytest

from peitho.core.chaincode.container import ChaincodeContainer
from peitho.core.container import Container, OutputOptions
from peitho.core.pods.tokens import Holder, blob_scope
from peitho.errors import Conflict, InvalidArgument, NotFound, StartFailed, Unsupported
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE, Exit
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks
from tests.support.kubernetes_double import always, refusal
from tests.support.launches import AT, LATER_SECONDS, RUNNING, SPEC, Scene, ended, scene

PULL = {"waiting": {"reason": "ErrImageNeverPull", "message": "not here"}}
CREATING = {"waiting": {"reason": "ContainerCreating"}}
KEY = "etc/hyperledger/fabric/client.key"


async def stop(it: Scene, code: int = 143) -> bool:
    """Stop the container, whose process ends with a code when its Pod is deleted."""
    container = await it.find()
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(container.stop())
        await it.cluster.until_asked("DELETE", "pods/pod")
        await it.tell(container, ended(code), "DELETED")
    return stopping.result()


class TestStart:
    async def test_it_returns_once_the_process_runs(self, tmp_path: Path) -> None:
        """
        Its Job is made from the record and the image; a second start is none.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.launch(container)

            assert "running" == (await container.inspect()).summary.state.status
            assert await (await it.find()).start() is False
            (job,) = (body for path, body in it.cluster.objects.items() if "jobs/" in path)
            (main,) = job["spec"]["template"]["spec"]["containers"]
            assert (CHAINCODE, ["chaincode"]) == (main["name"], main["args"])

    async def test_its_pod_is_given_what_opens_delivery_now(self, tmp_path: Path) -> None:
        """
        What the create gave, unless Peitho or the image is another since then.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            (path,) = [path for path in it.cluster.objects if "secrets/" in path]
            data = it.cluster.objects[path]["data"]
            before = dict(data)
            holder = Holder(path.removeprefix("secrets/"), container.id)
            layer = it.parts.services.images.get("mycc").layer
            token = base64.b64decode(data["token"]).decode()
            assert holder == it.parts.services.tokens.holder(token, blob_scope(layer))
            assert (
                it.parts.shared.delivery_tls.authority.pem
                == base64.b64decode(data["ca.crt"]).decode()
            )

            del data["ca.crt"]  # as an earlier version made it
            data["token"] = base64.b64encode(b"ab" * 32).decode()
            it.cluster.changed(path)
            await asyncio.sleep(LATER_SECONDS)
            found = await it.find()
            assert isinstance(found, ChaincodeContainer)
            await it.launch(found)

            assert before == it.cluster.objects[path]["data"]
            assert 1 == it.cluster.count("PATCH", path)

    async def test_what_is_good_is_not_given_again(self, tmp_path: Path) -> None:
        """
        A start asks the API server for no more than before.
        """
        async with scene(tmp_path) as it:
            await it.launch(await it.create())

            assert [] == [each[1] for each in it.cluster.requests if each[0] == "PATCH"]

    async def test_one_that_cannot_run_leaves_no_job(self, tmp_path: Path) -> None:
        """
        The cluster's words are in the error, and the peer may try again with the same container.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(_failure(container))
                await it.cluster.until_asked("POST", "jobs")
                await it.tell(container, PULL, "ADDED")

            assert "ErrImageNeverPull: i: not here" in starting.result()
            assert ["pods", "secrets"] == it.kinds()

    async def test_one_that_is_broken_off_leaves_no_job(self, tmp_path: Path) -> None:
        """
        The peer hung up in the middle.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(container.start())
                await it.cluster.until_asked("POST", "jobs")
                starting.cancel()

            assert ["secrets"] == it.kinds()

    async def test_a_process_that_ends_at_once_fails_its_start(self, tmp_path: Path) -> None:
        """
        While it settles; its last lines are in the error, and its exit is on the record.
        """
        async with scene(tmp_path, settleSeconds=30) as it:
            container = await it.create()
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(_failure(container))
                await it.cluster.until_asked("POST", "jobs")
                await it.tell(container, RUNNING, "ADDED")
                await it.tell(container, ended(7, message="no peer\n"))

            why = "container exited with 7 at its start; its last lines: no peer"
            assert why in starting.result()
            await it.cluster.until_asked("POST", "events")
            assert Exit(7, "", AT, "no peer") == it.noted

    @pytest.mark.parametrize("state", [CREATING, RUNNING], ids=["before", "settling"])
    async def test_a_process_that_its_peer_stops_was_started(
        self, tmp_path: Path, state: Manifest
    ) -> None:
        """
        While it is being started, or settles: `wait` tells how it ended.
        """
        async with scene(tmp_path, settleSeconds=30) as it:
            container = await it.create()
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(container.start())
                await it.cluster.until_asked("POST", "jobs")
                await it.tell(container, state, "ADDED")
                assert await stop(it, 137) is True

            assert starting.result() is True
            assert 137 == (await (await it.find()).wait()).exit_code

    async def test_a_process_that_ran_for_a_while_was_started(self, tmp_path: Path) -> None:
        """
        It may have registered at its peer, though it ends before it has settled.
        """
        async with scene(tmp_path, settleSeconds=30) as it:
            container = await it.create()
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(container.start())
                await it.cluster.until_asked("POST", "jobs")
                await it.tell(container, RUNNING, "ADDED")
                await asyncio.sleep(2)
                await it.tell(container, ended(7))

            assert starting.result() is True
            assert 7 == (await (await it.find()).wait()).exit_code

    async def test_what_has_ended_is_not_started_again(self, tmp_path: Path) -> None:
        """
        A peer creates a new container for each launch.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.launch(container)
            await it.tell(container, ended(3))

            with pytest.raises(Conflict, match="has ended, and is not started a second time"):
                await container.start()

    async def test_an_image_that_is_gone_is_told(self, tmp_path: Path) -> None:
        """
        By the text that peers match by case.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.parts.services.images.remove("mycc")

            with pytest.raises(NotFound, match=r"^No such image: mycc:latest$"):
                await container.start()

    async def test_a_job_that_is_there_is_a_start_of_before(self, tmp_path: Path) -> None:
        """
        Though no watch has told of its Pod yet.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            exists = always(lambda: refusal(409, "AlreadyExists", "exists"))
            it.cluster.script("POST", "jobs", exists)

            assert await container.start() is False


class TestStop:
    async def test_it_returns_once_the_process_is_gone(self, tmp_path: Path) -> None:
        """
        With its true exit code on the record; the Job goes first, so that no Pod comes any more.
        """
        async with scene(tmp_path) as it:
            await it.launch(await it.create())

            assert await stop(it, 143) is True
            assert Exit(143, "", AT) == it.noted
            assert ["jobs", "pods"] == [
                path.partition("/")[0]
                for method, path, *_ in it.cluster.requests
                if method == "DELETE"
            ]
            assert await (await it.find()).stop() is False

    async def test_what_was_never_started_is_not_stopped(self, tmp_path: Path) -> None:
        """
        Nothing is deleted.
        """
        async with scene(tmp_path) as it:
            assert await (await it.create()).stop() is False
            assert ["secrets"] == it.kinds()


class TestWait:
    async def test_it_tells_the_exit_code_as_soon_as_it_is_known(self, tmp_path: Path) -> None:
        """
        The record has it, too, for whoever waits later.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.launch(container)
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task((await it.find()).wait())
                await asyncio.sleep(0)
                await it.tell(container, ended(137, reason="OOMKilled"))
            await it.cluster.until_asked("POST", "events")

            assert (137, "OOMKilled") == (waiting.result().exit_code, waiting.result().reason)
            assert 137 == (await (await it.find()).wait()).exit_code


class TestFiles:
    async def test_they_are_mounted_where_they_were_put(self, tmp_path: Path) -> None:
        """
        Uploads add up, and the start that follows has all of them.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            for path, name in (("/", f"/{KEY}"), ("/opt/", "more")):
                await container.put_archive(path, chunks(archive_bytes([file(name, b"secret")])))
            await it.launch(container)

            (job,) = (body for path, body in it.cluster.objects.items() if "jobs/" in path)
            (main,) = job["spec"]["template"]["spec"]["containers"]
            places = {each["mountPath"] for each in main["volumeMounts"] if each["name"] == "files"}
            assert {f"/{KEY}", "/opt/more"} == places
            (secret,) = (body for path, body in it.cluster.objects.items() if "secrets/" in path)
            assert b"secret" == base64.b64decode(secret["data"]["file.0"])

    async def test_they_have_the_modes_that_they_were_put_with(self, tmp_path: Path) -> None:
        """
        A key that its owner alone may read is no file for all.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await container.put_archive("/", chunks(archive_bytes([file(KEY, b"x", mode=0o600)])))
            await container.put_archive(
                "/", chunks(archive_bytes([file("more", b"x", mode=0o644)]))
            )
            await it.launch(container)

            (job,) = (body for path, body in it.cluster.objects.items() if "jobs/" in path)
            volumes = job["spec"]["template"]["spec"]["volumes"]
            (files,) = (each["secret"]["items"] for each in volumes if each["name"] == "files")
            assert [0o600, 0o644] == [each["mode"] for each in files]

    async def test_a_file_takes_the_place_of_one_of_the_image(self, tmp_path: Path) -> None:
        """
        As in a daemon; a Pod that mounts a path twice would be refused.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            own = archive_bytes([file("chaincode", b"other", mode=0o755)])
            await container.put_archive("/usr/local/bin", chunks(own))
            await it.launch(container)

            (job,) = (body for path, body in it.cluster.objects.items() if "jobs/" in path)
            (main,) = job["spec"]["template"]["spec"]["containers"]
            assert [("files", "/usr/local/bin/chaincode")] == [
                (each["name"], each["mountPath"]) for each in main["volumeMounts"]
            ]

    async def test_a_path_is_a_file_or_a_directory(self, tmp_path: Path) -> None:
        """
        Also where two uploads say it: no kubelet can mount both.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await container.put_archive("/", chunks(archive_bytes([file("opt/key", b"x")])))
            for path, name in (("/", "opt"), ("/opt/key", "more")):
                with pytest.raises(InvalidArgument, match=r"'/opt/key.*' lies below the file"):
                    await container.put_archive(path, chunks(archive_bytes([file(name, b"x")])))

    async def test_what_runs_takes_none(self, tmp_path: Path) -> None:
        """
        Its Pod would not see them, and the peer would take them for there.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.launch(container)
            with pytest.raises(Conflict, match="is running: files are uploaded before its start"):
                await (await it.find()).put_archive("/", chunks(archive_bytes([file("a", b"x")])))

    @pytest.mark.parametrize("reason", ["Invalid", "RequestEntityTooLarge"])
    async def test_what_does_not_fit_is_the_peers_fault(self, tmp_path: Path, reason: str) -> None:
        """
        The API server knows how much a Secret holds.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            (path,) = it.cluster.objects
            it.cluster.script("PATCH", path, always(lambda: refusal(413, reason, "too much")))

            with pytest.raises(InvalidArgument, match="the files do not fit into a Secret"):
                await container.put_archive("/", chunks(archive_bytes([file("a", b"x")])))

    async def test_peers_download_nothing(self, tmp_path: Path) -> None:
        """
        Not even what they uploaded.
        """
        async with scene(tmp_path) as it:
            with pytest.raises(NotFound, match="Could not find the file /etc"):
                await (await it.create()).get_archive("/etc")


class TestRemove:
    async def test_the_process_goes_before_the_record(self, tmp_path: Path) -> None:
        """
        Nothing of it is left.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.launch(container)
            async with asyncio.TaskGroup() as group:
                removing = group.create_task((await it.find()).remove())
                await it.cluster.until_asked("DELETE", "pods/pod")
                assert "secrets" in it.kinds()
                await it.tell(container, ended(143), "DELETED")
            await removing

            assert [] == it.kinds()

    async def test_what_has_ended_is_only_removed(self, tmp_path: Path) -> None:
        """
        Its Pod went by itself, and nobody waits for it again.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            await it.launch(container)
            await it.tell(container, ended(1), "DELETED")
            await (await it.find()).remove()

            assert [] == it.kinds()


class TestOutput:
    async def test_one_stream_of_two_is_refused(self, tmp_path: Path) -> None:
        """
        The log of a Pod has both, and does not tell which was which.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            for options in (OutputOptions(stdout=False), OutputOptions(stderr=False)):
                with pytest.raises(Unsupported, match="does not tell stdout from stderr"):
                    container.output(options)

    async def test_neither_stream_is_nothing(self, tmp_path: Path) -> None:
        """
        As dockerd has it for attach.
        """
        async with scene(tmp_path) as it:
            container = await it.create()
            nothing = OutputOptions(follow=True, stdout=False, stderr=False)

            assert [] == [each async for each in container.output(nothing)]


async def test_what_is_told_of_it_has_no_file(tmp_path: Path) -> None:
    """
    Its request, its labels, and its state.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        await container.put_archive("/", chunks(archive_bytes([file(KEY, b"private")])))

        details = await (await it.find()).inspect()

        assert SPEC == details.spec
        assert "private" not in repr(details)
        assert "created" == details.summary.state.status


async def _failure(container: Container) -> str:
    """Why a start failed."""
    with pytest.raises(StartFailed) as raised:
        await container.start()
    return str(raised.value)
