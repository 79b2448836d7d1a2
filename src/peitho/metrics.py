"""Metrics, named once; labels are bounded."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("peitho_requests_total", "Docker API requests.", ["route", "status"])
REQUEST_SECONDS = Histogram("peitho_request_duration_seconds", "Docker API requests.", ["route"])
BUILD_SECONDS = Histogram(
    "peitho_build_duration_seconds",
    "Chaincode builds, from start to exit code.",
    ["outcome"],
    buckets=(1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1800),
)
BUILDS_SHARED = Counter(
    "peitho_builds_shared_total",
    "Builds that were not carried out: an equal one was under way (joined) or kept (reused).",
    ["how"],
)
COMPILED = Counter(
    "peitho_compiled_packages_total",
    "Go builds whose image has nothing compiled: they were given packages, or there were none yet.",
    ["outcome"],
)
BUILDS_WAITING = Gauge("peitho_builds_waiting", "Builds that wait for their turn.")
START_SECONDS = Histogram(
    "peitho_chaincode_start_duration_seconds",
    "Chaincode starts, from the peer's call to a running process.",
    ["outcome"],
    buckets=(0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300),
)
WAITS = Gauge("peitho_open_waits", "Peers waiting for a container to end.")
WATCH_AGE_SECONDS = Gauge("peitho_watch_age_seconds", "Seconds since the cluster was last heard.")
REACHABLE = Gauge(
    "peitho_reachable", "1 while a part outside of Peitho answers, 0 while it is away.", ["part"]
)
SETTINGS_REFUSED = Gauge(
    "peitho_settings_refused",
    "1 while the settings file was refused, and earlier settings stay.",
)
SWEEP_ERRORS = Counter(
    "peitho_sweep_errors_total",
    "Things that the sweeper could not look at or remove; each is tried again.",
    ["kind"],
)
AUDIT_WAITING = Gauge(
    "peitho_audit_waiting", "Lines of the audit trail that could not be written yet."
)
STORE_DAMAGED = Counter(
    "peitho_store_damaged_total",
    "Files of the data directory that were found damaged, and set aside.",
    ["kind"],
)
