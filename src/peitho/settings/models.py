"""
What the operator decides, as frozen models: a class for each section of the settings file.

The keys are those of the Go project of the same name where it had them (`k8s.dns`,
`peitho.imageMode`, ...).  `loading` reads the file, the variables and the flags.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel

from peitho import __version__
from peitho.errors import InvalidArgument
from peitho.formats.images import references
from peitho.formats.kubernetes import quantities
from peitho.settings.values import (
    Address,
    Endpoint,
    Format,
    HostAliases,
    HostNames,
    Image,
    ImagePatterns,
    Level,
    Namespace,
    ObjectName,
    OwnPatterns,
    Pattern,
    ProxyUrl,
    Quantity,
    RegistryAddress,
    Rewrites,
    Template,
    Trimmed,
    UserId,
    Words,
)

__all__ = [
    "DEFAULT_TENANT",
    "AccessSettings",
    "AuditSettings",
    "BuildCacheSettings",
    "BuilderSettings",
    "CertificateRule",
    "ChaincodeSettings",
    "DockerSettings",
    "ImageSettings",
    "KubernetesSettings",
    "LimitSettings",
    "LogSettings",
    "MatchSettings",
    "OperationsTlsSettings",
    "OverrideSettings",
    "PeithoSettings",
    "ProxySettings",
    "RegistrySettings",
    "Resources",
    "Section",
    "ServerSettings",
    "Settings",
    "SweeperSettings",
    "TenantLimits",
    "TenantSettings",
    "TlsSettings",
]


# Has what was there before there were tenants, and all there is where there are none.
DEFAULT_TENANT = "default"


class Section(BaseModel):
    """A part of the file: keys in camel case, frozen once read, unknown keys are an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        alias_generator=to_camel,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )


class KebabSection(Section):
    """A section whose keys have dashes, as the Go project has them: `server-address`."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))


class TlsSettings(KebabSection):
    """TLS at the Docker API; the files are read again when they change."""

    cert_file: Path | None = None
    """PEM file of the certificate that is shown to peers, with those between it and its CA."""

    key_file: Path | None = None
    """PEM file of its key."""

    client_ca_file: Path | None = None
    """PEM file of CAs: only who shows a certificate of one of them is answered, but for
    `/_ping`."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert-file and key-file go together")
        if self.client_ca_file and not self.cert_file:
            raise ValueError("client-ca-file needs cert-file and key-file")
        return self


class OperationsTlsSettings(TlsSettings):
    """TLS at the operations listener; the files are read again when they change."""

    cert_file: Path | None = None
    """PEM file of the certificate that the operations listener shows, with those between it and its
    CA; without it, the listener is plain HTTP."""

    key_file: Path | None = None
    """PEM file of its key."""

    client_ca_file: Path | None = None
    """PEM file of CAs: the status page and `/metrics` are for who shows a certificate of one of
    them, or has the token. `/livez` and `/readyz` ask for none, since the kubelet has none."""


class ServerSettings(Section):
    """Where Peitho listens; three listeners, so that a NetworkPolicy can tell them apart."""

    api: Address = ":8080"
    """The Docker API: what `CORE_VM_ENDPOINT` of the peers points to."""

    delivery: Address = ":8081"
    """Downloads and uploads of Pods, in TLS, each with a token for exactly one thing."""

    operations: Address = ":9090"
    """`/metrics`, `/livez` and `/readyz`, and at `/` the status page."""

    operations_token_file: Path | None = None
    """A file with the token that the status page asks for, read again at each use; a browser sends
    it as the password, with any name. Null: the page is open, or closed where
    `server.tls.client-ca-file` is set. `/metrics` asks for it where `operationsTls.client-ca-file`
    is set, health never."""

    operations_hosts: HostNames = ()
    """Names of hosts by which browsers come to an open status page without TLS, with `*`, beside
    `localhost`, addresses, and the Service's name in `peitho.pullerAccessAddress`."""

    operations_tls: OperationsTlsSettings = OperationsTlsSettings()
    tls: TlsSettings = TlsSettings()


class ProxySettings(Section):
    """
    Proxies towards the Kubernetes API and registries; all else is asked directly.

    A kubeconfig's `proxy-url` comes before them.
    """

    https: ProxyUrl = SecretStr("")
    """`http://[USER:PASSWORD@]HOST:PORT` for https. The variable `HTTPS_PROXY` sets it, too."""

    http: ProxyUrl = SecretStr("")
    """The same for plain http. The variable `HTTP_PROXY` sets it, too."""

    no_proxy: str = ""
    """
    Names, `.domains`, addresses and networks that are asked directly, with commas between.

    The variable `NO_PROXY` sets it, too.  What is on this machine always is.
    """


