import json
from pathlib import Path

from peitho.formats.docker import variables
from peitho.formats.docker.variables import HIDDEN

# The bodies of `create` of real peers 1.4.12, 2.2.15 and 2.5.16, each kind once.
CREATES = Path(__file__).parents[3] / "conformance/creates.json"


def test_what_a_peer_sets_for_chaincode_is_shown() -> None:
    """
    Names, levels and paths.
    """
    for each in json.loads(CREATES.read_text()):
        env = [said for said in each["body"].get("Env") or [] if said.startswith("CORE_")]

        assert env == variables.shown(env)


def test_any_other_value_is_hidden() -> None:
    """
    Whether or not it is a secret: who can tell.
    """
    env = ("GOPROXY=https://u:planted@x", "TOKEN=planted=1", "EMPTY=", "NONE", "CORE_KEY=planted")

    assert [f"GOPROXY={HIDDEN}", f"TOKEN={HIDDEN}", "EMPTY=", "NONE", f"CORE_KEY={HIDDEN}"] == (
        variables.shown(env)
    )
