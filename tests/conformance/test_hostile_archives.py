"""Some 500 archives that were made to do harm: each is taken or refused, at little cost."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.hostile_archives import corpus

# A slow machine's processor time; what the corpus is made after took minutes.
LONGEST_SECONDS = 5.0
MOST_MIB = 64

# As an upload, then as a layer: that is never compressed, and may have absolute links.
OUTCOMES = {"taken taken", "refused refused", "taken refused", "refused taken"}


def test_each_hostile_archive_is_taken_or_refused_at_little_cost(tmp_path: Path) -> None:
    """
    InvalidArgument is all that is raised, none takes long, and memory stays flat.
    """
    names = {}
    for number, (name, data) in enumerate(corpus()):
        names[f"{number:04}"] = name
        (tmp_path / f"{number:04}").write_bytes(data)

    read = [sys.executable, "-m", "tests.support.read_archives", str(tmp_path)]
    done = subprocess.run(read, check=True, capture_output=True, timeout=180)
    told = json.loads(done.stdout)

    assert len(names) > 500
    assert {} == {names[n]: o for n, o in told["outcomes"].items() if o not in OUTCOMES}
    assert {} == {names[n]: s for n, s in told["seconds"].items() if s > LONGEST_SECONDS}
    assert {"taken taken", "refused refused"} <= set(told["outcomes"].values())
    assert told["grew"] <= MOST_MIB
