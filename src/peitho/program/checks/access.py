"""Who reaches Peitho, and who may call: told by the settings alone, whether or not it runs."""

from collections.abc import Iterable, Iterator

from peitho.api.page.guard import PageAccess
from peitho.formats.images.repositories import is_loopback
from peitho.program import options
from peitho.program.checks.finding import Finding, ok, warning
from peitho.settings.models import Settings

_CALLERS = "callers"
_TLS = "TLS"
# Top-level domains in which anybody may have a name, and which are names that namespaces have. All
# of two letters are for countries (RFC 1591).
_OPEN_DOMAINS = frozenset(
    (
        *("com", "net", "org", "info", "biz", "name", "app", "dev", "cloud", "network", "systems"),
        *("services", "tech", "digital", "online", "site", "store", "shop", "bank", "finance"),
        *("capital", "exchange", "market", "trade", "money", "energy", "health", "global", "world"),
    )
)
_COUNTRY_LETTERS = 2


def access(settings: Settings) -> Iterator[Finding]:
    """Tell whether TLS and names are on, who may call, and what is open."""
    yield _tls(settings)
    yield _callers(settings)
    yield from _open(settings)
    yield _images(settings)


def _tls(settings: Settings) -> Finding:
    if settings.server.tls.cert_file:
        return ok(_TLS, f"on, at {settings.server.api}")
    if is_loopback(settings.server.api):
        return ok(_TLS, f"off; {settings.server.api} is on this machine alone")
    return warning(
        _TLS,
        f"off at {settings.server.api}: what peers send, chaincode's keys too, crosses the network "
        "in the clear",
        "set server.tls.cert-file and key-file, and CORE_VM_DOCKER_TLS_ENABLED of the peers",
    )


def _callers(settings: Settings) -> Finding:
    authority, tenants = settings.server.tls.client_ca_file, settings.access.tenants
    if tenants:
        return ok(
            _CALLERS,
            f"whoever shows a certificate of {authority} that is one tenant's of {len(tenants)}: "
            f"{', '.join(tenants)}",
        )
    if authority:
        return ok(_CALLERS, f"whoever shows a certificate of {authority}; names do not count")
    if is_loopback(settings.server.api):
        return ok(_CALLERS, "whoever is on this machine")
    return warning(
        _CALLERS,
        f"whoever reaches {settings.server.api}: may run commands in builds, and replace chaincode",
        "set server.tls.client-ca-file, and a NetworkPolicy",
    )


def _open(settings: Settings) -> Iterator[Finding]:
    """Tell what the other listeners give to whoever reaches them."""
    server = settings.server
    yield ok("delivery", f"{server.delivery}: TLS, with a token for each blob and build")
    access, tls = options.page_access(settings), server.operations_tls
    if is_loopback(server.operations) and not access.takes_certificates:
        yield ok("operations", f"{server.operations}: on this machine alone")
    else:
        spoken = "TLS" if tls.cert_file else "plain HTTP"
        yield ok("operations", f"{server.operations}: {_readers(access)}; {spoken}")
    if access.is_open and not tls.cert_file:
        yield from _owned(set(access.hosts) - set(server.operations_hosts))


def _owned(names: Iterable[str]) -> Iterator[Finding]:
    """Tell of a Service's name that somebody may own outside of the cluster, and lead anywhere."""
    for name in sorted(names):
        label, _, domain = name.rpartition(".")
        is_country = len(domain) == _COUNTRY_LETTERS and domain.isalpha()
        if label and "." not in label and (is_country or domain in _OPEN_DOMAINS):
            yield warning(
                "operations",
                f"the status page is open by the name {name}, too: if it is not yours outside of "
                "the cluster, a website of that name can have a browser read it",
                "set server.operationsTokenFile, or server.operationsTls",
            )


def _readers(access: PageAccess) -> str:
    """Tell who reads metrics and the status page."""
    if access.takes_certificates:
        token = " or has the token" if access.token_file else ""
        return f"metrics and the status page for who shows a certificate{token}"
    metrics = "metrics for whoever reaches it"
    if access.is_open:
        return f"{metrics}, the status page, too"
    page = "the status page for who has the token" if access.token_file else "no status page"
    return f"{metrics}, {page}"


def _images(settings: Settings) -> Finding:
    patterns = options.allowed_images(settings)
    named = ", ".join(patterns) or "none"
    if "*" in patterns:
        return warning(
            "images",
            f"{named}: peers may name any image, which is pulled with the operator's pull secrets",
            "name those that peers need in access.images",
        )
    return ok("images", f"peers may name: {named}")
