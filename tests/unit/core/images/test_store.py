import asyncio
import hashlib
import tarfile
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.clients.disk.build_cache import KeptBuild
from peitho.clients.disk.storage import Storage
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import InvalidArgument, NotFound
from peitho.formats.images import image_record
from peitho.formats.images.image_record import Image
from peitho.formats.images.origin import NOWHERE, Origin
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live, Replaceable
from tests.support.archives import Member, archive_bytes, directory, file, special, symlink
from tests.support.contexts import DOCKERFILE, chunks, context, package
from tests.support.damage import changed

NAME = "net-peer0.org1-mycc_1-0be83049"
IMAGE = Image(
    name="mycc",
    runtime="hyperledger/fabric-baseos:2.5",
    layer="sha256:" + "ab" * 32,
    layer_bytes=10240,
    directory="/usr/local/bin",
    entries=("chaincode",),
    labels={"org.hyperledger.fabric.chaincode.type": "GOLANG"},
    env={"CORE_CHAINCODE_BUILDLEVEL": "2.5.16"},
    architecture="amd64",
    created="2026-01-02T03:04:05.678901Z",
)
OTHER = replace(IMAGE, name="other")


@pytest.fixture
def results() -> BuildResults:
    """Of builds of this run: none yet."""
    return BuildResults()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A data directory."""
    return Storage.open(tmp_path / "data")


@pytest.fixture
def images(storage: Storage, results: BuildResults) -> ImageStore:
    """The images of a data directory that has none."""
    return ImageStore(
        storage, results, limits=Live(ArchiveLimits(entries=50, total_bytes=10_000_000))
    )


async def test_a_layer_belongs_to_whom_its_runtime_image_runs_as(storage: Storage) -> None:
    """
    Chaincode may write in its folder, also where the layer is a part of the image.
    """
    asked = []

    def user(image: str) -> int:
        asked.append(image)
        return 500

    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()), user=user)
    built = await images.build(NAME, chunks(context()))

    path = storage.blob(built.image.layer)
    assert path
    with tarfile.open(path) as layer:
        assert {"usr/local/bin": 500, "usr/local/bin/chaincode": 500, "usr/local": 0, "usr": 0} == {
            each.name: each.uid for each in layer
        }
    assert ["hyperledger/fabric-baseos:2.5"] == asked


async def test_an_image_is_put_together_from_a_context(
    images: ImageStore, storage: Storage
) -> None:
    """
    Runtime, layer, labels and variables are what the Dockerfile says.
    """
    built = await images.build(NAME, chunks(context()))

    image = built.image
    assert images.get(NAME) == image
    assert "hyperledger/fabric-baseos:2.5" == image.runtime
    assert ("/usr/local/bin", ("chaincode",)) == (image.directory, image.entries)
    assert "GOLANG" == image.labels["org.hyperledger.fabric.chaincode.type"]
    assert {"CORE_CHAINCODE_BUILDLEVEL": "2.5.16"} == image.env
    assert "binpackage.tar" == built.recipe.add_source
    blob = storage.blob(image.layer)
    assert blob is not None
    assert image.layer_bytes == blob.stat().st_size
    with tarfile.open(blob) as layer:
        assert "usr/local/bin/chaincode" in layer.getnames()


@pytest.mark.parametrize("other", [symlink("config", "prod"), special("p", tarfile.FIFOTYPE)])
async def test_entries_that_cannot_be_mounted_apart_are_not_listed(
    images: ImageStore, other: Member
) -> None:
    """
    A link may lead nowhere; deeper down it is mounted with its directory.
    """
    deeper = other[0].name
    members = [file("chaincode", b"elf"), directory("sub"), symlink(f"sub/{deeper}", "nowhere")]
    beside = await images.build("beside", chunks(context(binpackage=archive_bytes(members))))
    among = await images.build(
        "among", chunks(context(binpackage=archive_bytes([*members, other])))
    )

    assert ("chaincode", "sub") == beside.image.entries
    assert () == among.image.entries


async def test_nothing_in_flight_is_left(images: ImageStore, tmp_path: Path) -> None:
    """
    Neither after a build that succeeded nor after one that failed.
    """
    await images.build(NAME, chunks(context()))
    with pytest.raises(InvalidArgument):
        await images.build(NAME, chunks(context("FROM scratch")))

    assert [] == list((tmp_path / "data/spool").iterdir())


async def test_equal_packages_are_one_layer(images: ImageStore) -> None:
    """
    Whatever the time, the owner and the order of entries.
    """
    first = [directory("."), file("./a", b"a"), file("./b", b"b", mode=0o755)]
    second = [file("b", b"b", mode=0o755), directory("./"), file("a", b"a")]
    for info, _ in second:
        info.mtime, info.uid, info.uname = 1_700_000_000, 500, "chaincode"

    one = await images.build("one", chunks(context(binpackage=archive_bytes(first))))
    other = await images.build("other", chunks(context(binpackage=archive_bytes(second))))
    third = await images.build("third", chunks(context(binpackage=package(b"else"))))

    assert one.image.layer == other.image.layer
    assert one.image.id == other.image.id
    assert one.image.layer != third.image.layer


async def test_the_architecture_is_that_of_the_build(
    images: ImageStore, results: BuildResults
) -> None:
    """
    The result that a build gave is known again; one from elsewhere is not.
    """
    results.remember(hashlib.sha256(package(b"ours")).hexdigest(), "arm64")

    ours = await images.build("ours", chunks(context(binpackage=package(b"ours"))))
    other = await images.build("other", chunks(context(binpackage=package(b"other"))))

    assert ("arm64", "") == (ours.image.architecture, other.image.architecture)


CUT = context()[:-200]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not a whole tar archive"),
        (b"hello", "not a whole tar archive"),
        (CUT, "not a whole tar archive"),
        (archive_bytes([file("binpackage.tar")]), "Cannot locate specified Dockerfile: Dockerfile"),
        (archive_bytes([file("Dockerfile", b"\xff")]), "the Dockerfile is no UTF-8 text"),
        (archive_bytes([file("Dockerfile", DOCKERFILE.encode())]), "binpackage.tar is not in the"),
        (
            archive_bytes(
                [file("Dockerfile", DOCKERFILE.encode()), symlink("binpackage.tar", "x")]
            ),
            "binpackage.tar is not in the",
        ),
        (context(f"{DOCKERFILE}\n{'#' * 65_536}"), "the Dockerfile has more than 65536 bytes"),
        (context(f"{DOCKERFILE}\nRUN id"), "Dockerfile line 6: `RUN id`"),
        (context(binpackage=b"no tar"), "not a whole tar archive"),
        (context(binpackage=archive_bytes([file("../evil")])), "'../evil' leaves the target"),
        (
            context(binpackage=archive_bytes([file(f"f{n}", b"") for n in range(51)])),
            "more than 50 entries",
        ),
    ],
    ids=[
        "empty",
        "no archive",
        "cut",
        "no Dockerfile",
        "binary Dockerfile",
        "nothing to add",
        "a link to add",
        "a long Dockerfile",
        "another shape",
        "no archive to add",
        "hostile package",
        "many files",
    ],
)
async def test_a_bad_context_is_refused_with_its_reason(
    images: ImageStore, body: bytes, message: str
) -> None:
    """
    No image of that name is left.
    """
    with pytest.raises(InvalidArgument, match=message):
        await images.build(NAME, chunks(body))

    assert [] == images.list()


async def test_a_bad_name_is_refused(images: ImageStore) -> None:
    """
    In Docker's words.
    """
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        await images.build("Bad Name", chunks(context()))
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest reference"):
        await images.build(f"a@sha256:{'0' * 64}", chunks(context()))


async def test_a_context_past_the_limit_is_refused(storage: Storage) -> None:
    """
    Its bytes are counted as they come.
    """
    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits(total_bytes=100)))

    with pytest.raises(InvalidArgument, match="the body is larger than 100 bytes"):
        await images.build(NAME, chunks(context()))


async def test_limits_that_change_meanwhile_are_those_of_later_builds(storage: Storage) -> None:
    """
    One that is under way ends as it began.
    """
    limits = Replaceable(ArchiveLimits())
    images = ImageStore(storage, BuildResults(), limits=limits)

    async def body() -> AsyncIterator[bytes]:
        yield context()[:100]
        limits.now = ArchiveLimits(total_bytes=1)
        yield context()[100:]

    assert NAME == (await images.build(NAME, body())).image.name
    with pytest.raises(InvalidArgument, match="the body is larger than 1 bytes"):
        await images.build(NAME, chunks(context()))


async def test_an_image_is_found_by_name_tag_and_id(images: ImageStore) -> None:
    """
    `latest` may be left out, and other tags are other images.
    """
    latest = (await images.build("mycc:latest", chunks(context()))).image
    tagged = (await images.build("mycc:2", chunks(context(binpackage=package(b"2"))))).image

    assert latest == images.get("mycc") == images.get("mycc:latest") == images.get(latest.id)
    assert tagged == images.get("mycc:2")
    assert {"mycc", "mycc:2"} == {image.name for image in images.list()}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mycc", "mycc:latest"),
        ("x.io:5000/mycc", "x.io:5000/mycc:latest"),
        ("mycc:1", "mycc:1"),
        ("sha256:00", "sha256:00"),
    ],
)
def test_an_image_that_is_not_there_is_told_as_peers_match_it(
    images: ImageStore, name: str, shown: str
) -> None:
    """
    With `latest` where there is no tag, as dockerd answers.
    """
    with pytest.raises(NotFound, match=f"^No such image: {shown}$"):
        images.get(name)


async def test_a_rebuilt_image_takes_the_place_of_the_earlier(images: ImageStore) -> None:
    """
    A name has one image.
    """
    await images.build(NAME, chunks(context()))
    second = await images.build(NAME, chunks(context(binpackage=package(b"second"))))

    assert [second.image] == images.list()


async def test_a_shared_layer_stays_until_its_last_image_goes(
    images: ImageStore, storage: Storage
) -> None:
    """
    A second peer's image is not broken by the removal of the first's.
    """
    layer = (await images.build("one", chunks(context()))).image.layer
    await images.build("two", chunks(context()))

    await images.remove("one")
    assert storage.blob(layer) is not None
    await images.remove("two:latest")

    assert storage.blob(layer) is None
    with pytest.raises(NotFound, match="No such image: one:latest"):
        await images.remove("one")


class Halting(Storage):
    """A data directory where what was written may wait for a word to go on."""

    halts = ""

    def add_blob(self, write: Callable[[BinaryIO], None]) -> tuple[str, int]:
        """Keep what is written; then halt, once."""
        added = super().add_blob(write)
        self._wait("layer")
        return added

    def save_image(self, name: str, record: bytes) -> None:
        """Keep a record; then halt, once."""
        super().save_image(name, record)
        self._wait("record")

    def halt(self, what: str) -> None:
        """With the next layer or record."""
        self.halted, self.word = threading.Event(), threading.Event()
        self.halts = what

    def _wait(self, what: str) -> None:
        if self.halts == what:
            self.halts = ""
            self.halted.set()
            assert self.word.wait(10)


async def test_a_layer_that_is_dropped_before_its_image_is_noted_is_written_again(
    tmp_path: Path,
) -> None:
    """
    It was the layer of an equal image, which went in that moment.
    """
    Storage.open(tmp_path)
    storage = Halting(tmp_path)
    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
    await images.build("one", chunks(context()))
    storage.halt("layer")

    other = context(f"{DOCKERFILE}LABEL a=b\n")
    async with asyncio.TaskGroup() as group:
        building = group.create_task(images.build("two", chunks(other)))
        await asyncio.to_thread(storage.halted.wait, 10)
        await images.remove("one")
        storage.word.set()

    assert [building.result().image] == images.list()
    assert storage.blob(building.result().image.layer) is not None


class Counting(Storage):
    """A data directory that counts the layers which are written."""

    written = 0

    def add_blob(self, write: Callable[[BinaryIO], None]) -> tuple[str, int]:
        """Keep what is written."""
        self.written += 1
        return super().add_blob(write)


async def test_the_same_context_is_put_together_once(tmp_path: Path) -> None:
    """
    But where its layer is gone, damaged or of another user, or where less may be sent by now.
    """
    Storage.open(tmp_path)
    storage, limits = Counting(tmp_path), Replaceable(ArchiveLimits())
    users = [0]
    images = ImageStore(storage, BuildResults(), limits=limits, user=lambda _: users[-1])
    first = (await images.build("one", chunks(context()))).image
    second = await images.build("two", chunks(context()))

    assert 1 == storage.written
    assert replace(first, name="two", created="") == replace(second.image, created="")
    assert "binpackage.tar" == second.recipe.add_source

    blob = storage.blob(first.layer)
    assert blob is not None
    blob.write_bytes(changed(blob.read_bytes(), 0.5, 1))
    third = (await images.build("three", chunks(context()))).image
    assert (2, third) == (storage.written, await images.find_whole("three"))

    await asyncio.to_thread(storage.remove_blob, first.layer)
    await images.build("four", chunks(context()))
    assert 3 == storage.written
    users.append(500)
    other = (await images.build("five", chunks(context()))).image
    assert (4, True) == (storage.written, other.layer != first.layer)
    limits.now = ArchiveLimits(total_bytes=100)
    with pytest.raises(InvalidArgument, match="larger than"):
        await images.build("six", chunks(context()))


async def test_a_slow_disk_keeps_only_those_waiting_who_need_it(tmp_path: Path) -> None:
    """
    An image goes when the record of another is written, and all else goes on meanwhile.
    """
    Storage.open(tmp_path)
    storage = Halting(tmp_path)
    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
    removed = (await images.build("removed", chunks(context()))).image
    forgotten = (await images.build("forgotten", chunks(context()))).image
    storage.halt("record")

    async with asyncio.TaskGroup() as group:
        building = group.create_task(images.build("new", chunks(context())))
        await asyncio.to_thread(storage.halted.wait)
        removal = group.create_task(images.remove("removed"))
        group.create_task(images.forget(forgotten))
        await asyncio.sleep(0.02)
        storage.word.set()

    assert removed == removal.result()
    assert [building.result().image] == images.list()


async def test_an_image_that_was_built_anew_is_not_forgotten_for_the_earlier(
    images: ImageStore,
) -> None:
    """
    It may not be elsewhere yet.
    """
    first = (await images.build(NAME, chunks(context()))).image
    second = (await images.build(NAME, chunks(context()))).image

    await images.forget(first)
    assert [second] == images.list()

    await images.forget(second)
    await images.forget(second)
    assert [] == images.list()


async def test_images_are_there_after_a_restart(images: ImageStore, storage: Storage) -> None:
    """
    The store is data, not a cache: a peer remembers for its life that it has built.
    """
    image = (await images.build(NAME, chunks(context()))).image

    assert [image] == ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits())).list()


@pytest.mark.parametrize("old", [False, True], ids=["sealed", "of an earlier Peitho"])
async def test_a_damaged_record_harms_no_other_image(
    images: ImageStore, storage: Storage, tmp_path: Path, *, old: bool
) -> None:
    """
    It is set aside, its image is not there, and is built anew.
    """
    layer = (await images.build("mycc", chunks(context()))).image.layer
    other = (await images.build("other", chunks(context()))).image
    (record,) = [each for each in storage.images() if each.is_of("mycc")]
    if old:
        record.path.write_bytes(record.content[:-5])
    else:
        record.path.write_bytes(record.path.read_bytes().replace(b"GOLANG", b"GOLAND"))

    assert [other] == images.list()
    assert images.find("mycc") is None
    with pytest.raises(NotFound):
        await images.remove("mycc")
    assert [f"-image-{record.path.name}"] == [
        path.name[-len(record.path.name) - 7 :] for path in (tmp_path / "data/damaged").iterdir()
    ]

    again = (await images.build("mycc", chunks(context()))).image
    assert (layer, again) == (again.layer, await images.find_whole("mycc"))


async def test_a_record_in_the_place_of_another_is_damaged(
    images: ImageStore, storage: Storage
) -> None:
    """
    Whoever copied it there.
    """
    image = (await images.build("mycc", chunks(context()))).image
    storage.save_image("other", image_record.to_json(image))

    assert images.find("other") is None
    assert [image] == images.list()


async def test_a_record_without_a_digest_is_read_and_gets_one(
    images: ImageStore, storage: Storage
) -> None:
    """
    An earlier Peitho wrote it; its image is as good as before.
    """
    image = (await images.build("mycc", chunks(context()))).image
    (record,) = storage.images()
    record.path.write_bytes(record.content)

    assert image == await images.find_whole("mycc")

    await images.build("mycc", chunks(context()))
    assert b'{"sha256": "' == record.path.read_bytes()[:12]


@pytest.mark.parametrize("damage", ["rotten", "cut", "gone"])
async def test_an_image_whose_layer_is_damaged_is_not_there_until_it_is_built_anew(
    images: ImageStore, storage: Storage, damage: str
) -> None:
    """
    Else its peer would never build it again; an image with another layer is as before.
    """
    image = (await images.build("mycc", chunks(context()))).image
    other = (await images.build("other", chunks(context(binpackage=package(b"other"))))).image
    path = storage.blob(image.layer)
    assert path is not None
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else b"x" + content[1:])

    assert await images.find_whole("mycc") is None
    assert await images.find_whole(image.id) is None
    assert other == await images.find_whole("other")

    again = (await images.build("mycc", chunks(context()))).image
    assert again == await images.find_whole("mycc")
    assert content == path.read_bytes()
    assert storage.verified_blob(image.layer, anew=True) == path


async def test_an_image_that_is_replaced_while_it_is_looked_at_is_there(tmp_path: Path) -> None:
    """
    Its earlier layer went with the earlier record.
    """

    class Replacing(Storage):
        then: Callable[[], None] | None = None

        def verified_blob(self, digest: str, *, anew: bool = False) -> Path | None:
            if then := self.then:
                self.then = None
                then()
            return super().verified_blob(digest, anew=anew)

    Storage.open(tmp_path)
    storage = Replacing(tmp_path)
    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
    await images.build("mycc", chunks(context()))
    body = chunks(context(binpackage=package(b"new")))
    storage.then = lambda: void(asyncio.run(images.build("mycc", body)))

    found = await images.find_whole("mycc")

    assert found is not None
    assert [found] == images.list()


def void(_: object) -> None:
    """Make a call a statement."""


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255), old=st.booleans())
def test_no_changed_byte_of_a_record_harms_another_image(
    place: float, flip: int, *, old: bool
) -> None:
    """
    Nor is a sealed one ever taken for an image; flipped or cut (0), wherever.
    """
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage.open(Path(folder))
        images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
        for image in (IMAGE, OTHER):
            storage.save_image(image.name, image_record.to_json(image))
        (record,) = [each for each in storage.images() if each.is_of(IMAGE.name)]
        content = record.content if old else record.path.read_bytes()
        record.path.write_bytes(changed(content, place, flip))

        assert OTHER == images.find(OTHER.name)
        assert OTHER in images.list()
        assert old or images.find(IMAGE.name) is None


def test_where_results_were_made_is_forgotten_one_day() -> None:
    """
    The oldest first; a run that lasts does not grow.
    """
    results = BuildResults()
    for number in range(1001):
        results.remember(str(number), "amd64")

    assert ["", "amd64"] == [results.find(digest)[0] for digest in ("0", "1")]


def test_a_result_of_a_former_run_is_known_as_long_as_its_build_is_kept() -> None:
    """
    A peer may ask for the image after a restart; what a record of another version says is nothing.
    """
    origin = Origin(build_id="b1", builder="ccenv")
    told = {"1": origin.to_json(), "2": {"builder": 5}, "3": {}}
    kept = {digest: KeptBuild(digest, "arm64", "i", 1.0, 1.0, told[digest]) for digest in told}
    results = BuildResults(kept.get)

    assert [("arm64", origin), ("arm64", NOWHERE), ("arm64", NOWHERE), ("", NOWHERE)] == [
        results.find(digest) for digest in ("1", "2", "3", "4")
    ]


async def test_an_unused_bomb_in_a_context_is_refused(tmp_path: Path) -> None:
    """
    What no ADD names counts as well.
    """
    images = ImageStore(
        Storage.open(tmp_path),
        BuildResults(),
        limits=Live(ArchiveLimits(total_bytes=1_000_000)),
    )

    with pytest.raises(InvalidArgument):
        await images.build("a", chunks(context(DOCKERFILE, file("junk", bytes(50_000_000)))))


async def test_a_context_cut_in_its_gzip_header_is_no_archive(tmp_path: Path) -> None:
    """
    Three bytes of gzip are refused like any other cut.
    """
    images = ImageStore(Storage.open(tmp_path), BuildResults(), limits=Live(ArchiveLimits()))

    with pytest.raises(InvalidArgument):
        await images.build("a", chunks(context()[:3]))


async def test_an_image_put_anew_drops_its_earlier_layer(tmp_path: Path) -> None:
    """
    What no image has any more is not kept.
    """
    storage = Storage.open(tmp_path)
    images = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
    first = (await images.build("a", chunks(context()))).image.layer

    await images.build("a", chunks(context(binpackage=package(b"other"))))

    assert storage.blob(first) is None
