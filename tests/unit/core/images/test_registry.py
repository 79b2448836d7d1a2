import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.registries import Registries
from peitho.clients.registry.transport import RegistryCredentials, RegistryError
from peitho.core.images import publisher
from peitho.core.images.pull_accounts import PullAccounts
from peitho.core.images.registry import RegistryPublisher, RegistryPublisherOptions
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import NotFound, PeithoError, Unavailable, Unsupported
from peitho.formats.docker.registry_auth import RegistryAuth, RegistryAuths
from peitho.formats.images import oci
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.support.accounts import account
from tests.support.contexts import DOCKERFILE, chunks, context, package
from tests.support.kubernetes_double import ApiServer
from tests.support.manifests import SETTINGS
from tests.support.pull_secrets import pull_secret
from tests.support.registry_content import BASE, RUNTIME, fabric
from tests.support.registry_double import QUICK, USER, RegistryDouble, says

NAME = "net-peer0.org1-mycc_1-0be83049"
OTHER = "net-peer1.org1-mycc_1-1cf94150"


@dataclass(frozen=True, slots=True)
class Peitho:
    """What pushes, and what it has on disk."""

    pushing: RegistryPublisher
    images: ImageStore
    storage: Storage

    @property
    def on_disk(self) -> list[str]:
        """Names of images in the data directory."""
        return [each.name for each in self.images.list()]


