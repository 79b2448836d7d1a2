"""The variables of a container, as they may be shown."""

from collections.abc import Sequence

# What a peer of 1.4 to 3.1 sets for chaincode: names, levels and paths (dockercontroller.go,
# getEnv). Whatever else somebody sets may be a password.
_OF_PEERS = frozenset(
    {
        "CORE_CHAINCODE_ID_NAME",
        "CORE_CHAINCODE_LOGGING_FORMAT",
        "CORE_CHAINCODE_LOGGING_LEVEL",
        "CORE_CHAINCODE_LOGGING_SHIM",
        "CORE_PEER_LOCALMSPID",
        "CORE_PEER_TLS_ENABLED",
        "CORE_PEER_TLS_ROOTCERT_FILE",
        "CORE_TLS_CLIENT_CERT_FILE",
        "CORE_TLS_CLIENT_CERT_PATH",
        "CORE_TLS_CLIENT_KEY_FILE",
        "CORE_TLS_CLIENT_KEY_PATH",
    }
)
HIDDEN = "********"


def shown(env: Sequence[str]) -> list[str]:
    """Return the variables for `docker inspect`: the values of others than a peer's are hidden."""
    return [_shown(*variable.partition("=")) for variable in env]


def _shown(name: str, separator: str, value: str) -> str:
    return f"{name}{separator}{value if name in _OF_PEERS or not value else HIDDEN}"
