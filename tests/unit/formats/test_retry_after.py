from datetime import UTC, datetime

import pytest

from peitho.formats import retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", 0),
        ("7", 7),
        (" 7 ", 7),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2026 12:00:30", 0),
        ("soon", 0),
        ("-1", 0),
        ("²", 0),
        ("\x1c20", 20),
        ("9" * 400, 86400),
        (f"Wed, 21 Oct {'9' * 40} 07:28:00 GMT", 0),
    ],
)
def test_a_pause_is_read(header: str, expected: float) -> None:
    """
    As seconds or as a date.
    """
    assert expected == retry_after.seconds(header, now=NOW)
