"""What of the settings is not shown: the values of variables, and passwords in addresses."""

import re
from typing import Any

# As pydantic masks a secret.
MASK = "**********"
# `//USER:PASSWORD@HOST`, or the same at the beginning of an address without a scheme.
_USERINFO = re.compile(r"((?:^|//|['\"(=,\s])[\w.%+~$-]*):[^\s/@'\"]+@")


def masked(value: Any, *, in_env: bool = False) -> Any:
    """Return a part of a template without the values of variables; their names stay."""
    if isinstance(value, list):
        return [masked(each, in_env=in_env) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: MASK if in_env and key == "value" and each else masked(each, in_env=key == "env")
        for key, each in value.items()
    }


def without_passwords(text: str) -> str:
    """Return a text in which no address has a password."""
    return _USERINFO.sub(rf"\1:{MASK}@", text)
