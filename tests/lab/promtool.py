"""promtool, which checks alerts as Prometheus reads them; built from its Go module, once."""

import hashlib
from pathlib import Path

from tests.lab.machine import CACHE, go, one_at_a_time, run, step

_SOURCE = Path(__file__).parent / "promtool"
_PACKAGE = "github.com/prometheus/prometheus/cmd/promtool"


@one_at_a_time("promtool")
def build() -> Path:
    """The binary, from the cache or built: some minutes on a new machine."""
    parts = [_SOURCE / name for name in ("go.mod", "go.sum")]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:12]
    binary = CACHE / f"promtool-{key}" / "promtool"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        # Without what finds targets in clouds: three quarters of what there is to compile.
        flags = ["-tags", "remove_all_sd", "-ldflags", "-s -w"]
        with step("building promtool (once: 4 to 8 minutes)"):
            run(
                [*go(), "build", "-o", f"{binary}.part", *flags, _PACKAGE],
                cwd=_SOURCE,
                env={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
            )
        Path(f"{binary}.part").rename(binary)
    return binary