class PeithoSettings(Section):
    """Images, and how Pods reach Peitho."""

    image_mode: Literal["delivery", "registry"] = "delivery"
    """How nodes get a chaincode image: from Peitho itself, or from `docker.registry`."""

    puller_access_address: str = "peitho:8081"
    """HOST:PORT of the delivery listener as Pods reach it: the Service's name, or its address.
    Its certificate, which Peitho makes itself, is for this host."""

    puller_image: Image = f"docker.io/peitho/peitho:{__version__}"
    """Peitho's own image, of this version, which runs beside builds and before chaincode."""

    instance: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$")] = "peitho"
    """Tells the objects of several Peithos in one namespace apart."""


class ImageSettings(Section):
    """Images that peers name, and chaincode images, which are data: peers build each once."""

    rewrite: Rewrites = Field(default_factory=dict)
    """What is pulled instead: `{"hyperledger/*": "mirror.local/hyperledger/*"}`, or a digest; one
    `*` on each side at most.  The first match counts, so write the most specific first.  A pattern
    without a tag matches any; a target without a tag or digest keeps the image's."""

    retention: float = Field(default=30 * 86400, gt=0)
    """Seconds for which the peer of a chaincode image has not been seen until the image goes."""

    limit_bytes: int = Field(default=0, ge=0)
    """Past this the least recently used go that no container has.  0: no limit."""

    verify: Words = ()
    """PEM files of public keys: an image that a package names (`image.json`) has to be signed by
    one of them, as cosign signs. None: signatures are not looked at."""

    sign: Path | None = None
    """PEM file of a private key without a password (ECDSA, Ed25519 or RSA), by which the provenance
    of chaincode images in a registry is signed.  Absent: it is not signed."""


class KubernetesSettings(Section):
    """The cluster."""

    namespace: Namespace = ""
    """Where builds and chaincode run; empty: the kubeconfig's, or Peitho's own in a Pod."""

    kubeconfig: Path | None = None
    """A kubeconfig file; absent: the Pod's own service account."""

    dns: HostAliases = ()
    """`IP:host` entries for the hosts file of chaincode: peers that the cluster's DNS lacks."""


class RegistrySettings(KebabSection):
    """The registry of `peitho.imageMode: registry`."""

    server_address: RegistryAddress = ""
    """HOST, HOST:PORT or either with a path, as nodes read it: images are pushed to
    `server-address/project/NAME`."""

    project: Trimmed = ""
    """What comes between the address and an image's name: a project of Harbor, which has to be
    there."""

    email: str = ""
    """The account's address; registries do not ask for it any more."""

    username: str = ""
    """The account; without it, the registry is spoken to as nobody in particular."""

    username_file: Path | None = None
    """A file with the account, in place of `username`; read again at each use."""

    password: SecretStr = SecretStr("")
    """Its password or token."""

    password_file: Path | None = None
    """A file with the password, in place of `password`; read again at each use."""

    insecure: bool = False
    """Plain HTTP in place of HTTPS; nodes have to be told as well."""

    ca_file: Path | None = None
    """Certificates of authorities to trust, in PEM, beside those of the system; nodes have to be
    told as well."""

    api_prefix: Trimmed = ""
    """The path before `/v2/` where the API is below one, such as docker-registry's `http.prefix`;
    nodes have to be told as well."""

    pull_secret: ObjectName | None = None
    """The Secret that Pods pull with, of type `kubernetes.io/dockerconfigjson`; null: Peitho makes
    one of the account; empty: none, since nodes have what they need."""


class DockerSettings(KebabSection):
    """A Docker daemon for builds, and a registry for images; neither is needed."""

    endpoint: Endpoint = ""
    """The daemon that builds run in, `unix:///PATH` or `tcp://HOST:PORT`; empty: in Pods."""

    ca_file: Path | None = None
    """PEM file of the CA that the daemon's certificate is from; with any of the three: TLS."""

    cert_file: Path | None = None
    """PEM file of the certificate that is shown to the daemon."""

    key_file: Path | None = None
    """PEM file of its key."""

    network: Annotated[str, Field(min_length=1)] = "default"
    """The daemon's network for builds; `none` if they download nothing."""

    registry: RegistrySettings = RegistrySettings()

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert-file and key-file go together")
        return self


