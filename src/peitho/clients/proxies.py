"""
Which proxy leads to a host: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as Go's programs read them.

Nodes, kubectl and peers are such programs (golang.org/x/net/http/httpproxy), and what holds for
them should hold for Peitho: `NO_PROXY` has names, addresses, networks and ports, and what is on
this machine is never asked for through a proxy.
"""

import ipaddress
from dataclasses import dataclass, field

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies for http and https, as URLs, and where there is to be none; all may be empty."""

    https: str = field(default="", repr=False)
    http: str = field(default="", repr=False)
    no_proxy: str = ""

    def of(self, scheme: str, host: str, port: int | None = None) -> str | None:
        """Return the URL of the proxy for a host, or None if it is asked directly."""
        proxy = {"https": self.https, "http": self.http}.get(scheme, "")
        host = host.lower().rstrip(".").strip("[]")
        port = port or _PORTS.get(scheme, 0)
        if not proxy or _is_here(host):
            return None
        entries = (entry.strip().lower() for entry in self.no_proxy.split(","))
        if any(entry and _is_meant(entry, host, port) for entry in entries):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _is_meant(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` is for a host and port."""
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, wanted = _split(entry)
    if wanted and wanted != str(port):
        return False
    if (own := _address(name)) is not None:
        return address == own
    if name.startswith("*."):
        name = name[1:]
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, str]:
    """Split an entry into name and port, which may be empty."""
    if _address(entry.strip("[]")) is not None:
        return entry.strip("[]"), ""
    name, separator, port = entry.rpartition(":")
    return (name.strip("[]"), port) if separator else (entry, "")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
