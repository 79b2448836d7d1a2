import pytest

from peitho.settings import changes, loading
from peitho.settings.models import Settings

REGISTRY = {"server-address": "a.io", "project": "p", "username": "robot", "password": "one"}


def settings(**sections: object) -> Settings:
    """Settings with these sections."""
    return Settings.model_validate(sections)


def test_what_needs_a_restart_is_a_setting() -> None:
    """
    Each by its key, none twice, none that is gone.
    """
    assert {leaf.key for leaf in loading.setting_keys()} >= changes.NEED_RESTART


def test_what_can_be_followed_is_and_what_cannot_is_named() -> None:
    """
    Of both in one file, each its own.
    """
    running = settings(server={"api": ":1"}, log={"level": "info"}, dataDir="/a")
    wanted = settings(server={"api": ":2"}, log={"level": "debug"}, dataDir="/a")

    change = changes.change(running, wanted)

    assert (("log.level",), ("server.api",)) == (change.followed, change.waiting)
    assert settings(server={"api": ":1"}, log={"level": "debug"}, dataDir="/a") == change.settings


def test_equal_settings_are_no_change() -> None:
    """
    However they came about.
    """
    change = changes.change(settings(sweeper={"interval": 5}), settings(sweeper={"interval": 5.0}))

    assert ((), ()) == (change.followed, change.waiting)


def test_what_is_taken_back_waits_no_longer() -> None:
    """
    What waits is held against what runs, not against the last file.
    """
    running = settings(dataDir="/a")
    once = changes.change(running, settings(dataDir="/b"))

    assert ("dataDir",) == changes.change(once.settings, settings(dataDir="/b")).waiting
    assert () == changes.change(once.settings, settings(dataDir="/a")).waiting


def test_the_order_of_a_table_is_a_change() -> None:
    """
    The first line that matches counts.
    """
    one, other = {"a": "x", "*": "y"}, {"*": "y", "a": "x"}
    change = changes.change(settings(images={"rewrite": one}), settings(images={"rewrite": other}))

    assert ("images.rewrite",) == change.followed
    assert list(other) == list(change.settings.images.rewrite)


@pytest.mark.parametrize(
    "change",
    [{"server-address": "b.io"}, {"insecure": True}, {"api-prefix": "team"}],
    ids=lambda each: next(iter(each)),
)
def test_an_account_waits_with_its_registry(change: dict[str, object]) -> None:
    """
    The password for another registry, or for a safer way to it, is not shown to the one in use.
    """
    running = settings(docker={"registry": REGISTRY})
    wanted = settings(docker={"registry": REGISTRY | {"password": "two"} | change})

    found = changes.change(running, wanted)

    assert () == found.followed
    assert {f"docker.registry.{next(iter(change))}", "docker.registry.password"} == {*found.waiting}
    assert running == found.settings


def test_a_password_alone_is_followed() -> None:
    """
    Its value is in no list.
    """
    running = settings(docker={"registry": REGISTRY})
    wanted = settings(docker={"registry": REGISTRY | {"password": "two"}})

    found = changes.change(running, wanted)

    assert (("docker.registry.password",), ()) == (found.followed, found.waiting)
    assert wanted == found.settings
