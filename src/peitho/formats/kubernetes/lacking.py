"""What the cluster's words say is lacking: an object that somebody has to make."""

import re

# An object that is made in the same moment as a launch comes within this.
LACK_SECONDS = 5.0

# As the kubelet, the scheduler and the admission of Pods say it: `configmap "x" not found`,
# `references non-existent secret key: k`, `couldn't find key k in ConfigMap ns/x`.
_OBJECT = re.compile(
    r"\b(configmap|secret|persistentvolumeclaim|serviceaccount|priorityclass|runtimeclass)s?"
    r"[^;,]{0,300}\bnot (be )?found"
    r"|no priorityclass|runtimeclass [^;,]{0,300}not found"
    r"|references non-existent|couldn't find key",
    re.IGNORECASE,
)
# As the kubelet says that it will not make a container as it is asked to.
_SETTING = re.compile(r"runAsNonRoot|non-numeric user", re.IGNORECASE)
# As the API server says that it will not take a Pod, whoever brings it.
_REFUSAL = re.compile(
    r"is forbidden|denied the request|is invalid|\binvalid value\b|\bunknown field\b",
    re.IGNORECASE,
)


def lacks_object(words: str) -> bool:
    """Whether something is not there, or not set, that only somebody else can bring."""
    return bool(_OBJECT.search(words) or _SETTING.search(words))


def is_refusal(words: str) -> bool:
    """Whether a Pod is refused as it is, and not since something is busy or away."""
    return bool(_REFUSAL.search(words))
