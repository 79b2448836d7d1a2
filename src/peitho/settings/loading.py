"""
Where the settings come from: one YAML file, `PEITHO_...` variables over it, flags over both.

A variable is the path of a key, upper case, with underscores: `PEITHO_K8S_NAMESPACE`,
`PEITHO_PEITHO_IMAGE_MODE`; with `_FILE` behind it, it names a file that holds the value.  This
module alone reads the settings file and the environment.
"""

import difflib
import hashlib
import os
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from peitho.settings import masking, rendering
from peitho.settings.models import PeithoSettings, ServerSettings, Settings

__all__ = [
    "MEANINGLESS",
    "LoadedSettings",
    "SettingKey",
    "SettingsError",
    "SettingsSource",
    "load",
    "setting_keys",
]

Tree = dict[str, Any]

# More than one of YAML's own signs.
_QUOTED = re.compile(r"'[^'<]{2,}'")
_CAPITAL = re.compile(r"([A-Z])")
# What PyYAML raises for a value that only looks like a date, a number, or what its tag says.
_ODD_VALUE = (ValueError, LookupError, AttributeError, RecursionError)
# YAML's key that takes in another mapping; it may be there more than once.
_MERGE = "<<"
# Keys that are read for the Go project's files, and what is said of them where they are set.
MEANINGLESS = {
    "log.development": "has no meaning here",
    "log.disable-caller": "has no meaning here",
    "log.disable-stacktrace": "has no meaning here",
    "log.output-paths": "has no meaning here, the log goes to stderr",
    "log.error-output-paths": "has no meaning here, the log goes to stderr",
}
_PROXY_VARIABLES = {
    ("proxy", "https"): "HTTPS_PROXY",
    ("proxy", "http"): "HTTP_PROXY",
    ("proxy", "noProxy"): "NO_PROXY",
}
# The Go project downloads `http://peitho:8080/tar/IMAGE.tar`, with an image of its own, which
# its Makefile names `puller-ARCHITECTURE`.
_GO_ADDRESS = re.compile(r"https?://([^/]+?)(:\d+)?/tar/?")
_GO_PULLER = re.compile(r"(.*/)?puller(-\w+)?(:[^/]*)?(@.*)?")


class SettingsError(Exception):
    """All problems of the settings, a line each: key, what is wrong, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """
    The effective settings, and how they came about.

    `origins` has `file`, `flag` or a variable's name for each key that is set, `notes` what
    becomes of keys that are not taken as they are written, `digest` what the files had in them.
    """

    settings: Settings
    origins: Mapping[str, str]
    notes: Mapping[str, str]
    digest: bytes

    def render(self) -> str:
        """Return the settings as YAML, with origins behind the values and secrets masked."""
        tree = masking.masked(self.settings.model_dump(mode="json", by_alias=True))
        comments = {leaf.keys: self.origins.get(leaf.key, "default") for leaf in setting_keys()}
        return rendering.render(tree, comments)


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The file and flags that a program was started with; what files hold may change."""

    file: Path | None
    flags: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None

    def load(self) -> LoadedSettings:
        """Load the settings as they are now. Raises SettingsError with all problems."""
        return load(self.file, self.environment, self.flags)

    def digest(self) -> bytes:
        """Return a digest of the content of all files: the settings', and those of variables."""
        digest = hashlib.sha256()
        for path in self._files():
            try:
                content = hashlib.sha256(path.read_bytes()).digest()
            except OSError:
                content = b""
            digest.update(content + b".")
        return digest.digest()

    def _files(self) -> Iterator[Path]:
        if self.file:
            yield self.file
        environment = _environment(self.environment)
        for leaf in setting_keys():
            for variable in (leaf.variable, leaf.go_variable):
                if path := environment.get(f"{variable}_FILE"):
                    yield Path(path)


@dataclass(frozen=True, slots=True)
class SettingKey:
    """One setting: its keys in the file, and the variable that overrides it."""

    keys: tuple[str, ...]
    is_text: bool
    is_secret: bool
    takes_null: bool

    @property
    def key(self) -> str:
        """The keys as people write them: `k8s.namespace`."""
        return ".".join(self.keys)

    @property
    def variable(self) -> str:
        """The variable's name, with words apart: `PEITHO_PEITHO_IMAGE_MODE`."""
        words = [_CAPITAL.sub(r"_\1", key).replace("-", "_") for key in self.keys]
        return "PEITHO_" + "_".join(words).upper()

    @property
    def go_variable(self) -> str:
        """The variable's name as the Go project spells it: `PEITHO_PEITHO_IMAGEMODE`."""
        return "PEITHO_" + "_".join(key.replace("-", "_") for key in self.keys).upper()


