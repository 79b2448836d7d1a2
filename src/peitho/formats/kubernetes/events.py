"""Events, by which `kubectl get events` and `kubectl describe` tell what happened to an object."""

from peitho.formats.kubernetes.objects import Manifest, ObjectReference

_NAME_CHARACTERS = 50
_MESSAGE_CHARACTERS = 1000


def event(  # noqa: PLR0913  an Event is these six things
    about: ObjectReference, *, namespace: str, reason: str, message: str, warning: bool, at: str
) -> Manifest:
    """An Event on an object of a namespace; `at` is RFC 3339."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about.name[:_NAME_CHARACTERS]}-"},
        "involvedObject": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "name": about.name,
            "uid": about.uid,
            "namespace": namespace,
        },
        "reason": reason,
        "message": message[:_MESSAGE_CHARACTERS],
        "type": "Warning" if warning else "Normal",
        "source": {"component": "peitho"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
