"""
What the operator decides: one YAML file, `PEITHO_...` variables over it, flags over both.

The keys of the file are those of the Go project of the same name where it had them (`k8s.dns`,
`peitho.imageMode`, ...).  A variable is the path of a key, upper case, with underscores:
`PEITHO_K8S_NAMESPACE`, `PEITHO_PEITHO_IMAGE_MODE`; with `_FILE` behind it, it names a file that
holds the value.  This module alone reads the settings file and the environment.
"""

import ipaddress
import os
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

__all__ = [
    "BuildCacheSettings",
    "BuilderSettings",
    "ChaincodeSettings",
    "DockerSettings",
    "ImageSettings",
    "KubernetesSettings",
    "LimitSettings",
    "LogSettings",
    "PeithoSettings",
    "RegistrySettings",
    "Resources",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SweeperSettings",
    "load",
]


_CAPITAL = re.compile(r"([A-Z])")


class SettingsError(Exception):
    """Every problem at once, a line each: key, what is wrong, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
    return value


Address = Annotated[str, AfterValidator(_listen_address)]
HostAlias = Annotated[str, AfterValidator(_host_alias)]
UserId = Annotated[int, Field(ge=0, lt=2**31)]
Quantity = Annotated[str, Field(pattern=r"^[0-9.]+(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]


class Section(BaseModel):
    """A part of the file: keys in camel case, frozen once read, unknown keys are an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, alias_generator=to_camel
    )


class KebabSection(Section):
    """A section whose keys have dashes, as the Go project has them: `server-address`."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))


class ServerSettings(Section):
    """Where Peitho listens; three listeners, so that a NetworkPolicy can tell them apart."""

    api: Address = ":8080"
    """The Docker API: what `CORE_VM_ENDPOINT` of the peers points to."""

    delivery: Address = ":8081"
    """Downloads and uploads of Pods, each with a token for exactly one thing."""

    operations: Address = ":9090"
    """`/metrics`, `/healthz` and `/readyz`."""


class PeithoSettings(Section):
    """Images, and how Pods reach Peitho."""

    image_mode: Literal["delivery", "registry"] = "delivery"
    """How nodes get a chaincode image: `delivery` is from Peitho itself, with no registry."""

    puller_access_address: str = "peitho:8081"
    """HOST:PORT of the delivery listener as Pods reach it: the Service's name, or its address."""

    puller_image: str = "docker.io/peitho/peitho:dev"
    """Peitho's own image, which runs beside builds and before chaincode."""

    instance: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$")] = "peitho"
    """Tells the objects of several Peithos in one namespace apart."""


class KubernetesSettings(Section):
    """The cluster."""

    namespace: str = ""
    """Where builds and chaincode run; empty: the kubeconfig's, or Peitho's own in a Pod."""

    kubeconfig: Path | None = None
    """A kubeconfig file; absent: the Pod's own service account."""

    dns: tuple[HostAlias, ...] = ()
    """`IP:host` entries for the hosts file of chaincode: peers that the cluster's DNS lacks."""


class RegistrySettings(KebabSection):
    """The registry of `peitho.imageMode: registry`."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    server_address: str = ""
    """HOST or HOST:PORT of the registry."""

    project: str = ""
    """What comes between the address and an image's name: `server-address/project/NAME`."""

    email: str = ""
    """The account's address; registries do not ask for it any more."""

    username: str = ""
    """The account; empty: nobody in particular."""

    password: SecretStr = SecretStr("")
    """Its password or token."""


class DockerSettings(KebabSection):
    """A Docker daemon for builds, and a registry for images; neither is needed."""

    endpoint: str = ""
    """The daemon that builds run in, `unix:///PATH` or `tcp://HOST:PORT`; empty: in Pods."""

    registry: RegistrySettings = RegistrySettings()


class SweeperSettings(Section):
    """What removes chaincode that is over, and the chaincode of peers that are gone."""

    enable: bool = True
    """Whether anything is removed at all."""

    interval: float = Field(default=30, gt=0)
    """Seconds between two looks."""

    retention: float = Field(default=86400, ge=0)
    """Seconds for which chaincode that has ended, or was never started, can be looked at."""

    orphan_after: float = Field(default=600, gt=0)
    """Seconds for which a peer refuses connections until its chaincode is ended."""


class ImageSettings(Section):
    """Chaincode images, which are data: a running peer does not build one again."""

    retention: float = Field(default=30 * 86400, gt=0)
    """Seconds for which the peer of an image has not been seen until the image goes."""

    limit_bytes: int = Field(default=0, ge=0)
    """Past this the least recently used go that no container has.  0: no limit."""


class Resources(Section):
    """Kubernetes quantities for one container; empty: not set."""

    cpu_request: Quantity | Literal[""] = ""
    cpu_limit: Quantity | Literal[""] = ""
    memory_request: Quantity | Literal[""] = ""
    memory_limit: Quantity | Literal[""] = ""


class BuildCacheSettings(Section):
    """Builds that succeeded, kept so that an equal one need not be carried out again."""

    enable: bool = True
    """Whether equal builds are carried out once."""

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

    deadline_seconds: int = Field(default=1800, gt=0)
    """How long a build may take; the cluster ends it then."""

    abandoned_after_seconds: float = Field(default=2, gt=0)
    """A build nobody waits for any more, since its peer hung up, is ended after this long."""

    max_parallel: int = Field(default=8, ge=0)
    """How many builds run at once; the others wait, and peers take turns.  0: no limit."""

    cache: BuildCacheSettings = BuildCacheSettings()

    resources: Resources = Resources()
    """What the build container asks for and may use."""


