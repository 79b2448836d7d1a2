"""What a test has counted: metrics are one for the whole process, so the difference counts."""

from prometheus_client import REGISTRY


class Counted:
    """The samples of one metric that have grown, by the value of one label, and by how much."""

    def __init__(self, name: str, label: str, **others: str) -> None:
        self._name, self._label, self._others = name, label, others
        self._before = self._now()

    @property
    def grown(self) -> dict[str, float]:
        """Without those that have stayed."""
        differences = {each: at - self._before.get(each, 0) for each, at in self._now().items()}
        return {each: by for each, by in differences.items() if by}

    def _now(self) -> dict[str, float]:
        return {
            sample.labels[self._label]: sample.value
            for metric in REGISTRY.restricted_registry([self._name]).collect()
            for sample in metric.samples
            if sample.name == self._name and self._others.items() <= sample.labels.items()
        }
