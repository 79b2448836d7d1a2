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


def with_tenants(**tenants: dict[str, object]) -> Settings:
    """Settings with tenants, each with a change."""
    tls = {"cert-file": "/a", "key-file": "/b", "client-ca-file": "/c"}
    own = {"msp-ids": ["A"], "networks": ["lab"], "peers": ["p"]}
    return settings(
        server={"tls": tls},
        access={
            "tenants": {
                name: own | {"match": [{"cn": name}]} | change for name, change in tenants.items()
            }
        },
    )


def test_what_a_tenant_may_do_is_followed() -> None:
    """
    Who it is, its names, images and limits.
    """
    wanted = with_tenants(
        a={"match": [{"o": "a"}], "msp-ids": ["B"], "limits": {"builds": 1}}, b={}
    )
    change = changes.change(with_tenants(a={}, b={}), wanted)

    assert (("access.tenants.a",), ()) == (change.followed, change.waiting)
    assert wanted == change.settings


def test_the_place_of_a_tenant_waits() -> None:
    """
    What else changes of it is followed.
    """
    wanted = with_tenants(a={"namespace": "other", "msp-ids": ["B"]})
    change = changes.change(with_tenants(a={"namespace": "ns"}), wanted)

    assert ("access.tenants.a",) == change.followed
    assert ("access.tenants.a.namespace",) == change.waiting
    assert with_tenants(a={"namespace": "ns", "msp-ids": ["B"]}) == change.settings


def test_a_new_tenant_waits_and_one_that_is_gone_is_let_in_no_more() -> None:
    """
    At once; the parts of it go on until the restart.
    """
    change = changes.change(with_tenants(a={}, b={}), with_tenants(b={}, c={}))

    assert ("access.tenants.a",) == change.followed
    assert ("access.tenants.c", "access.tenants.a") == change.waiting
    tenants = change.settings.access.tenants
    assert [("a", 0), ("b", 1)] == [(name, len(tenant.match)) for name, tenant in tenants.items()]

    back = changes.change(change.settings, with_tenants(a={}, b={}))
    assert (("access.tenants.a",), ()) == (back.followed, back.waiting)
    assert with_tenants(a={}, b={}) == back.settings


def test_the_first_and_the_last_tenant_wait() -> None:
    """
    Whoever comes in must not become a tenant, nor the other way round, while peers are at it.
    """
    for one, other in ((with_tenants(), with_tenants(a={})), (with_tenants(a={}), with_tenants())):
        change = changes.change(one, other)
        assert ((), ("access.tenants",)) == (change.followed, change.waiting)
        assert one == change.settings


def test_the_token_of_the_page_waits_for_what_takes_its_place() -> None:
    """
    Else the page would be open until the restart; alone it is followed.
    """
    token = {"operationsTokenFile": "/token"}
    tls = {"cert-file": "/a", "key-file": "/b", "client-ca-file": "/c"}
    running = settings(server=token)

    change = changes.change(running, settings(server={"operationsTls": tls}))

    assert () == change.followed
    assert "server.operationsTokenFile" in change.waiting
    assert running == change.settings
    assert ("server.operationsTokenFile",) == changes.change(running, settings()).followed


def test_a_token_of_the_page_counts_at_once() -> None:
    """
    Also beside what waits: the page is closed by it.
    """
    wanted = settings(server={"operationsTokenFile": "/token", "delivery": "0.0.0.0:1"})

    change = changes.change(settings(), wanted)

    assert ("server.operationsTokenFile",) == change.followed
    assert ("server.delivery",) == change.waiting
