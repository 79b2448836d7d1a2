from pathlib import Path

import pytest

from peitho.settings import loading
from peitho.settings.loading import SettingsError
from tests.support.settings_files import problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must be a mapping of keys, is a list"),
        ("word", "must be a mapping of keys, is a str"),
    ],
)
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str, message: str) -> None:
    """
    With its path.
    """
    (problem,) = problems(tmp_path, text)

    assert problem.startswith(f"{tmp_path}/peitho.yml: {message}")


@pytest.mark.parametrize("text", ["*hidden", "!hidden x", "[hidden", '"\\qhidden"', "hidden: b"])
def test_what_is_no_yaml_is_told_by_its_place(tmp_path: Path, text: str) -> None:
    """
    What stands there may be a password.
    """
    (problem,) = problems(tmp_path, f"docker:\n  registry: {{password: {text}\n")

    assert "peitho.yml: is not YAML: line " in problem
    assert "hidden" not in problem


@pytest.mark.parametrize(
    "text",
    ["2024-13-45", "!!int hidden", "!!int ''", "!!bool hidden", "!!timestamp hidden", "[" * 600],
)
def test_a_value_that_is_not_what_it_looks_like_is_told(tmp_path: Path, text: str) -> None:
    """
    In the file as in a variable, and without the value.
    """
    found = problems(tmp_path, f"docker: {{registry: {{password: {text}}}}}\n")
    with pytest.raises(SettingsError) as raised:
        loading.load(None, {"PEITHO_BUILDER_USERS": f"{{a: {text}}}"})

    for problem in (*found, *raised.value.problems):
        assert "is not YAML: a value is not what it looks like" in problem
        assert "2024" not in problem
        assert "hidden" not in problem
    assert (1, 1) == (len(found), len(raised.value.problems))
