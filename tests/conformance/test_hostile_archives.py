"""Some 500 archives that were made to do harm: each is taken or refused, at little cost."""

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

from peitho.errors import PeithoError
from peitho.pod import layer
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


def test_no_hostile_archive_is_unpacked_outside(tmp_path: Path) -> None:
    """
    As the layer of chaincode: whatever comes is unpacked or refused, in a directory of its own.
    """
    (tmp_path / "beside").write_bytes(b"mine")
    target = tmp_path / "target"
    target.mkdir()
    small = [data for _, data in corpus() if len(data) < 300_000]
    for data in small:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        try:
            layer.unpack(io.BytesIO(data).readinto, digest, str(target))
        except PeithoError:
            assert [] == list(target.iterdir())
        else:
            layer.empty(str(target))

    assert len(small) > 200
    assert {"beside", "target"} == {path.name for path in tmp_path.iterdir()}
    assert b"mine" == (tmp_path / "beside").read_bytes()
