"""The header by which a server says when to come again (RFC 9110, 10.2.3)."""

from datetime import datetime
from email.utils import parsedate_to_datetime


def seconds(header: str, *, now: datetime) -> float:
    """Seconds that it asks to wait, whichever of its two forms it has; 0 if neither."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0
