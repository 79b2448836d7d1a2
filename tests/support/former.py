"""Objects as a Peitho made them that had the labels of Helm's charts."""

from collections.abc import Mapping

from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest


def former(own: Mapping[str, str]) -> dict[str, str]:
    """The labels that an earlier Peitho would have given in place of these."""
    instance = own[labels.INSTANCE]
    rest = {key: value for key, value in own.items() if key != labels.INSTANCE}
    return rest | labels.former_labels(instance)


def earlier(made: Manifest) -> Manifest:
    """An object as an earlier Peitho would have made it."""
    return made | {"metadata": made["metadata"] | {"labels": former(made["metadata"]["labels"])}}
