"""Tenants in settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from peitho.settings import loading, tenants
from peitho.settings.loading import SettingsError
from peitho.settings.models import Settings

TLS = {"cert-file": "/tls/a.crt", "key-file": "/tls/a.key", "client-ca-file": "/tls/ca.crt"}
ACME: dict[str, Any] = {
    "match": [{"cn": "peer*.acme"}],
    "msp-ids": ["AcmeMSP"],
    "networks": ["lab"],
    "peers": ["peer*.acme"],
}

OTHER = ACME | {"match": [{"cn": "peer*.other"}]}


def settings(of: dict[str, Any], **sections: Any) -> Settings:
    """Settings with these tenants."""
    tree = {"dataDir": "/data", "server": {"tls": TLS}, "access": {"tenants": of}, **sections}
    return Settings.model_validate(tree, by_alias=True, by_name=False)


def test_without_any_there_is_one_that_goes_by_all_settings() -> None:
    """
    It is called `default`.
    """
    whole = Settings()

    assert [("default", whole)] == list(tenants.each(whole))


def test_each_has_a_place_of_its_own() -> None:
    """
    A directory, an instance, a namespace and a project; `default` has those of the whole.
    """
    one = settings(
        {"acme": ACME | {"namespace": "acme-ns"}, "other": OTHER},
        k8s={"namespace": "peitho-ns"},
        docker={"registry": {"project": "chaincode"}},
    )

    places = {
        name: (
            str(own.data_dir),
            own.peitho.instance,
            own.kubernetes.namespace,
            own.docker.registry.project,
        )
        for name, own in tenants.each(one)
    }

    assert {
        "default": ("/data", "peitho", "peitho-ns", "chaincode"),
        "acme": ("/data/tenants/acme", "peitho.acme", "acme-ns", "chaincode/acme"),
        "other": ("/data/tenants/other", "peitho.other", "peitho-ns", "chaincode/other"),
    } == places


def test_the_one_called_default_has_what_was_there_before() -> None:
    """
    And limits, as any other.
    """
    one = settings({"default": ACME | {"limits": {"builds": 2}}})
    ((name, own),) = tenants.each(one)

    assert ("default", one.data_dir, 2) == (name, own.data_dir, own.builder.max_parallel)
    assert ("peitho", "") == (own.peitho.instance, own.docker.registry.project)


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        ({}, (8, 4 * 1024**3)),
        ({"builds": 2, "upload-bytes": 1000}, (2, 1000)),
        ({"builds": 20, "upload-bytes": 10**15}, (8, 4 * 1024**3)),
    ],
)
def test_the_smaller_limit_counts(limits: dict[str, int], seen: tuple[int, int]) -> None:
    """
    Its own, or that of all.
    """
    own = tenants.settings_of(settings({"acme": ACME | {"limits": limits}}), tenant="acme")

    assert seen == (own.builder.max_parallel, own.limits.archive_bytes)


def test_where_the_whole_has_no_limit_of_builds_its_own_counts() -> None:
    """
    0 is none.
    """
    one = settings({"acme": ACME | {"limits": {"builds": 2}}}, builder={"maxParallel": 0})

    assert 2 == tenants.settings_of(one, tenant="acme").builder.max_parallel


def test_its_images_are_in_place_of_those_of_all() -> None:
    """
    Where it has any.
    """
    one = settings({"acme": ACME | {"images": ["a/*"]}, "other": OTHER})

    assert ("a/*",) == tenants.settings_of(one, tenant="acme").access.images
    assert tenants.settings_of(one, tenant="other").access.images is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tree: tree.pop("server"), "access.tenants: needs server.tls.client-ca-file"),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(match=[]),
            "access.tenants.acme.match: ",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(match=[{}]),
            "access.tenants.acme.match.0: needs one of cn, o, ou, san, issuer",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(match=[{"cn": ""}]),
            "access.tenants.acme.match.0.cn: ",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].pop("msp-ids"),
            "access.tenants.acme.msp-ids: ",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update({"msp-ids": []}),
            "access.tenants.acme.msp-ids: ",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(namespaces="a"),
            "access.tenants.acme.namespaces: is no setting; did you mean namespace?",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(match=[{"cn": "a", "x": "b"}]),
            "access.tenants.acme.match.0.x: is no setting; known are cn, o, ou, san, issuer",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(limits={"build": 1}),
            "access.tenants.acme.limits.build: is no setting; did you mean builds?",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(namespace="No_One"),
            "access.tenants.acme.namespace: must be a name that Kubernetes takes",
        ),
        (
            lambda tree: tree["access"]["tenants"]["acme"].update(limits={"containers": -1}),
            "access.tenants.acme.limits.containers: ",
        ),
        (
            lambda tree: tree["access"]["tenants"].update({"other": ACME}),
            "access.tenants.other.match: has a rule of access.tenants.acme",
        ),
        (
            lambda tree: tree["access"]["tenants"].update({"A_b": ACME}),
            "access.tenants.A_b",
        ),
        (
            lambda tree: tree["access"]["tenants"].update(default=OTHER | {"namespace": "other"}),
            "access.tenants.default.namespace: is k8s.namespace",
        ),
        (
            lambda tree: tree.update(
                peitho={"instance": "x" * 50},
                access={"tenants": {"y" * 20: ACME}},
            ),
            f"access.tenants.{'y' * 20}: with peitho.instance",
        ),
    ],
)
def test_what_cannot_work_is_a_problem_with_its_key(
    tmp_path: Path, change: Callable[[Any], object], problem: str
) -> None:
    """
    `peitho config` prints it.
    """
    tree = {"server": {"tls": TLS}, "access": {"tenants": {"acme": dict(ACME)}}}
    change(tree)
    file = tmp_path / "peitho.yml"
    file.write_text(yaml.safe_dump(tree))

    with pytest.raises(SettingsError) as raised:
        loading.load(file, {})

    assert [problem] == [line[: len(problem)] for line in raised.value.problems]


def test_a_name_that_is_there_twice_is_a_problem(tmp_path: Path) -> None:
    """
    One of them would not count.
    """
    tls = ", ".join(f"{key}: {value}" for key, value in TLS.items())
    one = "{match: [{cn: a}], msp-ids: [a], networks: [a], peers: [a]}"
    file = tmp_path / "peitho.yml"
    file.write_text(
        f"server: {{tls: {{{tls}}}}}\naccess:\n  tenants:\n    acme: {one}\n    acme: {one}\n"
    )

    with pytest.raises(SettingsError, match=r"access\.tenants\.acme: is there twice"):
        loading.load(file, {})


def test_one_rule_and_one_pattern_need_no_list() -> None:
    """
    As people write them first.
    """
    one = settings({"acme": {"match": {"cn": "a"}, "msp-ids": "A", "networks": "b", "peers": "c"}})
    acme = one.access.tenants["acme"]

    assert ("a", ("A",), ("b",), ("c",)) == (
        acme.match[0].cn,
        acme.msp_ids,
        acme.networks,
        acme.peers,
    )


def test_tenants_are_shown_as_they_are_read(tmp_path: Path) -> None:
    """
    What `peitho config` prints can be loaded again.
    """
    tree = {"server": {"tls": TLS}, "access": {"tenants": {"acme": dict(ACME)}}}
    file = tmp_path / "peitho.yml"
    file.write_text(yaml.safe_dump(tree))
    loaded = loading.load(file, {})
    file.write_text(loaded.render())

    assert loaded.settings == loading.load(file, {}).settings
