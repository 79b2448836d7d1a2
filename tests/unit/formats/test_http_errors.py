import pytest

from peitho.formats.http_errors import without_content


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "400, message:\n  Invalid header token:\n\n    b'X-Registry-Auth : a'\n      ^",
            "400, message: Invalid header token",
        ),
        (
            "Got more than 8190 bytes when reading: b'abc...'.",
            "Got more than 8190 bytes when reading",
        ),
        ("Invalid HTTP header: \"b'a'\"", "Invalid HTTP header"),
        ("Bad status line 'Passw0rd'", "Bad status line"),
        (
            "Transfer-Encoding can't be present with Content-Length:\n\n  b'Transfer'",
            "Transfer-Encoding can't be present with Content-Length",
        ),
        ("Connection reset by peer", "Connection reset by peer"),
        ("", ""),
    ],
)
def test_what_an_error_quotes_is_left_out(said: str, told: str) -> None:
    """
    The cause stays.
    """
    assert told == without_content(said)
