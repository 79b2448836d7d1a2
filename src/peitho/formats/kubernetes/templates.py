"""
The operator's Pod templates, merged into Peitho's Pods as `kubectl patch` merges.

After k8s.io/apimachinery/pkg/util/strategicpatch: maps are merged, null deletes a key, lists are
merged by the keys below and replaced where they have none; `$patch` (`replace` or `delete`) and
`$retainKeys` are understood. What Peitho relies on cannot be changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from peitho.errors import TemplateRefused
from peitho.formats.kubernetes.objects import Manifest

Path = tuple[str, ...]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
# `patchMergeKey` of k8s.io/api/core/v1/types.go, for all that is below a Pod's spec.
_OF_CONTAINER = {
    "env": "name",
    "ports": "containerPort",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
}
_GROUPS = ("initContainers", "containers")
_KEYS: dict[Path, str] = {
    ("spec", "hostAliases"): "ip",
    ("spec", "imagePullSecrets"): "name",
    ("spec", "resourceClaims"): "name",
    ("spec", "schedulingGates"): "name",
    ("spec", "topologySpreadConstraints"): "topologyKey",
    ("spec", "volumes"): "name",
    **{("spec", group): "name" for group in _GROUPS},
    **{("spec", group, name): key for group in _GROUPS for name, key in _OF_CONTAINER.items()},
}
_OF_METADATA = ("annotations", "labels")
_FIXED_IN_CONTAINERS = ("image", "command", "args", "restartPolicy", "restartPolicyRules")
_ARCHITECTURE = "kubernetes.io/arch"


@dataclass(frozen=True, slots=True)
class TemplateOverride:
    """A template for the chaincodes whose MSP ID and label match two patterns with `*`."""

    msp_id: str
    label: str
    template: Mapping[str, Any]

    def matches(self, env: Sequence[str]) -> bool:
        """Whether a chaincode with these variables is meant."""
        values = dict(variable.partition("=")[::2] for variable in env)
        # A package ID is `label:hash`; a 1.4 peer has `name:version`.
        label = values.get("CORE_CHAINCODE_ID_NAME", "").rpartition(":")[0]
        msp_id = values.get("CORE_PEER_LOCALMSPID", "")
        return fnmatchcase(msp_id, self.msp_id) and fnmatchcase(label, self.label)


def applied(made: Manifest, templates: Sequence[Mapping[str, Any]]) -> Manifest:
    """
    Merge the operator's templates into a Pod or Pod template, one after the other.

    Raises TemplateRefused that names what Peitho relies on and they would change.
    """
    pod = made
    try:
        for template in templates:
            pod = merged(pod, template)
        after = dict(_relied_on(pod))
    except (AttributeError, LookupError, TypeError) as error:
        raise TemplateRefused(
            f"a template has a value where a Pod has a map or a list ({error})"
        ) from error
    for name, value in _relied_on(made):
        if after.get(name) != value:
            raise TemplateRefused(f"a template may not change {name}, which Peitho relies on")
    return pod


def merged(base: Manifest, template: Mapping[str, Any], path: Path = ()) -> Manifest:
    """Merge a map into another; both stay as they are."""
    if directive := template.get(_PATCH):
        return {} if directive == "delete" else _plain_map(template)
    kept = dict(base)
    if _RETAIN in template:
        kept = {key: value for key, value in base.items() if key in template[_RETAIN]}
    for key, value in template.items():
        before, place = kept.get(key), (*path, key)
        if value is None:
            kept.pop(key, None)
        elif isinstance(before, dict) and isinstance(value, dict):
            kept[key] = merged(before, value, place)
        elif isinstance(before, list) and isinstance(value, list) and place in _KEYS:
            kept[key] = _merged_list(before, value, place)
        elif key != _RETAIN and not _is_directive(value):
            kept[key] = _plain(value)
    return kept


def problems(template: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a template, whatever it is merged into."""
    messages = [f"{key}: only metadata and spec" for key in template.keys() - {"metadata", "spec"}]
    metadata = template.get("metadata")
    if isinstance(metadata, dict):
        more = metadata.keys() - set(_OF_METADATA)
        messages += [f"metadata.{key}: only labels and annotations" for key in sorted(more)]
    messages += [
        f"{key}: must be a map"
        for key in ("metadata", "spec")
        if not isinstance(template.get(key, {}), dict)
    ]
    return messages + list(_problems_below(template, ()))


def _merged_list(before: list[Any], patch: list[Any], path: Path) -> list[Any]:
    key = _KEYS[path]
    if any(entry.get(_PATCH) == "replace" for entry in patch):
        return [_plain(entry) for entry in patch if not _is_directive(entry)]
    deleted = [entry.get(key) for entry in patch if _is_directive(entry)]
    old = {entry[key]: entry for entry in before if entry[key] not in deleted}
    new: dict[Any, Manifest] = {}
    for entry in patch:
        if not _is_directive(entry):
            name = entry[key]
            known = new.get(name, old.get(name))
            new[name] = (
                _plain(entry) if known is None else merged(_replaceable(known, entry), entry, path)
            )
    return _in_order(old, new)


