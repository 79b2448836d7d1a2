"""The rights that Peitho's account needs in a namespace of chaincode, each with its reason."""

from dataclasses import dataclass

from peitho.formats.kubernetes.objects import Manifest


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a kind; without one that is not `needed`, some things are told later."""

    group: str
    resource: str
    verb: str
    what_for: str
    needed: bool = True

    def __str__(self) -> str:
        """Return it as people say it: `create pods`."""
        return f"{self.verb} {self.resource}"


RIGHTS = (
    Right("", "secrets", "create", "a container that a peer creates"),
    Right("", "secrets", "get", "what a peer asked for, and its files"),
    Right("", "secrets", "list", "all containers, at start and in a sweep"),
    Right("", "secrets", "watch", "containers as they change"),
    Right("", "secrets", "patch", "files of a peer, and how a container ended"),
    Right("", "secrets", "delete", "a container that is removed"),
    Right("", "pods", "create", "builds"),
    Right("", "pods", "list", "builds and chaincode, at start"),
    Right("", "pods", "watch", "whether they run, and how they ended"),
    Right("", "pods", "patch", "labels of what an earlier Peitho made", needed=False),
    Right("", "pods", "delete", "what is over, or stopped"),
    Right("", "pods/log", "get", "what a chaincode says"),
    Right("", "events", "create", "that a chaincode has ended"),
    Right("", "events", "list", "why a Pod does not come", needed=False),
    Right("", "events", "watch", "that a process has begun", needed=False),
    Right(
        "",
        "serviceaccounts",
        "get",
        "its pull Secrets, for Pods beside Peitho's own, and to read runtime images with",
        needed=False,
    ),
    Right("batch", "jobs", "create", "chaincode that is started"),
    Right("batch", "jobs", "get", "whether it is started, and over"),
    Right("batch", "jobs", "list", "all of them, at start and in a sweep"),
    Right("batch", "jobs", "patch", "which runtime image runs, labels of before", needed=False),
    Right("batch", "jobs", "delete", "chaincode that is stopped"),
)


def review(right: Right, namespace: str) -> Manifest:
    """The question to the API server whether the account that asks has a right."""
    resource, _, subresource = right.resource.partition("/")
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {
            "resourceAttributes": {
                "namespace": namespace,
                "group": right.group,
                "resource": resource,
                "verb": right.verb,
                **({"subresource": subresource} if subresource else {}),
            }
        },
    }


def is_allowed(answer: Manifest) -> bool:
    """Whether the API server says so."""
    return (answer.get("status") or {}).get("allowed") is True
