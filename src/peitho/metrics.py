"""
Metrics, named once; docs/reference/metrics.md is made of them.

What a label may be is written here, and nothing that a caller sends is one: no image, no MSP ID, no
path.  All values are there from the start, at 0, so that an alert sees the first of them.
"""

from itertools import product
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)

# Why a caller is refused (`errors.py` names the reason with the error).
REFUSALS = (
    "certificate",  # none is shown, or nobody knows it
    "handshake",  # TLS ended before a call
    "image",  # no pattern allows it
    "field",  # an option that nobody may ask for
    "tenant",  # what belongs to another
    "token",  # of a Pod, for something else
    "limit",  # of builds, bytes, containers
    "connections",  # too many are open
    "slow",  # the body does not come, or the answer is not read
    "other",
)
BUILD_OUTCOMES = (
    "done",
    "failed",  # the command said so
    "not started",  # its Pod or container did not run
    "too late",  # past builder.deadlineSeconds
    "ended",  # by its peers, or with the node
)
BUILD_PHASES = (
    "waiting",  # for its turn
    "starting",  # until the command runs
    "running",  # the command
    "fetching",  # what it made
)
LAUNCH_PHASES = (
    "created",  # from the peer's call until the Job is there
    "scheduled",  # until its Pod has a node
    "pulled",  # until the layer, or the image, is on that node
    "running",  # until the process runs
)
EXIT_CLASSES = (
    "completed",  # exit code 0
    "failed",  # another one, by itself
    "stopped",  # a peer, the sweeper or an operator ended it
    "out of memory",
    "evicted",  # the node needed room
    "deleted",  # somebody deleted the Pod
    "lost",  # with its node
    "not started",  # the process never ran
)
KUBERNETES_VERBS = ("create", "get", "list", "watch", "patch", "delete", "log")
STORE_KINDS = ("layers", "images", "builds", "spool", "damaged")
SWEPT_KINDS = ("chaincode", "image", "kept build")
DAMAGE_KINDS = ("layer", "image", "build", "result", "notes")
PARTS = ("cluster", "registry", "daemon")


def _with(metric: M, *labels: tuple[str, ...]) -> M:
    """Have the values of the labels there from the start."""
    for values in product(*labels):
        metric.labels(*values)
    return metric


REQUESTS = Counter("peitho_requests_total", "Docker API requests.", ["route", "status"])
REQUEST_SECONDS = Histogram("peitho_request_duration_seconds", "Docker API requests.", ["route"])
REFUSED = _with(
    Counter("peitho_refused_total", "Calls that were refused, by reason.", ["reason"]), REFUSALS
)
WAITS = Gauge("peitho_open_waits", "Peers waiting for a container to end.")

BUILD_SECONDS = _with(
    Histogram(
        "peitho_build_duration_seconds",
        "Chaincode builds, from start to exit code.",
        ["outcome"],
        buckets=(1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1800),
    ),
    ("done", "failed"),
)
BUILDS = _with(
    Counter("peitho_builds_total", "Builds that were carried out, by how they ended.", ["outcome"]),
    BUILD_OUTCOMES,
)
BUILD_PHASE_SECONDS = _with(
    Histogram(
        "peitho_build_phase_duration_seconds",
        "Phases of builds; the one in which a build ended is the last that it has.",
        ["phase"],
        buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1800),
    ),
    BUILD_PHASES,
)
BUILDS_SHARED = _with(
    Counter(
        "peitho_builds_shared_total",
        "Builds that were not carried out: an equal one was under way (joined) or kept (reused).",
        ["how"],
    ),
    ("joined", "reused"),
)
COMPILED = _with(
    Counter(
        "peitho_compiled_packages_total",
        "Go builds whose image has nothing compiled, and whether they were given packages.",
        ["outcome"],
    ),
    ("given", "none"),
)
DOWNLOADED = _with(
    Counter(
        "peitho_downloaded_packages_total",
        "Builds that may be given what others downloaded: whether they were, and whose was kept.",
        ["outcome"],
    ),
    ("given", "none", "kept"),
)
BUILDS_WAITING = Gauge("peitho_builds_waiting", "Builds that wait for their turn.")
BUILDS_RUNNING = Gauge("peitho_builds_running", "Builds that are being carried out.")

START_SECONDS = _with(
    Histogram(
        "peitho_chaincode_start_duration_seconds",
        "Chaincode starts, from the peer's call to a running process.",
        ["outcome"],
        buckets=(0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300),
    ),
    ("started", "failed"),
)
LAUNCH_PHASE_SECONDS = _with(
    Histogram(
        "peitho_launch_phase_duration_seconds",
        "Phases of chaincode starts, each as it was seen; that it registered, its peer alone sees.",
        ["phase"],
        buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300),
    ),
    LAUNCH_PHASES,
)
EXITS = _with(
    Counter("peitho_chaincode_exits_total", "Ends of chaincode, by class.", ["class"]),
    EXIT_CLASSES,
)

STORE_BYTES = _with(
    Gauge("peitho_store_bytes", "What the data directory holds, by kind.", ["kind"]), STORE_KINDS
)
STORE_IMAGES = Gauge("peitho_store_images", "Images in the data directory.")
VOLUME_BYTES = Gauge("peitho_volume_bytes", "The size of the data directory's volume.")
VOLUME_USED_BYTES = Gauge("peitho_volume_used_bytes", "What is used of it, by whoever.")
STORE_DAMAGED = _with(
    Counter(
        "peitho_store_damaged_total",
        "Files of the data directory that were found damaged, and set aside.",
        ["kind"],
    ),
    DAMAGE_KINDS,
)

SWEEP_SECONDS = Histogram(
    "peitho_sweep_duration_seconds",
    "Sweeps, whether or not all could be removed.",
    buckets=(0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
SWEPT = _with(
    Counter("peitho_swept_total", "Things that the sweeper removed.", ["kind"]), SWEPT_KINDS
)
SWEEP_ERRORS = _with(
    Counter(
        "peitho_sweep_errors_total",
        "Things that the sweeper could not look at or remove; each is tried again.",
        ["kind"],
    ),
    (*SWEPT_KINDS, "leftover", "sweep"),
)

KUBERNETES_REQUESTS = Counter(
    "peitho_kubernetes_requests_total",
    "Requests to the Kubernetes API, each try; the code is `none` where no answer came.",
    ["verb", "code"],
)
KUBERNETES_SECONDS = _with(
    Histogram(
        "peitho_kubernetes_request_duration_seconds",
        "Requests to the Kubernetes API, each try; of watches and logs, until they begin.",
        ["verb"],
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ),
    KUBERNETES_VERBS,
)
WATCH_AGE_SECONDS = Gauge("peitho_watch_age_seconds", "Seconds since the cluster was last heard.")
REACHABLE = Gauge(
    "peitho_reachable", "1 while a part outside of Peitho answers, 0 while it is away.", ["part"]
)

LOOP_LAG_SECONDS = Histogram(
    "peitho_loop_lag_seconds",
    "How much later than due the event loop comes to a task, looked at once a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
CERTIFICATE_EXPIRY = Gauge(
    "peitho_certificate_expiry_timestamp_seconds",
    "When a certificate in use expires, in Unix seconds; of several in a file, the first.",
    ["certificate"],
)
SETTINGS_REFUSED = Gauge(
    "peitho_settings_refused",
    "1 while the settings file was refused, and earlier settings stay.",
)
AUDIT_WAITING = Gauge(
    "peitho_audit_waiting", "Lines of the audit trail that could not be written yet."
)