@asynccontextmanager
async def peitho(
    directory: Path,
    double: RegistryDouble,
    *,
    rewrite: Mapping[str, str] | None = None,
    project: str = "chaincode",
    pull_accounts: PullAccounts | None = None,
) -> AsyncIterator[Peitho]:
    """A Peitho that pushes to a registry, and takes runtime images from there."""
    storage = Storage.open(directory)
    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
    registries = Registries(double.endpoint, account(USER.username, USER.password), patience=QUICK)
    own = {"hyperledger/*": f"{double.address}/hyperledger/*"}
    target = RegistryPublisherOptions(
        double.address, project, "amd64", own if rewrite is None else rewrite
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(registries.run())
        try:
            yield Peitho(
                RegistryPublisher(
                    images, storage, registries, Live(target), pull_accounts=pull_accounts
                ),
                images,
                storage,
            )
        finally:
            running.cancel()


async def test_what_is_built_is_pushed_and_named_by_digest(tmp_path: Path) -> None:
    """
    It is whole in the registry, and gone from the data directory.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        image = (await ours.pushing.build(NAME, chunks(context()))).image

        found = await publisher.get(ours.pushing, NAME)
        repository = double.repository(f"chaincode/{NAME}")
        digest = oci.digest_of(repository.manifests["latest"][1])
        assert f"{double.address}/chaincode/{NAME}@{digest}" == found.reference
        assert image == found.image
        assert ("amd64", ()) == (image.architecture, image.entries)
        assert {oci.digest_of(BASE), image.layer} < repository.blobs
        assert [image] == await ours.pushing.list()
        assert [] == ours.on_disk
        assert ours.storage.blob(image.layer) is None


async def test_a_second_peers_image_is_mounted(tmp_path: Path) -> None:
    """
    The same package is the same digest, and nothing but its configuration is sent.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        await ours.pushing.build(NAME, chunks(context()))
        sent = double.count("PUT", "upload")
        await ours.pushing.build(OTHER, chunks(context()))

        assert sent + 1 == double.count("PUT", "upload")
        one = (await publisher.get(ours.pushing, NAME)).reference
        other = (await publisher.get(ours.pushing, OTHER)).reference
        assert one.partition("@")[2] == other.partition("@")[2]


async def test_what_is_there_is_not_pushed_again(tmp_path: Path) -> None:
    """
    A package that is installed a second time is a few questions.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        await ours.pushing.build(NAME, chunks(context()))
        double.requests.clear()
        await ours.pushing.build(NAME, chunks(context()))

        assert [("HEAD", "manifest")] * 2 == double.requests
        assert [] == ours.on_disk


async def test_an_image_is_known_after_a_restart_with_nothing(tmp_path: Path) -> None:
    """
    And on another replica: no rebuild.
    """
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "one", double) as ours:
            image = (await ours.pushing.build(NAME, chunks(context()))).image
            reference = (await publisher.get(ours.pushing, NAME)).reference
        async with peitho(tmp_path / "two", double) as later:
            found = await publisher.get(later.pushing, f"{NAME}:latest")
            assert (reference, image.id) == (found.reference, found.image.id)
            assert (image.labels, image.env) == (found.image.labels, found.image.env)
            assert RUNTIME + ":2.5" == found.image.runtime

            double.requests.clear()
            assert found == await later.pushing.find(NAME)
            assert [("HEAD", "manifest")] == double.requests
            assert found == await later.pushing.find(image.id)
            assert found == await later.pushing.find(image.id.removeprefix("sha256:")[:12])


async def test_two_peithos_push_the_same_digest(tmp_path: Path) -> None:
    """
    Whatever they share.
    """
    references = []
    for name in ("one", "two"):
        async with RegistryDouble.start() as double, peitho(tmp_path / name, double) as ours:
            fabric(double)
            await ours.pushing.build(NAME, chunks(context()))
            references.append((await publisher.get(ours.pushing, NAME)).reference)

    assert references[0].partition("@")[2] == references[1].partition("@")[2]


async def test_a_runtime_image_of_another_registry_is_copied_once(tmp_path: Path) -> None:
    """
    Another Peitho mounts it from where it was copied to.
    """
    async with RegistryDouble.start() as mirror, RegistryDouble.start() as double:
        fabric(mirror)
        rewrite = {"hyperledger/*": f"{mirror.address}/hyperledger/*"}
        async with peitho(tmp_path / "one", double, rewrite=rewrite) as ours:
            await ours.pushing.build(NAME, chunks(context()))
            await ours.pushing.build(OTHER, chunks(context(binpackage=package(b"other"))))
        async with peitho(tmp_path / "two", double, rewrite=rewrite) as later:
            await later.pushing.build("third", chunks(context(binpackage=package(b"third"))))

        assert 1 == mirror.read.count(oci.digest_of(BASE))
        assert oci.digest_of(BASE) in double.repository("chaincode/third").blobs


async def test_a_runtime_image_is_read_with_the_callers_account(tmp_path: Path) -> None:
    """
    That build's alone: the next one, without it, is refused as the registry would have it.
    """
    callers = {"x.io": RegistryAuth("x.io", "u", "p")}
    async with RegistryDouble.start(auth="basic") as private, RegistryDouble.start() as double:
        fabric(private)
        address = private.address
        rewrite = {"hyperledger/*": f"{address}/hyperledger/*"}
        own = {address: RegistryAuth(address, USER.username, USER.password)}
        async with peitho(tmp_path, double, rewrite=rewrite) as ours:
            with pytest.raises(RegistryError, match="401"):
                await ours.pushing.build(NAME, chunks(context()), RegistryAuths(callers))
            await ours.pushing.build(OTHER, chunks(context()), RegistryAuths(own))
            with pytest.raises(RegistryError, match="401"):
                await ours.pushing.build("third", chunks(context(binpackage=package(b"3"))))

        assert oci.digest_of(BASE) in double.repository(f"chaincode/{OTHER}").blobs
        assert {} == double.repository("chaincode/third").manifests


async def test_a_runtime_image_is_read_with_the_pull_secret_of_its_registry(
    tmp_path: Path,
) -> None:
    """
    A Secret that names another registry is not shown, and the caller's own account comes first.
    """
    async with (
        RegistryDouble.start(auth="basic") as private,
        RegistryDouble.start() as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        fabric(private)
        address = private.address
        rewrite = {"hyperledger/*": f"{address}/hyperledger/*"}
        cluster.make("secrets/mine", pull_secret({"x.io": USER}))
        accounts = PullAccounts(kubernetes, Live(replace(SETTINGS, pull_secrets=("mine", "gone"))))
        async with peitho(tmp_path, double, rewrite=rewrite, pull_accounts=accounts) as ours:
            with pytest.raises(RegistryError, match=r"401.*secret gone.*not in the namespace"):
                await ours.pushing.build(NAME, chunks(context()))
            assert private.headers
            assert all("Authorization" not in each for each in private.headers)

            cluster.objects["secrets/mine"] = pull_secret({f"https://{address}/v2/": USER})
            callers = {address: RegistryAuth(address, USER.username, "wrong")}
            with pytest.raises(RegistryError, match="401"):
                await ours.pushing.build(NAME, chunks(context()), RegistryAuths(callers))
            await ours.pushing.build(OTHER, chunks(context()))

        assert oci.digest_of(BASE) in double.repository(f"chaincode/{OTHER}").blobs
        assert all("Authorization" not in each for each in double.headers)


async def test_a_runtime_image_is_read_with_the_first_account_that_may(tmp_path: Path) -> None:
    """
    Of a ServiceAccount's Secrets, too; if none may, those that were refused are named.
    """
    wrong = RegistryCredentials("robot", "no-word")
    async with (
        RegistryDouble.start(auth="basic") as private,
        RegistryDouble.start() as double,
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
    ):
        fabric(private)
        address = private.address
        rewrite = {"hyperledger/*": f"{address}/hyperledger/*"}
        named = {"imagePullSecrets": [{"name": "first"}, {"name": "second"}]}
        cluster.make("serviceaccounts/default", {"metadata": {}, **named})
        cluster.make("secrets/first", pull_secret({f"{address}/hyperledger": wrong}, "first"))
        cluster.make("secrets/second", pull_secret({address: wrong}, "second"))
        accounts = PullAccounts(kubernetes, Live(SETTINGS))
        async with peitho(tmp_path, double, rewrite=rewrite, pull_accounts=accounts) as ours:
            with pytest.raises(RegistryError) as refused:
                await ours.pushing.build(NAME, chunks(context()))
            said = str(refused.value)
            assert "401" in said
            assert "it refuses the account of the pull secret first; it refuses" in said
            assert said.endswith("secret second")
            assert "no-word" not in said

            cluster.objects["secrets/second"] = pull_secret({address: USER}, "second")
            await ours.pushing.build(OTHER, chunks(context()))

        assert oci.digest_of(BASE) in double.repository(f"chaincode/{OTHER}").blobs


async def test_what_cannot_be_pushed_with_the_callers_account_is_not_kept(tmp_path: Path) -> None:
    """
    Later there is no account to push it with: its peer is told that there is none, and builds it.
    """
    async with RegistryDouble.start(auth="basic") as private, RegistryDouble.start() as double:
        fabric(private)
        address = private.address
        rewrite = {"hyperledger/*": f"{address}/hyperledger/*"}
        wrong = {address: RegistryAuth(address, USER.username, "wrong")}
        token = {address: RegistryAuth(address, "", "", "token")}
        async with peitho(tmp_path, double, rewrite=rewrite) as ours:
            with pytest.raises(RegistryError, match="401") as refused:
                await ours.pushing.build(NAME, chunks(context()), RegistryAuths(wrong))
            assert "wrong" not in str(refused.value)
            with pytest.raises(Unsupported, match="has a token in place of a user name"):
                await ours.pushing.build(NAME, chunks(context()), RegistryAuths(token))

            assert [] == ours.on_disk
            assert await ours.pushing.find(NAME) is None


async def test_two_builds_at_once_send_a_layer_once(tmp_path: Path) -> None:
    """
    The second waits, and mounts.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        async with asyncio.TaskGroup() as group:
            for name in (NAME, OTHER):
                group.create_task(ours.pushing.build(name, chunks(context())))

        layer = (await publisher.get(ours.pushing, NAME)).image.layer
        assert 1 == double.sent.count(layer)
        assert [] == ours.on_disk


async def test_a_push_that_fails_is_told_and_made_up_for(tmp_path: Path) -> None:
    """
    The build fails in the registry's words; the next question finds what was kept, and pushes it.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        double.script("PUT", "manifest", says(403))
        with pytest.raises(RegistryError, match=r"putting the manifest .*: 403 said so"):
            await ours.pushing.build(NAME, chunks(context()))
        assert {} == double.repository(f"chaincode/{NAME}").manifests
        assert [NAME] == ours.on_disk

        found = await publisher.get(ours.pushing, NAME)

        assert found.reference
        assert [] == ours.on_disk


async def test_an_image_of_delivery_mode_is_pushed_when_it_is_asked_for(tmp_path: Path) -> None:
    """
    A change of modes loses nothing.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        await ours.images.build(NAME, chunks(context()))

        assert (await publisher.get(ours.pushing, NAME)).reference
        assert [] == ours.on_disk


async def test_an_image_that_is_nowhere_is_not_found(tmp_path: Path) -> None:
    """
    In the words that peers match, by name, by ID, and by what is no name.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        for name in (NAME, "sha256:" + "0" * 64, "Not A Name"):
            assert await ours.pushing.find(name) is None
        with pytest.raises(NotFound, match=f"^No such image: {NAME}:latest$"):
            await publisher.get(ours.pushing, NAME)
        with pytest.raises(NotFound):
            await ours.pushing.remove(NAME)


async def test_an_image_of_others_is_built_anew(tmp_path: Path) -> None:
    """
    What Peitho has not put together it does not run.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        theirs = double.repositories[f"chaincode/{NAME}"] = double.repository(RUNTIME)
        theirs.manifests["latest"] = theirs.manifests["2.5"]

        assert await ours.pushing.find(NAME) is None


async def test_what_is_known_has_to_do_while_the_registry_is_away(tmp_path: Path) -> None:
    """
    Nodes may have it; what is not known is an error, and not missing.
    """

    async def broken(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        await ours.pushing.build(NAME, chunks(context()))
        known = await ours.pushing.find(NAME)
        double.script("HEAD", "manifest", *[broken] * 99)

        assert known == await ours.pushing.find(NAME)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await ours.pushing.find(OTHER)


async def test_an_image_is_deleted_in_the_registry(tmp_path: Path) -> None:
    """
    That of another peer stays.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        image = (await ours.pushing.build(NAME, chunks(context()))).image
        await ours.pushing.build(OTHER, chunks(context()))
        double.script("DELETE", "manifest", says(405))
        with pytest.raises(Unsupported, match=r"the registry does not delete images: .*405"):
            await ours.pushing.remove(NAME)

        assert image == await ours.pushing.remove(NAME)

        assert await ours.pushing.find(NAME) is None
        assert await ours.pushing.find(OTHER)
        assert [OTHER] == [each.name for each in await ours.pushing.list()]


async def test_a_runtime_image_that_changed_is_read_anew(tmp_path: Path) -> None:
    """
    Its tag is asked for at each build.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        await ours.pushing.build(NAME, chunks(context()))
        before = (await publisher.get(ours.pushing, NAME)).reference
        fabric(double, layer=b"newer")
        await ours.pushing.build(NAME, chunks(context()))

        assert before != (await publisher.get(ours.pushing, NAME)).reference
        assert oci.digest_of(b"newer") in double.repository(f"chaincode/{NAME}").blobs


async def test_a_runtime_image_that_is_not_asked_for_is_as_it_was(tmp_path: Path) -> None:
    """
    A mirror that is busy does not keep what is known from being used.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        await ours.pushing.build(NAME, chunks(context()))
        double.script("HEAD", "manifest", says(401))
        double.script("GET", "manifest", says(401))
        await ours.pushing.build(OTHER, chunks(context()))

        assert await ours.pushing.find(OTHER)


@pytest.mark.parametrize("known", [True, False])
async def test_a_runtime_image_is_that_of_the_builds_architecture(
    tmp_path: Path,
    known: bool,  # noqa: FBT001
) -> None:
    """
    Chosen from an index, whose other images are not looked at.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double, architecture="arm64", layer=b"arm")
        arm = double.repository(RUNTIME).manifests["2.5"][1]
        fabric(double)
        amd = double.repository(RUNTIME).manifests["2.5"][1]
        entries = [
            {
                "mediaType": oci.OCI_MANIFEST,
                "digest": oci.digest_of(each),
                "size": len(each),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, each in (("arm64", arm), ("amd64", amd))
        ]
        index = json.dumps({"mediaType": oci.OCI_INDEX, "manifests": entries}).encode()
        for reference in ("2.5", oci.digest_of(index)):
            double.repository(RUNTIME).manifests[reference] = (oci.OCI_INDEX, index)
        if known:
            ours.images._results.remember(oci.digest_of(package())[7:], "arm64")  # noqa: SLF001

        image = (await ours.pushing.build(NAME, chunks(context()))).image

        assert ("arm64" if known else "amd64") == image.architecture


@pytest.mark.parametrize(
    ("dockerfile", "architecture", "message"),
    [
        (DOCKERFILE.replace("2.5\n", "9.9\n"), "amd64", "9.9: there is no such image in 127"),
        (DOCKERFILE, "arm64", "it is for arm64, what was built is for amd64"),
    ],
)
async def test_a_runtime_image_that_does_not_fit_is_told(
    tmp_path: Path, dockerfile: str, architecture: str, message: str
) -> None:
    """
    With its name, as it is asked for.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double, architecture=architecture)
        with pytest.raises(PeithoError, match="cannot put a layer on 127.*" + message):
            await ours.pushing.build(NAME, chunks(context(dockerfile)))


async def test_without_a_project_images_are_at_the_top(tmp_path: Path) -> None:
    """
    As docker-registry has them.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double, project="") as ours:
        fabric(double)
        await ours.pushing.build(NAME, chunks(context()))

        assert "latest" in double.repository(NAME).manifests


@pytest.mark.parametrize("damage", [b"rotten", b""])
async def test_a_damaged_layer_is_never_pushed(tmp_path: Path, damage: bytes) -> None:
    """
    An image that waits for its push is not there then, so that its peer builds it anew.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        image = (await ours.images.build(NAME, chunks(context()))).image
        path = ours.storage.blob(image.layer)
        assert path is not None
        path.write_bytes(damage)

        assert await ours.pushing.find(NAME) is None
        assert 0 == double.count("PUT", "upload")

        await ours.pushing.build(NAME, chunks(context()))
        assert (await publisher.get(ours.pushing, NAME)).image.layer == image.layer


async def test_a_layer_that_rots_before_its_push_is_told(tmp_path: Path) -> None:
    """
    It is read whole before the first byte is sent, whenever it was verified last.
    """
    async with RegistryDouble.start() as double, peitho(tmp_path, double) as ours:
        fabric(double)
        image = (await ours.images.build(NAME, chunks(context()))).image
        path = ours.storage.blob(image.layer)
        assert path is not None
        before = path.stat()
        path.write_bytes(b"x" + path.read_bytes()[1:])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        with pytest.raises(PeithoError, match=f"the layer of {NAME} is damaged or gone"):
            await ours.pushing.find(NAME)

        assert 0 == double.count("PUT", "upload")
        assert await ours.pushing.find(NAME) is None