class SweeperSettings(Section):
    """What removes chaincode that is over, and the chaincode of peers that are gone."""

    enable: bool = True
    """Whether anything is removed at all."""

    interval: float = Field(default=30, gt=0)
    """Seconds between two looks."""

    retention: float = Field(default=86400, ge=0)
    """Seconds for which ended chaincode can be looked at; never started, it stays 600 at least."""

    orphan_after: float = Field(default=600, gt=0)
    """Seconds for which a peer refuses connections until its chaincode is ended."""


class Resources(Section):
    """Kubernetes quantities for one container; empty: not set."""

    cpu_request: Quantity = ""
    cpu_limit: Quantity = ""
    memory_request: Quantity = ""
    memory_limit: Quantity = ""

    @model_validator(mode="after")
    def _requests_below_limits(self) -> Self:
        for what, request, limit in (
            ("cpu", self.cpu_request, self.cpu_limit),
            ("memory", self.memory_request, self.memory_limit),
        ):
            if limit and quantities.number(request) > quantities.number(limit):
                raise ValueError(
                    f"{what}Request {request} is more than {what}Limit {limit}: Kubernetes "
                    "refuses such a Pod"
                )
        return self


class BuildCacheSettings(Section):
    """Builds that succeeded, kept so that an equal one need not be carried out again."""

    enable: bool = True
    """Whether equal builds are carried out once."""

    compiler: bool = True
    """Whether what Go chaincode has in common is compiled once for each builder image, by a build
    of Peitho's own, and given to all builds in Pods whose image has nothing compiled.  That build
    has a Pod beside those of `builder.maxParallel`, one at a time."""

    packages: bool = False
    """Whether what Maven and Gradle downloaded in a build that succeeded is given to the tenant's
    later builds in Pods of the same builder image.  Who builds for a tenant can then change what
    others build for it: only where all of them belong together."""

    limit_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Past this the least recently used go."""

    max_age_seconds: float = Field(default=7 * 86400, gt=0)
    """After this a build is carried out anew; a moved tag of a builder image counts until then."""


class BuilderSettings(Section):
    """Build containers, which become Pods."""

    user: UserId | None = 500
    """Numeric user of build Pods: Fabric's ccenv has 500.  Null: the number OpenShift gives."""

    users: Mapping[str, UserId | None] = Field(default_factory=dict)
    """Other users by builder image, with `*`: `{"*fabric-javaenv*": 0}`, where root may run."""

    start_timeout_seconds: float = Field(default=240, gt=0)
    """How long a build Pod may take to run before the build fails; peers allow 300 in all."""

    deadline_seconds: int = Field(default=1800, gt=0, lt=2**31)
    """How long a build may take; the cluster ends it then.  Past a peer's `installTimeout` of 300
    the install fails, and the build goes on: a second install finds it, or nobody reads its end."""

    abandoned_after_seconds: float = Field(default=2, gt=0)
    """A build nobody waits for any more, since its peer hung up, is ended after this long."""

    max_parallel: int = Field(default=8, ge=0)
    """How many builds run at once; the others wait, and peers take turns.  0: no limit."""

    cache: BuildCacheSettings = BuildCacheSettings()

    resources: Resources = Resources()
    """What the build container asks for and may use."""

    template: Template = Field(default_factory=dict)
    """Any part of a Pod template, merged into that of builds as `kubectl patch` would."""


class MatchSettings(Section):
    """Which chaincodes an override is for; patterns with `*`."""

    msp_id: str = "*"
    """The MSP ID of the peer."""

    label: str = "*"
    """The label of the package, or the name of a 1.4 peer's chaincode."""


class OverrideSettings(Section):
    """A Pod template for some chaincodes."""

    match: MatchSettings = MatchSettings()
    """Which they are."""

    template: Template
    """What is merged over the template for all."""


