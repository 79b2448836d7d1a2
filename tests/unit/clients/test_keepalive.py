import socket

from peitho.clients.keepalive import keep_alive


def test_a_silent_connection_is_probed() -> None:
    """
    After a minute, and four times a minute from then on.
    """
    with socket.socket() as connection:
        keep_alive(connection)
        found = [
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        ]

    assert [1, 60, 15] == found


def test_what_is_no_tcp_is_left_alone() -> None:
    """
    A Unix socket has no such options.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        keep_alive(connection)

        assert 0 == connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
