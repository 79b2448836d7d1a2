"""What the certificate says that a caller has shown; a CA that we trust has signed it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from peitho.formats import stars
from peitho.settings.models import CertificateRule

Names = tuple[tuple[str, str], ...]

# RFC 4514, section 3.
_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
}
_SPECIAL = re.compile(r"([,+\\])")
_ESCAPED = r"\\\1"
# As Python's `ssl` calls kinds of alternative names, and as settings do.
_KINDS = {"DNS": "DNS", "URI": "URI", "IP Address": "IP", "email": "email"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The names in a certificate, each with its kind (`CN`, `DNS`); without any, none was shown."""

    names: Names = ()
    alternatives: Names = ()
    issuer: Names = ()

    @classmethod
    def of(cls, request: web.BaseRequest) -> "Certificate":
        """Read the certificate of a request's connection."""
        shown: Mapping[str, Any] = request.get_extra_info("peercert") or {}
        return cls(
            tuple(_names(shown.get("subject", ()))),
            tuple(
                (_KINDS[kind], value)
                for kind, value in shown.get("subjectAltName", ())
                if kind in _KINDS
            ),
            tuple(_names(shown.get("issuer", ()))),
        )

    @property
    def is_shown(self) -> bool:
        """Whether there is one: it may have no subject, and always has an issuer."""
        return bool(self.names or self.alternatives or self.issuer)

    @property
    def subject(self) -> str:
        """The subject as openssl writes it (`CN=peer0,O=org1`); the other names if it is empty."""
        return _written(self.names or self.alternatives)

    def fits(self, rule: CertificateRule) -> bool:
        """Whether all that a rule says is so; of what is there several times, one is enough."""
        subject = {"CN": rule.cn, "O": rule.o, "OU": rule.ou}
        return (
            all(
                any(kind == name and stars.matches(pattern, value) for kind, value in self.names)
                for name, pattern in subject.items()
                if pattern is not None
            )
            and (rule.san is None or self._has_alternative(rule.san))
            and (rule.issuer is None or self._is_issued_by(rule.issuer))
        )

    def _has_alternative(self, pattern: str) -> bool:
        prefix, _, rest = pattern.partition(":")
        if prefix in _KINDS.values():
            return any(
                kind == prefix and stars.matches(rest, value) for kind, value in self.alternatives
            )
        return any(stars.matches(pattern, value) for _, value in self.alternatives)

    def _is_issued_by(self, pattern: str) -> bool:
        if "=" in pattern:  # all of the name; else a common name could look like another's
            return bool(self.issuer) and stars.matches(pattern, _written(self.issuer))
        return any(kind == "CN" and stars.matches(pattern, value) for kind, value in self.issuer)


def _names(pairs: tuple[tuple[tuple[str, str], ...], ...]) -> Iterator[tuple[str, str]]:
    for parts in pairs:
        for name, value in parts:
            yield _SHORT.get(name, name), value


def _written(names: Names) -> str:
    r"""Return names as one text; a value that has a comma has it as `\,`."""
    return ",".join(f"{name}={_SPECIAL.sub(_ESCAPED, value)}" for name, value in names)
