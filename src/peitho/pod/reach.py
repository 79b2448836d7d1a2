"""
A trial of `peitho check`: what does a Pod reach from where chaincode runs?

`python -m peitho.pod.reach ADDRESS...` connects to each HOST:PORT, and leaves what it found in the
Pod's termination message: a JSON object of why each cannot be reached, empty where it can.
"""

import json
import socket
import sys
from collections.abc import Sequence

from peitho.pod.calls import tell

_CONNECT_SECONDS = 3.0
_CAUSE_CHARACTERS = 100


def reached(addresses: Sequence[str]) -> dict[str, str]:
    """Connect to each address; return why not, by address."""
    return {address: _cause(address) for address in addresses}


def _cause(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
            return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", "") or error)[:_CAUSE_CHARACTERS]


def main() -> int:
    """Tell what is reached; 0, whatever that is."""
    tell(json.dumps(reached(sys.argv[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
