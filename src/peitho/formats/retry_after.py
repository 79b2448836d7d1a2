"""The header by which a server says when to come again (RFC 9110, 10.2.3)."""

from datetime import datetime
from email.utils import parsedate_to_datetime

# Nobody asks to wait for longer; a number of 400 digits would be for ever.
_MOST_SECONDS = 86400.0


def seconds(header: str, *, now: datetime) -> float:
    """Seconds that it asks to wait, whichever of its two forms it has; 0 if neither."""
    try:
        if header.strip().isdecimal():
            wanted = float(header.strip())
        else:
            wanted = (parsedate_to_datetime(header) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, wanted), _MOST_SECONDS)
