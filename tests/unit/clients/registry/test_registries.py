import asyncio
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.registry.registries import Registries, RegistryAccount, RegistryAccountOptions
from peitho.clients.registry.transport import RegistryCredentials, RegistryEndpoint
from peitho.settings.live import Replaceable
from tests.support.accounts import account
from tests.support.registry_double import USER, RegistryDouble


def test_an_account_is_what_was_written() -> None:
    """
    Or none.
    """
    assert account("robot", "p").read() == RegistryCredentials("robot", "p")
    assert account().read() is None
    assert "secret" not in repr(RegistryAccountOptions("robot", "secret"))


def test_an_account_in_files_is_read_anew(tmp_path: Path) -> None:
    """
    A file that is away for a moment, as when a Secret is changed, leaves what was in it.
    """
    name, password = tmp_path / "username", tmp_path / "password"
    robot = account("old", "old", name, password)
    assert robot.read() == RegistryCredentials("old", "old")

    name.write_text("robot\n")
    password.write_text("Harbor12345\n")
    assert robot.read() == RegistryCredentials("robot", "Harbor12345")

    password.write_text("Harbor67890")
    name.unlink()
    assert robot.read() == RegistryCredentials("robot", "Harbor67890")


def test_an_account_is_replaced_by_another(tmp_path: Path) -> None:
    """
    For all who have it; what was in a file that both name is still known.
    """
    password = tmp_path / "password"
    password.write_text("one")
    options = Replaceable(RegistryAccountOptions("robot", password_file=password))
    account = RegistryAccount(options)
    assert account.read() == RegistryCredentials("robot", "one")

    password.unlink()
    options.now = RegistryAccountOptions("other", password_file=password)
    assert account.read() == RegistryCredentials("other", "one")
    options.now = RegistryAccountOptions("other", "two")
    assert account.read() == RegistryCredentials("other", "two")
    options.now = RegistryAccountOptions()
    assert account.read() is None


def test_half_an_account_is_none(tmp_path: Path) -> None:
    """
    A password that was never read is not taken for an empty one; that is told once.
    """
    password = tmp_path / "password"
    robot = account("robot", password_file=password)
    with structlog.testing.capture_logs() as told:
        assert robot.read() is None
        assert robot.read() is None
    assert ["credentials file not read"] == [each["event"] for each in told]

    password.write_text("one")
    assert robot.read() == RegistryCredentials("robot", "one")
    password.unlink()
    with structlog.testing.capture_logs() as told:
        assert robot.read() == RegistryCredentials("robot", "one")
    assert 1 == len(told)


def test_a_new_file_that_cannot_be_read_is_an_obstacle(tmp_path: Path) -> None:
    """
    Its content is told to nobody; one that was named before is none, and one that can is known.
    """
    away, odd, good = (tmp_path / name for name in ("away", "odd", "good"))
    odd.write_bytes(b"secret\xff")
    good.write_text("one")
    options = Replaceable(RegistryAccountOptions("robot", password_file=away))
    account = RegistryAccount(options)

    assert [] == account.obstacles(RegistryAccountOptions("other", password_file=away))
    assert [
        f"docker.registry.username-file: {odd} cannot be read: UnicodeDecodeError"
    ] == account.obstacles(RegistryAccountOptions(username_file=odd, password_file=good))
    good.unlink()
    options.now = RegistryAccountOptions("other", password_file=good)
    assert account.read() == RegistryCredentials("other", "one")


async def test_ours_has_the_account_and_others_are_asked_as_nobody() -> None:
    """
    Each is connected once, and closed at the end.
    """
    async with (
        RegistryDouble.start(auth="basic") as double,
        RegistryDouble.start() as other,
        asyncio.TaskGroup() as group,
    ):
        registries = Registries(double.endpoint, account(USER.username, USER.password))
        running = group.create_task(registries.run())
        await asyncio.sleep(0)

        own = await registries.own()
        assert own is await registries.of(double.address)
        assert await own.digest("a", "latest") is None
        assert "Authorization" in double.headers[-1]
        elsewhere = await registries.of(other.address)
        assert elsewhere is await registries.of(other.address)
        assert elsewhere is not own
        assert other.address == elsewhere.host

        running.cancel()

    with pytest.raises(RuntimeError, match="closed"):
        await own.digest("a", "latest")


async def test_of_very_many_others_the_last_are_known() -> None:
    """
    One that is in use may be used to its end; ours is always the same.
    """
    async with RegistryDouble.start() as other, asyncio.TaskGroup() as group:
        registries = Registries(RegistryEndpoint("x.io"), account())
        running = group.create_task(registries.run())
        await asyncio.sleep(0)

        own = await registries.own()
        first = await registries.of(other.address)
        second = await registries.of("0.io")
        for number in range(1, 100):
            await registries.of(f"{number}.io")

        assert await first.digest("a", "latest") is None
        assert first is not await registries.of(other.address)
        assert second is not await registries.of("0.io")
        assert own is await registries.of("x.io")
        running.cancel()


async def test_docker_hub_is_asked_where_its_api_is() -> None:
    """
    Under its name in references.
    """
    async with asyncio.TaskGroup() as group:
        registries = Registries(RegistryEndpoint("x.io"), account())
        running = group.create_task(registries.run())
        await asyncio.sleep(0)

        assert "registry-1.docker.io" == (await registries.of("docker.io")).host

        running.cancel()
