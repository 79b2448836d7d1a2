from collections import defaultdict
from pathlib import Path

import yaml

from peitho.formats.kubernetes import rights
from peitho.formats.kubernetes.rights import RIGHTS, Right

DEPLOY = Path(__file__).parents[4] / "deploy"


def test_the_role_gives_what_is_needed() -> None:
    """
    Every right that `peitho check` asks for is in the Role that is shipped, and no verb more.
    """
    given: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in DEPLOY.glob("*.yaml"):
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest and manifest["kind"] == "Role":
                for rule in manifest["rules"]:
                    (group,), (resource,) = rule["apiGroups"], rule["resources"]
                    given[group, resource] |= set(rule["verbs"])
    needed: dict[tuple[str, str], set[str]] = defaultdict(set)
    for right in RIGHTS:
        needed[right.group, right.resource].add(right.verb)

    assert {} == {key: verbs - given[key] for key, verbs in needed.items() if verbs - given[key]}


def test_the_api_server_is_asked_for_a_right() -> None:
    """
    A subresource apart; whatever is no yes is a no.
    """
    asked = rights.review(Right("", "pods/log", "get", ""), "ns")["spec"]["resourceAttributes"]

    assert {
        "namespace": "ns",
        "group": "",
        "resource": "pods",
        "subresource": "log",
        "verb": "get",
    } == asked
    assert rights.is_allowed({"status": {"allowed": True}})
    assert not rights.is_allowed({"status": {"allowed": "true"}})
    assert not rights.is_allowed({})
