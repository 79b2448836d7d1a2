"""
Kubernetes quantities: what is one, and the number that it stands for.

The grammar is that of apimachinery's `resource.Quantity`, without a minus: no resource is negative.
"""

import re
from decimal import ROUND_CEILING, Decimal

from peitho.errors import InvalidArgument

_GRAMMAR = re.compile(
    r"\+?(?P<digits>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:(?P<unit>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_UNITS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
# What is more is cut off, and what is finer is rounded up, as Kubernetes does.
_MOST = Decimal(2**63 - 1)
_FINEST = _UNITS["n"]


def number(quantity: str) -> Decimal:
    """
    Return the number of a quantity: `500m` is 0.5, `1Gi` is 1073741824, empty is 0.

    Raises InvalidArgument.
    """
    if not quantity:
        return Decimal(0)
    parts = _GRAMMAR.fullmatch(quantity)
    if not parts:
        raise InvalidArgument(f"not a quantity: {quantity!r}")
    exact = Decimal(parts["digits"]) * _factor(parts["unit"], parts["exponent"])
    return min(exact, _MOST).quantize(_FINEST, ROUND_CEILING)


def _factor(unit: str | None, exponent: str | None) -> Decimal:
    if exponent:
        return Decimal(10) ** int(exponent)
    return _UNITS[unit] if unit else Decimal(1)