class ChaincodeSettings(Section):
    """Chaincode containers, which become Jobs."""

    user: UserId | None = 500
    """Numeric user of chaincode Pods.  Null: the number OpenShift gives."""

    users: Mapping[str, UserId | None] = Field(default_factory=dict)
    """Other users by runtime image, with `*`."""

    start_timeout_seconds: float = Field(default=240, gt=0, lt=600)
    """How long a chaincode Pod may take to run.  Less than a peer's `startuptimeout` of 300, or the
    peer gives up first and reads no cause; the chaincode's TLS certificate is good for 600."""

    settle_seconds: float = Field(default=1.5, ge=0, lt=60)
    """A chaincode that ends within this, and in the second in which it began, fails its start, so
    that its last lines reach the peer.  One that ran longer may have registered: it was started."""

    puller: Literal["before", "beside"] = "before"
    """Where the container is that fetches a chaincode's layer: `before` it, as an init container,
    or `beside` it, which is half a second sooner. That needs kubelets, which start containers in
    order, and a network whose policies let a Pod connect before its status has an address."""

    resources: Resources = Resources()
    """What a chaincode asks for; its limits are those of the peer's `HostConfig` if not set."""

    template: Template = Field(default_factory=dict)
    """Any part of a Pod template, merged into that of chaincode as `kubectl patch` would."""

    overrides: tuple[OverrideSettings, ...] = ()
    """Templates for some chaincodes, each merged over the one for all: `[{match: {mspId: Org1MSP,
    label: "asset*"}, template: {...}}]`, with `*` in both; what is left out matches any."""


class LimitSettings(Section):
    """What an upload may be; more is refused with 400."""

    archive_entries: int = Field(default=200_000, gt=0)
    """Files, directories and links in one archive."""

    archive_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Bytes of one archive, unpacked."""

    output_bytes: int = Field(default=256 * 1024**2, gt=0)
    """Bytes of what one build says; the rest is left out, and that is said."""


class AuditSettings(KebabSection):
    """The audit trail: who had what built, launched, ended or removed."""

    file: Path | None = None
    """The file that lines are appended to; `-`: stderr, beside the log; null: no trail is kept."""


class CertificateRule(KebabSection):
    """Which certificates; all that is set must match, and of several values one. `*` is any."""

    cn: Pattern | None = None
    """Common name of the subject."""

    o: Pattern | None = None
    """Organization of the subject."""

    ou: Pattern | None = None
    """Organizational unit of the subject; Fabric's own certificates of peers have `peer`."""

    san: Pattern | None = None
    """Alternative name of the subject; with `DNS:`, `URI:`, `IP:` or `email:` before it, of that
    kind alone."""

    issuer: Pattern | None = None
    """The issuer: its common name or, with a `=` in it, all of its name (`O=org1,CN=ca.org1`)."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for value in (self.cn, self.o, self.ou, self.san, self.issuer)):
            raise ValueError("needs one of cn, o, ou, san, issuer: it would match anybody")
        return self


def _several(value: object) -> object:
    """Take one rule for a list of one."""
    return [value] if isinstance(value, Mapping) else value


class TenantLimits(KebabSection):
    """How much a tenant may have; 0: no limit of its own."""

    containers: int = Field(default=0, ge=0)
    """Containers, whether they run or not, builds too."""

    builds: int = Field(default=0, ge=0)
    """Builds at once; the others wait."""

    stored_bytes: int = Field(default=0, ge=0)
    """Bytes of its images and kept builds."""

    upload_bytes: int = Field(default=0, ge=0)
    """Bytes of one archive, unpacked, as `limits.archiveBytes`; the smaller counts."""


class TenantSettings(KebabSection):
    """One tenant: who it is, what is its own, and how much it may have."""

    match: Annotated[tuple[CertificateRule, ...], BeforeValidator(_several), Field(min_length=1)]
    """Rules of certificates; one that matches is enough."""

    msp_ids: OwnPatterns
    """MSP IDs of its peers, with `*`."""

    networks: OwnPatterns
    """Network IDs of its peers (`peer.networkId`), with `*`; an empty one where they have none."""

    peers: OwnPatterns
    """IDs of its peers (`peer.id`), with `*`."""

    namespace: Namespace = ""
    """Where its builds and chaincode run; empty: in `k8s.namespace`."""

    images: ImagePatterns = None
    """Builder and runtime images that its peers may name; null: those of `access.images`."""

    limits: TenantLimits = TenantLimits()


# A name is a label's value, a folder, and part of a repository.
TenantName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$")]
Tenants = Mapping[TenantName, TenantSettings]


class AccessSettings(KebabSection):
    """What a caller of the Docker API may ask for."""

    tenants: Tenants = Field(default_factory=dict)
    """Callers that know nothing of each other, by name: see the guide "Tenants". A certificate that
    no tenant's rules match is refused. Empty: one, `default`, for whoever comes in."""

    images: ImagePatterns = None
    """Builder and runtime images that peers may name: patterns as on the left of `images.rewrite`,
    but with any number of `*`.  Null: `*/fabric-*`, which are Fabric's own in any registry (their
    last part begins so), and what is on either side of `images.rewrite`."""


