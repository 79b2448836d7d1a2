import subprocess
import sys
from pathlib import Path

STORY = '''
"""Tests of every outcome, in more files than there are processes."""
import os, time
import pytest

@pytest.fixture(scope="module")
def shared():
    yield os.getpid()
    print("the end of a module")

@pytest.mark.parametrize("number", range(20))
def test_of_many(number, shared, tmp_path, capfd):
    (tmp_path / "file").write_text(str(number))
    print(number)
    os.write(1, b"written\\n")
    time.sleep(0.005)
    assert f"{number}\\nwritten\\n" == capfd.readouterr().out
    assert [tmp_path / "file"] == list(tmp_path.iterdir())

def test_that_fails():
    print("what it printed")
    assert 1 == 2

@pytest.mark.skip(reason="not now")
def test_that_is_skipped(): ...

@pytest.mark.xfail(strict=True)
def test_that_must_fail(): assert False

def test_whose_fixture_is_missing(nowhere): ...
'''


TOGETHER = """
import os, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(8))
def test_of_many(number):
    folder = Path(__file__).parent
    with (folder.parent / "ran").open("a") as ran:
        ran.write(f"{folder.name} {os.getpid()}\\n")
    time.sleep(0.05)
"""

LAST = """
from pathlib import Path
import pytest

@pytest.mark.alone
def test_that_is_slowed_by_others():
    with (Path(__file__).parent / "ran").open("a") as ran:
        ran.write("alone .\\n")
"""


def told(directory: Path, *arguments: str, source: str = STORY) -> tuple[int, str]:
    """Exit code and text of a pytest that runs two files of such tests in two processes."""
    for name in ("test_first.py", "test_second.py"):
        (directory / name).write_text(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.lab.all_cores",
        "-p",
        "no:cacheprovider",
    ]
    ended = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", ".", "--processes", "2", *arguments, directory],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return ended.returncode, ended.stdout


def test_each_test_is_run_once_and_told(tmp_path: Path) -> None:
    """
    With every outcome, in one summary.
    """
    code, text = told(tmp_path)

    assert 1 == code
    last = text.splitlines()[-1]
    assert "2 failed, 40 passed, 2 skipped, 2 xfailed, 2 errors" in last
    assert 2 == text.count("Captured stdout call")


def test_a_file_may_be_for_one_process_and_a_test_for_the_end(tmp_path: Path) -> None:
    """
    Others are for whoever is free; of two such files, each has a process of its own.
    """
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_in_{name}.py").write_text(TOGETHER)
    setting = f"whole_files={tmp_path}/first {tmp_path}/second"
    code, text = told(tmp_path, "-o", setting, source=LAST)

    assert 0 == code, text
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    ran_in = [[process for where, process in ran if where == name] for name in ("first", "second")]
    assert [(8, 1), (8, 1)] == [(len(each), len(set(each))) for each in ran_in]
    assert ran_in[0][0] != ran_in[1][0]
    assert ["alone", "alone"] == [where for where, _ in ran[-2:]]


def test_a_first_failure_ends_all(tmp_path: Path) -> None:
    """
    Where that is asked for.
    """
    code, text = told(tmp_path, "-x", source="def test_that_fails(): assert 0\n" + STORY)

    assert 1 == code
    assert "stopping after" in text
    assert text.count("FAILED") <= 2


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    """
    With the test that it was at.
    """
    source = "import os\ndef test_first(): pass\ndef test_deadly(): os._exit(7)\n"

    code, text = told(tmp_path, source=source)

    assert 1 == code
    assert "test_deadly: 7" in text
