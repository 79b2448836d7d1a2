import asyncio
from pathlib import Path
from typing import BinaryIO

from peitho import metrics
from peitho.clients.disk.storage import Storage
from peitho.clients.tls import CertificateFiles
from peitho.core.measuring import Measuring
from tests.support.measured import sample


def layer(file: BinaryIO) -> None:
    """A layer of a thousand bytes."""
    file.write(b"x" * 1000)


async def test_the_store_is_measured(tmp_path: Path) -> None:
    """
    By kind, in bytes; the volume that it is on, too.
    """
    storage = Storage.open(tmp_path)
    storage.add_blob(layer)
    storage.save_image("mycc", b"{}")
    (tmp_path / "builds/key").mkdir(parents=True)
    (tmp_path / "builds/key/result").write_bytes(b"y" * 50)

    await Measuring([storage]).look()

    assert 1000 == sample("peitho_store_bytes", kind="layers")
    assert 50 == sample("peitho_store_bytes", kind="builds")
    assert 1 == sample("peitho_store_images")
    assert 0 < sample("peitho_volume_used_bytes") <= sample("peitho_volume_bytes")
    assert set(metrics.STORE_KINDS) == set(storage.sizes())


async def test_a_store_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    """
    It is told elsewhere, and measured once it is there again.
    """
    await Measuring([Storage(tmp_path / "none")]).look()


async def test_a_renewed_certificate_is_seen_without_a_connection(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Its end is a metric, and that of the authority as well.
    """
    ours = certificates / "ours"
    files = CertificateFiles(
        "x", ours / "ca.crt", ours / "admin.crt", ours / "admin.key", name="docker api"
    )
    measuring = Measuring([Storage.open(tmp_path / "data")], [files])

    await measuring.look()
    metrics.CERTIFICATE_EXPIRY.labels("docker api").set(0)
    await measuring.look()
    assert 0 == sample("peitho_certificate_expiry_timestamp_seconds", certificate="docker api")

    (ours / "admin.crt").write_bytes((ours / "admin.crt").read_bytes() + b"\n")
    await measuring.look()

    expires_at = sample("peitho_certificate_expiry_timestamp_seconds", certificate="docker api")
    assert files.expiries()["docker api"] == expires_at
    assert 0 < sample("peitho_certificate_expiry_timestamp_seconds", certificate="docker api CA")


async def test_the_lag_of_the_loop_is_measured_each_second(tmp_path: Path) -> None:
    """
    What blocks the loop shows.
    """
    before = sample("peitho_loop_lag_seconds_count")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Measuring([Storage.open(tmp_path)]).run_lag())
        await asyncio.sleep(10.5)
        task.cancel()

    assert 10 == sample("peitho_loop_lag_seconds_count") - before
