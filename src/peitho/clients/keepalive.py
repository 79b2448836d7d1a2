"""
Probes of silent TCP connections.

A wait or a followed log is silent for weeks; idle load balancers forget such a connection in
minutes, and a host that is gone never says so.
"""

import socket

_IDLE_SECONDS = 60
_BETWEEN_SECONDS = 15

OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _BETWEEN_SECONDS),
)


def keep_alive(connection: socket.socket) -> None:
    """Have a TCP connection probed while it is silent; other sockets are left as they are."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        for option in OPTIONS:
            connection.setsockopt(*option)