def _replaceable(known: Manifest, entry: Manifest) -> Manifest:
    """
    Return an entry without what the one of a patch stands in the place of.

    A variable has a value or is from one place, and not both: `kubectl patch` would make it so, and
    be refused. Where Peitho has a variable's value is its own business.
    """
    gone = {"valueFrom"} if entry.get("value") is not None else set()
    if isinstance(source := entry.get("valueFrom"), dict):
        is_same_kind = (known.get("valueFrom") or {}).keys() == source.keys()
        gone = {"value"} if is_same_kind else {"value", "valueFrom"}
    return {key: value for key, value in known.items() if key not in gone}


def _in_order(old: dict[Any, Manifest], new: dict[Any, Manifest]) -> list[Manifest]:
    """Order a list as Kubernetes does: the patch in its order, the others where they were."""
    places = {name: place for place, name in enumerate(old)}
    others = [name for name in old if name not in new]
    ordered: list[Manifest] = []
    for name, entry in new.items():
        while others and name in places and places[others[0]] < places[name]:
            ordered.append(old[others.pop(0)])
        ordered.append(entry)
    return [*ordered, *(old[name] for name in others)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain_map(value)
    if isinstance(value, list):
        return [_plain(entry) for entry in value if not _is_directive(entry)]
    return value


def _plain_map(value: Mapping[str, Any]) -> Manifest:
    return {
        key: _plain(entry)
        for key, entry in value.items()
        if entry is not None and key not in (_PATCH, _RETAIN) and not _is_directive(entry)
    }


def _is_directive(value: object) -> bool:
    return isinstance(value, dict) and _PATCH in value


def _problems_below(value: Any, path: Path) -> Iterator[str]:
    name = ".".join(path)
    if isinstance(value, list):
        key = _KEYS.get(path)
        for entry in value:
            if key and not (isinstance(entry, dict) and (key in entry or _replaces(entry))):
                yield f"{name}: each entry must have a {key}"
            yield from _problems_below(entry, path)
    if isinstance(value, dict):
        for key, entry in value.items():
            if str(key).startswith("$"):
                yield from _problems_of_directive(str(key), entry, name)
            elif (*path, key) in _KEYS and not isinstance(entry, list | None):
                yield f"{name}.{key}: must be a list"
            else:
                yield from _problems_below(entry, (*path, str(key)))


def _replaces(entry: Manifest) -> bool:
    return entry.get(_PATCH) == "replace"


def _problems_of_directive(key: str, value: object, name: str) -> Iterator[str]:
    if key not in (_PATCH, _RETAIN):
        yield f"{name}: {key} is not understood, {_PATCH} and {_RETAIN} are"
    elif key == _PATCH and value not in ("replace", "delete"):
        yield f"{name}: {_PATCH} may be replace or delete"
    elif key == _RETAIN and not isinstance(value, list):
        yield f"{name}: {_RETAIN} must be a list"


def _relied_on(made: Manifest) -> Iterator[tuple[str, Any]]:
    """Yield what must not change, each with a name for people."""
    metadata, spec = made.get("metadata", {}), made.get("spec", {})
    for kind in _OF_METADATA:
        for key, value in (metadata.get(kind) or {}).items():
            if key.startswith("peitho/"):
                yield f"metadata.{kind}[{key}]", value
    yield "spec.restartPolicy", spec.get("restartPolicy")
    if _ARCHITECTURE in spec.get("nodeSelector", {}):
        yield f"spec.nodeSelector[{_ARCHITECTURE}]", spec["nodeSelector"][_ARCHITECTURE]
    for volume in spec.get("volumes", []):
        # How large an emptyDir may be, and what it is made of, is the operator's.
        content = {"emptyDir": None} if "emptyDir" in volume else volume
        yield f"spec.volumes[{volume['name']}]", content
    for group in _GROUPS:
        for container in spec.get(group, []):
            yield from _relied_on_in(container, f"spec.{group}[{container['name']}]")


def _relied_on_in(container: Manifest, name: str) -> Iterator[tuple[str, Any]]:
    yield name, True
    for field in _FIXED_IN_CONTAINERS:
        yield f"{name}.{field}", container.get(field)
    for mount in container.get("volumeMounts", []):
        yield f"{name}.volumeMounts[{mount['mountPath']}]", mount
    for variable in container.get("env", []):
        if variable["name"].startswith("PEITHO_"):
            yield f"{name}.env[{variable['name']}]", variable
