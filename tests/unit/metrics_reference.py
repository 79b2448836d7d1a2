"""The reference of metrics, from the metrics: `python -m tests.unit.metrics_reference`."""

from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

from peitho import metrics

Metric = Counter | Gauge | Histogram

HEAD = """\
# Metrics

At `/metrics` of the operations listener (`server.operations`), in Prometheus' text format; this
page is made from `src/peitho/metrics.py`. What a label may be is listed: nothing that a caller
sends is one. Those whose values are known have all of their series from the start, at 0, so that
`increase()` sees the first of each.

[`deploy/monitoring`](../../deploy/monitoring/alerts.yaml) has a dashboard and alerts over them, and
each alert a [runbook](../runbooks/index.md).

| metric | type | labels | what |
|---|---|---|---|
"""

TAIL = """
Beside these, `prometheus-client` tells of the process: `process_resident_memory_bytes`,
`process_cpu_seconds_total`, `process_open_fds`, `process_max_fds`, `process_start_time_seconds`.

Whether a chaincode has **registered**, its peer alone knows: it calls the peer over gRPC, past
Peitho. A launch that succeeds here and fails at the peer is seen there, as a time-out of its
`startuptimeout`; `peitho_chaincode_exits_total` shows the end of such a process.

With `code="none"` a request to the Kubernetes API got no answer. A phase of a launch is measured
when the watch of Pods shows its end; what it does not show by itself is in the phase after it.
Where images come from a registry, the kubelet shows image and process together, so the pull is in
`running`.

## Labels

| metric | label | values |
|---|---|---|
"""


# Labels whose values are not written into `metrics.py` are told here.
OTHERS = {
    ("peitho_requests_total", "route"): "verb and path of a route, as `POST /containers/create`",
    ("peitho_requests_total", "status"): "HTTP status; 499 where the caller hung up",
    ("peitho_request_duration_seconds", "route"): "the same",
    ("peitho_kubernetes_requests_total", "verb"): "as `peitho_kubernetes_request_duration_seconds`",
    ("peitho_kubernetes_requests_total", "code"): "HTTP status, or `none`",
    ("peitho_reachable", "part"): "`cluster`, `registry`, `daemon`, as far as they are set",
    ("peitho_certificate_expiry_timestamp_seconds", "certificate"): (
        "`delivery`, `docker api`, `operations`, `daemon`, and of each its `CA`, as far as they "
        "are set"
    ),
}


def all_metrics() -> list[Metric]:
    """In the order of the source."""
    kinds = (Counter, Gauge, Histogram)
    return [each for each in vars(metrics).values() if isinstance(each, kinds)]


def name_of(metric: Metric) -> str:
    """The name that Prometheus has it by."""
    name = next(iter(metric.describe())).name
    return f"{name}_total" if isinstance(metric, Counter) else name


def labels_of(metric: Metric) -> tuple[str, ...]:
    """The names of its labels."""
    return tuple(metric._labelnames)  # noqa: SLF001  the library tells them nowhere else


def values_of(metric: Metric, label: str) -> list[str]:
    """The values of a label that are there from the start, in their order."""
    seen = [
        values[labels_of(metric).index(label)]
        for values in metric._metrics  # noqa: SLF001  as above
    ]
    return list(dict.fromkeys(seen))


def render() -> str:
    """The whole page."""
    return HEAD + "".join(_rows()) + TAIL + "".join(_label_rows())


def _rows() -> Iterator[str]:
    for metric in all_metrics():
        kind = type(metric).__name__.lower()
        labels = ", ".join(f"`{label}`" for label in labels_of(metric))
        what = next(iter(metric.describe())).documentation
        yield f"| `{name_of(metric)}` | {kind} | {labels} | {what} |\n".replace("|  |", "| |")


def _label_rows() -> Iterator[str]:
    for metric in all_metrics():
        for label in labels_of(metric):
            told = OTHERS.get((name_of(metric), label))
            told = told or ", ".join(f"`{value}`" for value in values_of(metric, label))
            yield f"| `{name_of(metric)}` | `{label}` | {told} |\n"


if __name__ == "__main__":
    print(render(), end="")
