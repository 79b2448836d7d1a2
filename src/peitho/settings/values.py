"""Types of settings' values; they check what an operator writes."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, SecretStr

from peitho.errors import InvalidArgument
from peitho.formats.docker import endpoints
from peitho.formats.images import references
from peitho.formats.kubernetes import quantities, templates

# RFC 1123, which Kubernetes holds namespaces to.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_SUBDOMAIN_CHARACTERS = 253
# As it comes in a `Host` header; `*` stands for any text.
_HOST_NAME = re.compile(r"[A-Za-z0-9*_.-]+")
_SUBDOMAIN_RULE = "lower-case letters, digits, dashes and dots, as Kubernetes has it"
# Levels of the Go project's logger that are more severe than any of ours.
_SEVEREST = frozenset({"dpanic", "panic", "fatal"})


def _listen_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:  # noqa: PLR2004  the range of TCP ports
        raise ValueError("must be HOST:PORT or :PORT")
    if host:
        ipaddress.ip_address(host.strip("[]"))
    return value


def _host_alias(value: str) -> str:
    address, _, host = value.rpartition(":")
    if not address or not host:
        raise ValueError("must be IP:HOST")
    ipaddress.ip_address(address.strip("[]"))
    if not _is_subdomain(host):
        raise ValueError(f"{host[:100]!r} must be a host name of {_SUBDOMAIN_RULE}")
    return value


def _is_subdomain(text: str) -> bool:
    """Whether Kubernetes takes a text as the name of a host, or of an object (RFC 1123)."""
    return len(text) <= _SUBDOMAIN_CHARACTERS and _SUBDOMAIN.fullmatch(text) is not None


def _object_name(value: str) -> str:
    if value and not _is_subdomain(value):
        raise ValueError(f"must be the name of an object: {_SUBDOMAIN_RULE}")
    return value


def _image(value: str) -> str:
    try:
        references.parse(value)
    except InvalidArgument as error:
        raise ValueError(str(error)) from error
    return value


def _host_name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value):
        raise ValueError("must be the name of a host, without https:// and without a port")
    return value.lower()


def _endpoint(value: str) -> str:
    try:
        return str(endpoints.parse(value)) if value else ""
    except InvalidArgument as error:
        raise ValueError(str(error)) from error


def _proxy_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        is_proxy = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_proxy = False
    if text and not is_proxy:
        raise ValueError("must be http://[USER:PASSWORD@]HOST:PORT, or empty")
    return value


def _namespace(value: str) -> str:
    if value and not _LABEL.fullmatch(value):
        raise ValueError(
            "must be a name that Kubernetes takes for a namespace: 63 lower-case letters, digits "
            "and dashes at most, with a letter or digit at both ends"
        )
    return value


def _quantity(value: str) -> str:
    try:
        quantities.number(value)
    except InvalidArgument:
        raise ValueError("must be a Kubernetes quantity such as 500m or 1Gi, or empty") from None
    return value


def _listed(value: object) -> object:
    """Split a list as the Go project's flags and variables have it: `a,b`."""
    return [word for word in value.split(",") if word] if isinstance(value, str) else value


def _level(value: object) -> object:
    """Turn the Go project's log levels into ours, in any case."""
    lower = value.lower() if isinstance(value, str) else value
    return "error" if lower in _SEVEREST else lower


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _registry_address(value: str) -> str:
    if "@" in value:  # what is before it may be a password, so the value is not told
        raise ValueError("must be HOST[:PORT][/PATH]; an account is in username and password")
    return value


def _trimmed(value: str) -> str:
    return value.strip("/")


def _image_patterns(patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for pattern in patterns or ():
        if problem := references.pattern_problem(pattern):
            raise ValueError(f"{pattern}: {problem}")
    return patterns


def _rewrites(table: Mapping[str, str]) -> Mapping[str, str]:
    for pattern, target in table.items():
        if problem := references.rewrite_problem(pattern, target):
            raise ValueError(f"{pattern}: {target}: {problem}")
    return table


def _template(value: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if problems := templates.problems(value):
        raise ValueError("; ".join(problems))
    return value


Address = Annotated[str, AfterValidator(_listen_address)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
HostAlias = Annotated[str, AfterValidator(_host_alias)]
HostAliases = Annotated[tuple[HostAlias, ...], BeforeValidator(_listed)]
HostName = Annotated[str, AfterValidator(_host_name)]
HostNames = Annotated[tuple[HostName, ...], BeforeValidator(_listed)]
Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy_url)]
Namespace = Annotated[str, AfterValidator(_namespace)]
ObjectName = Annotated[str, AfterValidator(_object_name)]
Image = Annotated[str, AfterValidator(_image)]
Level = Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_level)]
Format = Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)]
Trimmed = Annotated[str, AfterValidator(_trimmed)]
RegistryAddress = Annotated[Trimmed, AfterValidator(_registry_address)]
ImagePatterns = Annotated[tuple[str, ...] | None, AfterValidator(_image_patterns)]
Pattern = Annotated[str, Field(min_length=1)]
OwnPatterns = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Rewrites = Annotated[Mapping[str, str], AfterValidator(_rewrites)]
Template = Annotated[Mapping[str, JsonValue], AfterValidator(_template)]
UserId = Annotated[int, Field(ge=0, lt=2**31)]
Quantity = Annotated[str, AfterValidator(_quantity)]
