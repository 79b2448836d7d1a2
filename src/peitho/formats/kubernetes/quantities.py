"""Kubernetes quantities as numbers, for a daemon that does not know them."""

import re
from decimal import Decimal

from peitho.errors import InvalidArgument

_DIGITS = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_UNITS = {
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
}


def number(quantity: str) -> Decimal:
    """
    The number that a quantity stands for: `500m` is 0.5, `1Gi` is 1073741824, empty is 0.

    Raises InvalidArgument.
    """
    if not quantity:
        return Decimal(0)
    unit = next((each for each in _UNITS if quantity.endswith(each)), "")
    digits = quantity.removesuffix(unit)
    if not _DIGITS.fullmatch(digits):
        raise InvalidArgument(f"not a quantity: {quantity!r}")
    return Decimal(digits) * _UNITS.get(unit, Decimal(1))