@cache
def setting_keys(
    model: type[BaseModel] = Settings, above: tuple[str, ...] = ()
) -> tuple[SettingKey, ...]:
    """Return all settings, in the order of the models."""
    found: list[SettingKey] = []
    for name, declared in model.model_fields.items():
        keys = (*above, declared.alias or name)
        kind = declared.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += setting_keys(kind, keys)
        else:
            key = SettingKey(
                keys,
                # Lists and mappings are written as YAML in a variable, all else as it is.
                is_text=typing.get_origin(kind) not in (tuple, Mapping),
                is_secret=kind is SecretStr,
                takes_null=type(None) in typing.get_args(kind),
            )
            found.append(key)
    return tuple(found)


def load(
    file: Path | None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """
    The effective settings.

    `flags` maps dotted keys (`k8s.namespace`) to values; `None` values are left out.
    Raises SettingsError with every problem.
    """
    environment = _environment(environment)
    # Taken before the files are read, so that a change meanwhile shows in the next digest.
    digest = SettingsSource(file, environment=environment).digest()
    gathered = _Gathered()
    gathered.take_file(file)
    for leaf in setting_keys():
        gathered.take_variable(leaf, environment)
    gathered.take_proxies(environment)
    for key, value in (flags or {}).items():
        if value is not None:
            gathered.put(tuple(key.split(".")), value, origin="flag")
    notes = gathered.adapt()
    gathered.check_kubeconfig()
    gathered.check_characters()
    try:
        settings = Settings.model_validate(gathered.tree, by_alias=True, by_name=False)
    except ValidationError as error:
        gathered.problems += [_problem(dict(problem)) for problem in error.errors()]
    if gathered.problems:
        raise SettingsError(gathered.problems)
    return LoadedSettings(settings, gathered.origins, notes, digest)


@dataclass(slots=True)
class _Gathered:
    """The settings as a tree of keys, while file, variables and flags are read."""

    tree: Tree = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take_file(self, file: Path | None) -> None:
        self.tree = _without_nulls(_read(file, self.problems))
        for leaf in setting_keys():
            if _look(self.tree, leaf.keys, otherwise=self) is not self:
                self.origins[leaf.key] = "file"

    def take_variable(self, leaf: SettingKey, environment: Mapping[str, str]) -> None:
        for variable in dict.fromkeys((leaf.variable, leaf.go_variable)):
            for name, is_file in ((f"{variable}_FILE", True), (variable, False)):
                if name in environment and self._take(leaf, name, environment[name], is_file):
                    return

    def take_proxies(self, environment: Mapping[str, str]) -> None:
        """Take the variables that all programs know proxies by, where nothing else is set."""
        for keys, variable in _PROXY_VARIABLES.items():
            for name in (variable, variable.lower()):
                if environment.get(name) and ".".join(keys) not in self.origins:
                    self.put(keys, environment[name], origin=name)

    def _take(self, leaf: SettingKey, name: str, value: str, is_file: bool) -> bool:  # noqa: FBT001  of ours
        try:
            text = Path(value).read_text().strip() if is_file else value
            parsed = text if leaf.is_text else _parsed(text, f"{name}: ", self.problems)
            self.put(leaf.keys, parsed, origin=name)
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{name}: {value} cannot be read: {error}")
            return False
        except (yaml.YAMLError, *_ODD_VALUE) as error:
            self.problems.append(f"{name}: is not YAML: {_place(error)}")
        return True

    def put(self, keys: tuple[str, ...], value: Any, *, origin: str) -> None:
        tree = self.tree
        for key in keys[:-1]:
            below = tree.setdefault(key, {})
            if not isinstance(below, dict):
                return  # the model says what is wrong with it
            tree = below
        tree[keys[-1]] = value
        self.origins[".".join(keys)] = origin

    def check_kubeconfig(self) -> None:
        """Note as a problem that there is no such file, or none that can be read."""
        path = _look(self.tree, ("k8s", "kubeconfig"))
        if isinstance(path, str):
            try:
                Path(path).open("rb").close()
            except (OSError, ValueError) as error:
                self.problems.append(f"k8s.kubeconfig: {path} cannot be read: {error}")

    def check_characters(self) -> None:
        """Note as a problem what no file, no Pod and no address can have."""
        for leaf in setting_keys():
            value = _look(self.tree, leaf.keys)
            if isinstance(value, str) and "\0" in value:
                self.problems.append(f"{leaf.key}: has a NUL character")

    def adapt(self) -> dict[str, str]:
        """Adapt what only the Go project has; return a note for each adapted key."""
        notes = {key: note for key, note in MEANINGLESS.items() if key in self.origins}
        address = _look(self.tree, ("peitho", "pullerAccessAddress"))
        if isinstance(address, str) and (go_address := _GO_ADDRESS.fullmatch(address)):
            listener = _look(self.tree, ("server", "delivery"), ServerSettings().delivery)
            ours = f"{go_address[1]}:{str(listener).rpartition(':')[2]}"
            self.tree["peitho"]["pullerAccessAddress"] = ours
            notes["peitho.pullerAccessAddress"] = f"is taken as {ours}, the delivery listener"
        image = _look(self.tree, ("peitho", "pullerImage"))
        if isinstance(image, str) and _GO_PULLER.fullmatch(image):
            del self.tree["peitho"]["pullerImage"]
            del self.origins["peitho.pullerImage"]
            ours = PeithoSettings().puller_image
            notes["peitho.pullerImage"] = f"is the Go project's puller; {ours} is used"
        return notes


def _environment(given: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if given is None else given  # noqa: TID251  the one place


def _read(file: Path | None, problems: list[str]) -> Tree:
    if file is None:
        return {}
    try:
        tree = _parsed(file.read_text(), f"{file}: ", problems)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read: {error}")
        return {}
    except (yaml.YAMLError, *_ODD_VALUE) as error:
        problems.append(f"{file}: is not YAML: {_place(error)}")
        return {}
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        problems.append(f"{file}: must be a mapping of keys, is a {type(tree).__name__}")
        return {}
    return typing.cast("Tree", tree)


def _parsed(text: str, where: str, problems: list[str]) -> Any:
    """Return what a YAML text says. A key that is there twice is a problem: one would not count."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        problems += [f"{where}{problem}" for problem in _keys_twice(node, (), set())]
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _keys_twice(node: yaml.Node, above: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    # An alias of what was looked at; or a secret, of which nothing is shown.
    if id(node) in seen or any(leaf.is_secret and leaf.keys == above for leaf in setting_keys()):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys_twice(item, above, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = str(key.value)
        line = key.start_mark.line + 1
        if name in lines and name != _MERGE:
            path = ".".join((*above, name))
            yield f"{path}: is there twice, in line {lines[name]} and in line {line}"
        lines.setdefault(name, line)
        yield from _keys_twice(value, (*above, name), seen)


def _place(error: Exception) -> str:
    """Return where the error is, and what is wrong; never the text, which may be a password."""
    if isinstance(error, _ODD_VALUE):
        return f"a value is not what it looks like, a date for instance ({type(error).__name__})"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return type(error).__name__
    mark, problem = error.problem_mark, _QUOTED.sub("'...'", error.problem or "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _without_nulls(tree: Tree, above: tuple[str, ...] = ()) -> Tree:
    """Remove keys without a value, except those for which null has a meaning."""
    nullable = {leaf.keys for leaf in setting_keys() if leaf.takes_null}
    sections = {leaf.keys[:end] for leaf in setting_keys() for end in range(1, len(leaf.keys))}
    kept = {
        key: value for key, value in tree.items() if value is not None or (*above, key) in nullable
    }
    return {
        key: _without_nulls(value, (*above, key))
        if isinstance(value, dict) and (*above, key) in sections
        else value
        for key, value in kept.items()
    }


def _look(tree: Tree, keys: tuple[str, ...], otherwise: Any = None) -> Any:
    value: Any = tree
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return otherwise
        value = value[key]
    return value


def _problem(error: Mapping[str, Any]) -> str:
    keys = tuple(str(part) for part in error["loc"])
    key = ".".join(keys)
    if error["type"] == "extra_forbidden":
        return f"{key}: is no setting; {_known_instead(keys)}"
    message = re.sub("^Value error, ", "", error["msg"])
    if not keys:  # of several keys, which it names itself
        return masking.without_passwords(message)
    return masking.without_passwords(f"{key}: {message}{_shown(keys, error.get('input'))}")


def _shown(keys: tuple[str, ...], value: object) -> str:
    """Return the wrong value, if it is one word and no secret."""
    secrets = [leaf.keys for leaf in setting_keys() if leaf.is_secret]
    if any(secret[: len(keys)] == keys for secret in secrets):
        return ""
    return f" (is {value!r})" if isinstance(value, str | int | float | None) else ""


def _known_instead(keys: tuple[str, ...]) -> str:
    """Return what may stand in place of an unknown key."""
    above = keys[:-1]
    known = [leaf.keys[len(above)] for leaf in setting_keys() if leaf.keys[: len(above)] == above]
    known = known or _fields_at(above)
    if close := difflib.get_close_matches(keys[-1], known, n=1):
        return f"did you mean {close[0]}?"
    names = ", ".join(dict.fromkeys(known))
    return f"known are {names}" if names else "see the reference of settings"


def _fields_at(keys: tuple[str, ...]) -> list[str]:
    """Return what may stand where keys lead to, also in an entry of a list or a table."""
    kind: Any = Settings
    for key in keys:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _fields(kind).get(key)
        else:
            arguments = typing.get_args(kind) or (None,)
            kind = arguments[0 if typing.get_origin(kind) is tuple else -1]
    return list(_fields(kind)) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
