import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/peitho"
ALL_TESTS = ROOT / "tests"
TESTS = ALL_TESTS / "unit"
# What every test may import; everything else is for the files of its own folder.
SHARED = ("tests.support", "tests.lab")

TESTED_ELSEWHERE = {
    "__main__.py": "one call of the command line",
    "program/options.py": "each key of the settings, by test_composition.py",
    "metrics.py": "names alone; what is counted is read in api/test_health.py",
    "api/services.py": "a record of parts, which every test of api goes through",
    "core/images/delivery.py": "with the publisher, by test_publisher.py",
    "core/container.py": "records, and a protocol that has no code",
}

MODULES = sorted(
    str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"
)


@cache
def statements(path: Path) -> tuple[ast.stmt, ...]:
    """What a file and its classes consist of."""
    found = ast.parse(path.read_text()).body
    classes = [each for each in found if isinstance(each, ast.ClassDef)]
    return (*found, *(inner for each in classes for inner in each.body))


def imported(path: Path) -> Iterator[str]:
    """The modules of tests that a file imports, and the names from them."""
    for node in statements(path):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.startswith("tests."))


def test_each_module_has_its_tests() -> None:
    """
    In the file of its name, in the folder of its name.
    """
    for module in MODULES:
        if module in TESTED_ELSEWHERE:
            continue
        path = TESTS / Path(module).parent / f"test_{Path(module).name}"
        assert path.is_file(), path
        assert "def test_" in path.read_text(), path


def test_what_is_tested_elsewhere_is_there() -> None:
    """
    The list of exceptions names no module that is gone, or that has its tests by now.
    """
    for module in TESTED_ELSEWHERE:
        assert module in MODULES
        assert not (TESTS / Path(module).parent / f"test_{Path(module).name}").exists()


def test_each_test_says_in_a_sentence_what_it_is_about() -> None:
    """
    On a line of its own, with a full stop behind it.
    """
    for path in TESTS.rglob("test_*.py"):
        for node in statements(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_test(node):
                said = ast.get_docstring(node, clean=False) or ""
                assert said.startswith("\n"), (path, node.name)
                assert said.rstrip().endswith("."), (path, node.name)


def _is_test(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.name.startswith("test_")


def test_what_tests_share_is_in_support_or_lab() -> None:
    """
    Nothing is imported from a test module, nor from another folder of tests.
    """
    for path in ALL_TESTS.rglob("*.py"):
        own = ".".join(["tests", *path.relative_to(ALL_TESTS).parts[:1]])
        for name in imported(path):
            assert not any(part.startswith("test_") for part in name.split(".")), (path, name)
            assert name.startswith((own, *SHARED)), (path, name)


def test_each_shared_part_says_in_a_sentence_what_it_is() -> None:
    """
    At its beginning.
    """
    for path in (ALL_TESTS / "support").glob("*.py"):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert said.partition("\n\n")[0].endswith("."), path
