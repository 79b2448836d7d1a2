import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.clients.disk.build_cache import BuildCache, KeptBuild
from peitho.clients.disk.check import Problem, StoreCheck
from peitho.clients.disk.storage import Storage
from peitho.errors import NotFound
from peitho.formats.images import image_record
from peitho.formats.images.image_record import Image
from tests.support.damage import changed

KEY = "a" * 64


def filled(root: Path) -> Path:
    """A data directory with one of each."""
    storage = Storage.open(root)
    storage.delivery_key()
    storage.delivery_authority()
    storage.save_file("usage.json", b"{}")
    layer, size = storage.add_blob(lambda file: void(file.write(b"layer")))
    image = Image("mycc", "baseos", layer, size, "/", (), {}, {}, "", "2026-01-02T03:04:05Z")
    storage.save_image("mycc", image_record.to_json(image))
    cache = BuildCache.open(root / "builds")
    run = storage.make_spool_directory("run-")
    (run / "log").write_bytes(b"said")
    (run / "result").write_bytes(b"binary")
    digest = hashlib.sha256(b"binary").hexdigest()
    cache.keep(KEY, KeptBuild(digest, "amd64", "ccenv", 1.0, 1.0), run)
    shutil.rmtree(run)
    return root


def void(_: object) -> None:
    """Make a call a statement."""


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """All files, with their content and time."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def problems(root: Path) -> list[Problem]:
    """What is wrong."""
    return list(StoreCheck(root).run())


def test_what_is_as_it_was_written_has_no_problem(tmp_path: Path) -> None:
    """
    And nothing is changed by the look.
    """
    before = tree(filled(tmp_path))
    check = StoreCheck(tmp_path)

    assert [] == list(check.run())
    assert "images: 1, layers: 1, kept builds: 1; all is as it was written" == check.summary()
    assert before == tree(tmp_path)


@given(
    which=st.integers(0, 6),
    place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(0, 255),
)
def test_every_changed_byte_of_what_has_a_digest_is_found(
    which: int, place: float, flip: int
) -> None:
    """
    Flipped or cut (0); it is told by its path, and left as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = filled(Path(folder))
        damaged = [
            root / "delivery-ca.json",
            *sorted(root.glob("images/*")),
            *sorted(root.glob("blobs/sha256/*")),
            *sorted(root.glob(f"builds/{KEY}/*")),
        ]
        path = damaged[which % len(damaged)]
        path.write_bytes(changed(path.read_bytes(), place, flip))
        before = tree(root)

        found = problems(root)

        assert any(str(path.relative_to(root)).startswith(each.path) for each in found)
        assert before == tree(root)


@pytest.mark.parametrize(
    ("damage", "path", "cause"),
    [
        ("truncate -s 5 delivery.key", "delivery.key", "it has 5 bytes instead of 32"),
        ("truncate -s 500 delivery-ca.json", "delivery-ca.json", "it is not whole"),
        ("echo { > usage.json", "usage.json", "it is no JSON"),
        ("rm blobs/sha256/*", "images/", "the layer of mycc is gone: sha256:"),
        (f"rm builds/{KEY}/log", f"builds/{KEY}", "No such file"),
        ("mv images/*.json images/x.json", "images/x.json", "it is the record of mycc"),
        ("mv blobs/sha256/* blobs/x; mkdir $(cat n)", "blobs/sha256/", "it is no file"),
    ],
)
def test_each_problem_has_its_place_and_cause(
    tmp_path: Path, damage: str, path: str, cause: str
) -> None:
    """
    All others are read all the same.
    """
    (layer,) = filled(tmp_path).glob("blobs/sha256/*")
    (tmp_path / "n").write_text(str(layer))
    assert 0 == os.system(f"cd {tmp_path}; {damage}")  # noqa: S605

    found = problems(tmp_path)

    assert any(each.path.startswith(path) and cause in each.cause for each in found), found


def test_a_layer_of_another_size_is_told_at_its_image(tmp_path: Path) -> None:
    """
    And at the layer itself.
    """
    (layer,) = filled(tmp_path).glob("blobs/sha256/*")
    layer.write_bytes(b"cut")

    check = StoreCheck(tmp_path)
    image, own = check.run()

    assert "the layer of mycc has 3 bytes instead of 5" == image.cause
    assert f"blobs/sha256/{layer.name}" == own.path
    assert "images: 1, layers: 1, kept builds: 1; damaged: 2" == check.summary()


def test_what_was_set_aside_is_counted(tmp_path: Path) -> None:
    """
    It is no problem any more.
    """
    (layer,) = filled(tmp_path).glob("blobs/sha256/*")
    layer.write_bytes(b"rotten")
    Storage(tmp_path).verified_blob(f"sha256:{layer.name}")
    check = StoreCheck(tmp_path)

    assert ["images"] == [each.path.partition("/")[0] for each in check.run()]
    assert check.summary().endswith("; set aside in damaged/: 1")


def test_what_goes_meanwhile_is_no_problem(tmp_path: Path) -> None:
    """
    A Peitho may be at work.
    """
    filled(tmp_path)
    check = StoreCheck(tmp_path)
    (tmp_path / "delivery.key").write_bytes(b"short")
    found = check.run()
    assert "delivery.key" == next(found).path

    Storage(tmp_path).remove_image("mycc")
    shutil.rmtree(tmp_path / "builds" / KEY)

    assert [] == list(found)


def test_a_directory_of_nobody_is_told(tmp_path: Path) -> None:
    """
    Nothing is made there.
    """
    with pytest.raises(NotFound, match="No Peitho keeps its data in"):
        problems(tmp_path)

    assert [] == list(tmp_path.iterdir())
