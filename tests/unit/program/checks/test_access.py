from typing import Any

import pytest

from peitho.program.checks.access import access
from peitho.settings.models import Settings
from tests.support.check_findings import brief

TLS = {"cert-file": "/c.crt", "key-file": "/c.key"}
NAMES = TLS | {"client-ca-file": "/ca.crt"}
WELL = [("delivery", "ok"), ("operations", "ok")]


@pytest.mark.parametrize(
    ("server", "tls", "callers"),
    [
        ({}, "warning", "warning"),
        ({"api": "127.0.0.1:8080"}, "ok", "ok"),
        ({"tls": TLS}, "ok", "warning"),
        ({"tls": NAMES}, "ok", "ok"),
    ],
)
def test_it_is_told_who_may_call(server: dict[str, Any], tls: str, callers: str) -> None:
    """
    Without TLS and names on anything but loopback, whoever reaches the API.
    """
    found = list(access(Settings.model_validate({"server": server})))

    assert [("TLS", tls), ("callers", callers), *WELL, ("images", "ok")] == brief(found)
    assert [each.status != "ok" for each in found] == [bool(each.do) for each in found]


def test_it_is_told_which_tenants_there_are() -> None:
    """
    Of a certificate, the names count then.
    """
    acme = {"match": {"o": "acme"}, "msp-ids": "A", "networks": "lab", "peers": "*"}
    other = acme | {"match": {"o": "other"}}
    tree = {"server": {"tls": NAMES}, "access": {"tenants": {"acme": acme, "other": other}}}
    (callers,) = (each for each in access(Settings.model_validate(tree)) if each.name == "callers")

    assert ("ok", True) == (callers.status, "acme, other" in callers.said)


def test_it_is_told_which_images_may_be_named() -> None:
    """
    All of them are a warning: they are pulled with the operator's pull secrets.
    """
    for images, status in ((["*"], "warning"), (["x.io/*"], "ok"), ([], "ok")):
        found = list(access(Settings.model_validate({"access": {"images": images}})))

        assert ("images", status) == brief(found)[-1]


@pytest.mark.parametrize(
    ("address", "server", "name"),
    [
        ("peitho.io:8081", {}, "peitho.io"),
        ("peitho.io.svc.cluster.local:8081", {}, "peitho.io"),
        ("peitho.dev:8081", {}, "peitho.dev"),
        ("peitho.peitho:8081", {}, ""),
        ("peitho:8081", {}, ""),
        ("10.0.0.1:8081", {}, ""),
        ("peitho.org1.io:8081", {}, ""),
        ("peitho.io:8081", {"operationsHosts": ["peitho.io"]}, ""),
        ("peitho.io:8081", {"operationsTokenFile": "/token"}, ""),
        ("peitho.io:8081", {"operationsTls": TLS}, ""),
        ("peitho.io:8081", {"operations": "127.0.0.1:9090"}, "peitho.io"),
    ],
)
def test_a_services_name_that_somebody_may_own_is_told(
    address: str, server: dict[str, Any], name: str
) -> None:
    """
    A website of that name could have an operator's browser read an open page.
    """
    tree = {"server": server, "peitho": {"pullerAccessAddress": address}}
    found = [each for each in access(Settings.model_validate(tree)) if each.name == "operations"]

    assert ["ok", *["warning"] * bool(name)] == [each.status for each in found]
    assert not name or f"by the name {name}," in found[1].said


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({}, "the status page, too"),
        ({"operationsTokenFile": "/token"}, "the status page for who has the token"),
        (
            {"tls": {"cert-file": "/c", "key-file": "/k", "client-ca-file": "/ca"}},
            "no status page; plain HTTP",
        ),
        ({"operationsTls": TLS}, "the status page, too; TLS"),
        (
            {"operationsTls": NAMES},
            "metrics and the status page for who shows a certificate; TLS",
        ),
        (
            {"operationsTls": NAMES, "operationsTokenFile": "/t", "operations": "127.0.0.1:1"},
            "metrics and the status page for who shows a certificate or has the token; TLS",
        ),
    ],
)
def test_who_reads_the_status_page_is_told(server: dict[str, Any], said: str) -> None:
    """
    It is as open as the Docker API, unless it has a token.
    """
    found = list(access(Settings.model_validate({"server": server})))

    assert said in next(each.said for each in found if each.name == "operations")