class ChaincodeSettings(Section):
    """Chaincode containers, which become Jobs."""

    user: UserId | None = 500
    """Numeric user of chaincode Pods.  Null: the number OpenShift gives."""

    users: Mapping[str, UserId | None] = Field(default_factory=dict)
    """Other users by runtime image, with `*`."""

    start_timeout_seconds: float = Field(default=300, gt=0, lt=600)
    """How long a chaincode Pod may take to run.  Its TLS certificate is good for 600."""

    settle_seconds: float = Field(default=1.5, ge=0, lt=60)
    """A chaincode that ends within this fails its start, so that its last lines reach the peer."""

    resources: Resources = Resources()
    """What a chaincode asks for; its memory limit is the peer's `HostConfig.Memory` if not set."""


class LimitSettings(Section):
    """What an upload may be; more is refused with 400."""

    archive_entries: int = Field(default=200_000, gt=0)
    """Files, directories and links in one archive."""

    archive_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Bytes of one archive, unpacked."""

    output_bytes: int = Field(default=256 * 1024**2, gt=0)
    """Bytes of what one build says; the rest is left out, and that is said."""


class LogSettings(KebabSection):
    """The log, with the Go project's keys."""

    name: str = "peitho"
    """Shown as `logger` in each line."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    """The least severe that is written."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: console on a terminal, JSON elsewhere."""

    enable_color: bool = True
    """Colors on a terminal."""

    development: bool = False
    """Accepted for the Go project's files; has no meaning here."""

    disable_caller: bool = False
    """Accepted for the Go project's files; has no meaning here."""

    disable_stacktrace: bool = False
    """Accepted for the Go project's files; has no meaning here."""


class Settings(Section):
    """All settings."""

    data_dir: Path = Path("/var/lib/peitho")
    """Images and builds in flight.  Data, not a cache: it belongs on a PersistentVolume."""

    server: ServerSettings = ServerSettings()
    peitho: PeithoSettings = PeithoSettings()
    kubernetes: KubernetesSettings = Field(default=KubernetesSettings(), alias="k8s")
    docker: DockerSettings = DockerSettings()
    sweeper: SweeperSettings = SweeperSettings()
    images: ImageSettings = ImageSettings()
    builder: BuilderSettings = BuilderSettings()
    chaincode: ChaincodeSettings = ChaincodeSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One setting: its keys in the file, and the variable that overrides it."""

    keys: tuple[str, ...]
    is_text: bool

    @property
    def variable(self) -> str:
        words = [_CAPITAL.sub(r"_\1", key).replace("-", "_") for key in self.keys]
        return "PEITHO_" + "_".join(words).upper()


def _leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    for name, field in model.model_fields.items():
        keys = (*above, field.alias or name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, keys)
        else:
            # Lists and mappings are written as YAML in a variable, all else as it is.
            yield _Leaf(keys, is_text=typing.get_origin(kind) not in (tuple, Mapping))


def load(
    file: Path | None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """
    The effective settings.

    `flags` maps dotted keys (`k8s.namespace`) to values; `None` values are left out.
    Raises SettingsError with every problem.
    """
    environment = os.environ if environment is None else environment  # noqa: TID251  the one place
    problems: list[str] = []
    tree = _read(file, problems)
    for leaf in _leaves(Settings):
        value = _from_environment(leaf, environment, problems)
        if value is not None:
            _put_variable(tree, leaf, value, problems)
    for key, value in (flags or {}).items():
        if value is not None:
            _put(tree, tuple(key.split(".")), value)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(dict(each)) for each in error.errors()]
    if problems:
        raise SettingsError(problems)
    return settings


def _read(file: Path | None, problems: list[str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        tree = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read: {error}")
        return {}
    except yaml.YAMLError as error:
        problems.append(f"{file}: is not YAML: {error}")
        return {}
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        problems.append(f"{file}: must be a mapping of keys, is a {type(tree).__name__}")
        return {}
    return typing.cast("dict[str, Any]", tree)


def _from_environment(
    leaf: _Leaf, environment: Mapping[str, str], problems: list[str]
) -> str | None:
    file = environment.get(f"{leaf.variable}_FILE")
    if file is not None:
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{leaf.variable}_FILE: {file} cannot be read: {error}")
    return environment.get(leaf.variable)


def _put_variable(tree: dict[str, Any], leaf: _Leaf, value: str, problems: list[str]) -> None:
    try:
        _put(tree, leaf.keys, value if leaf.is_text else yaml.safe_load(value))
    except yaml.YAMLError as error:
        problems.append(f"{leaf.variable}: is not YAML: {error}")


def _put(tree: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            return  # the model says what is wrong with it
        tree = below
    tree[keys[-1]] = value


def _problem(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    value = error.get("input")
    shown = "" if isinstance(value, dict | SecretStr) else f" (is {value!r})"
    return f"{key}: {re.sub('^Value error, ', '', error['msg'])}{shown}"