class LogSettings(KebabSection):
    """The log, with the Go project's keys."""

    name: str = "peitho"
    """Shown as `logger` in each line."""

    level: Level = "info"
    """The least severe that is written; the Go project's `dpanic`, `panic`, `fatal` are `error`."""

    format: Format = "auto"
    """`auto`: console on a terminal, JSON elsewhere."""

    enable_color: bool = True
    """Colors on a terminal."""

    development: bool = False
    """Accepted for the Go project's files; has no meaning here."""

    disable_caller: bool = False
    """Accepted for the Go project's files; has no meaning here."""

    disable_stacktrace: bool = False
    """Accepted for the Go project's files; has no meaning here."""

    output_paths: Words = ()
    """Accepted for the Go project's files; the log goes to stderr."""

    error_output_paths: Words = ()
    """Accepted for the Go project's files; the log goes to stderr."""


class Settings(Section):
    """All settings."""

    data_dir: Path = Path("/var/lib/peitho")
    """Images and builds in flight.  Data, not a cache: it belongs on a PersistentVolume."""

    server: ServerSettings = ServerSettings()
    peitho: PeithoSettings = PeithoSettings()
    kubernetes: KubernetesSettings = Field(default=KubernetesSettings(), alias="k8s")
    images: ImageSettings = ImageSettings()
    proxy: ProxySettings = ProxySettings()
    docker: DockerSettings = DockerSettings()
    sweeper: SweeperSettings = SweeperSettings()
    builder: BuilderSettings = BuilderSettings()
    chaincode: ChaincodeSettings = ChaincodeSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    access: AccessSettings = AccessSettings()

    @model_validator(mode="after")
    def _can_tell_tenants_apart(self) -> Self:
        _check_tenants(self)
        return self

    @model_validator(mode="after")
    def _has_what_its_mode_needs(self) -> Self:
        if self.peitho.image_mode == "registry":
            _check_place(self.docker.registry.server_address, self.docker.registry.project)
        return self


# A label's value has 63 characters, and a tenant's objects have the instance and its name.
_LABEL_CHARACTERS = 63


def _check_tenants(settings: Settings) -> None:
    """Raise ValueError unless tenants can be told apart."""
    tenants, instance = settings.access.tenants, settings.peitho.instance
    if tenants and not settings.server.tls.client_ca_file:
        raise ValueError(
            "access.tenants: needs server.tls.client-ca-file, since tenants are told apart by "
            "their certificates"
        )
    for name in tenants:
        if len(f"{instance}.{name}") > _LABEL_CHARACTERS:
            raise ValueError(
                f"access.tenants.{name}: with peitho.instance it has more than "
                f"{_LABEL_CHARACTERS - 1} characters"
            )
    whose: dict[CertificateRule, str] = {}
    for name, tenant in tenants.items():
        for rule in tenant.match:
            if whose.setdefault(rule, name) != name:
                raise ValueError(
                    f"access.tenants.{name}.match: has a rule of access.tenants.{whose[rule]}, and "
                    "a certificate that two tenants' rules match is refused"
                )
    former = tenants.get(DEFAULT_TENANT)
    if former and former.namespace not in ("", settings.kubernetes.namespace):
        raise ValueError(
            f"access.tenants.{DEFAULT_TENANT}.namespace: is k8s.namespace, where its objects are "
            f"(is {former.namespace!r})"
        )


def _check_place(address: str, project: str) -> None:
    """Raise ValueError unless nodes find images there."""
    if not address:
        raise ValueError(
            "docker.registry.server-address: is needed where peitho.imageMode is registry"
        )
    try:
        # Without a dot, a port or `localhost` in front, it would be a name on Docker Hub.
        is_registry = references.parse(f"{address}/name").domain == address.partition("/")[0]
    except InvalidArgument:
        is_registry = False
    if not is_registry:
        raise ValueError(
            "docker.registry.server-address: must be HOST[:PORT][/PATH], with a dot or a port and "
            f"without https:// (is {address!r})"
        )
    try:
        references.parse("/".join(part for part in (address, project, "name") if part))
    except InvalidArgument:
        raise ValueError(
            f"docker.registry.project: must be names in lower case (is {project!r})"
        ) from None
