"""
What can go wrong, by kind.  `api.middleware` alone turns a kind into a status.

PeithoError            500
├── InvalidArgument    400
├── Forbidden          403   the caller may not do this, whoever it is
├── NotFound           404
├── TooSlow            408   the body of a request does not come, or comes too slowly
├── Conflict           409
├── Unsupported        501
├── LimitReached       507   a tenant has as much as it may have
├── Unavailable        503   the cluster or a registry cannot be reached; worth a retry
├── StartFailed        500   a container could not be started, in the cluster's own words
├── TemplateRefused    500   a Pod template of the operator's cannot be used
├── StorageFull        500   no room in the data directory; what is stored is intact
└── StorageUnusable    500   the data directory is gone, or cannot be read or written

Messages are Docker's own where it has one, since peers log them and some are matched by case.
"""

from typing import ClassVar, Literal

Refusal = Literal["certificate", "image", "field", "tenant", "other"]


class PeithoError(Exception):
    """Anything that is told to the peer; carries the status that the API answers."""

    status: ClassVar[int] = 500
    # What a refusal counts as, one of `metrics.REFUSALS`; empty for what is none.
    refused: str = ""


class InvalidArgument(PeithoError):  # noqa: N818  the kinds are named as moby's errdefs names them
    """The peer sent what nobody could carry out: a bad name, a broken archive."""

    status = 400


class Forbidden(PeithoError):  # noqa: N818
    """The caller may not do this; `reason` says for want of what."""

    status = 403

    def __init__(self, message: str, *, reason: Refusal = "other") -> None:
        super().__init__(message)
        self.refused = reason


class NotFound(PeithoError):  # noqa: N818
    """A container, an image or a path that is not there."""

    status = 404


class TooSlow(PeithoError):  # noqa: N818
    """The body of a request does not come, or comes too slowly."""

    status = 408
    refused = "slow"


class Conflict(PeithoError):  # noqa: N818
    """The state forbids it: a name in use, a container that is not running."""

    status = 409


class Unsupported(PeithoError):  # noqa: N818
    """Part of the Docker API that Peitho leaves out on purpose."""

    status = 501


class LimitReached(PeithoError):  # noqa: N818
    """A tenant has as many containers, or bytes, as the operator lets it have."""

    status = 507
    refused = "limit"


class Unavailable(PeithoError):  # noqa: N818
    """The Kubernetes API or a registry cannot be reached; the same call may succeed later."""

    status = 503


class StartFailed(PeithoError):  # noqa: N818
    """The cluster could not start a container; the message has its words."""


class TemplateRefused(PeithoError):  # noqa: N818
    """A Pod template breaks what Peitho relies on, or the cluster takes no Pod of it."""


class StorageFull(PeithoError):  # noqa: N818
    """The data directory has no room; nothing half-written is ever used."""


class StorageUnusable(PeithoError):  # noqa: N818
    """The data directory as a whole is in trouble; the message says what to see to."""
