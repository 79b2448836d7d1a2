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


def test_a_key_that_is_there_twice_is_told_with_all_else(tmp_path: Path) -> None:
    """
    Of the two, one would not count; the problem has both lines.
    """
    text = """\
k8s:
  namespace: a
  namespace: B
log: {level: loud}
images:
  rewrite: {x: y, x: z}
k8s: {namespace: C}
"""
    file = tmp_path / "peitho.yml"

    assert [
        f"{file}: k8s.namespace: is there twice, in line 2 and in line 3",
        f"{file}: images.rewrite.x: is there twice, in line 6 and in line 6",
        f"{file}: k8s: is there twice, in line 1 and in line 7",
        "k8s.namespace",
        "log.level",
    ] == [
        problem if "twice" in problem else problem.partition(":")[0]
        for problem in problems(tmp_path, text)
    ]


def test_a_key_that_is_there_twice_in_a_list_or_a_variable_is_told(tmp_path: Path) -> None:
    """
    By the variable's name.
    """
    name = "PEITHO_IMAGES_REWRITE"
    (twice, *_) = problems(tmp_path, "", **{name: "{x: y, x: z}"})
    (in_list, *_) = problems(tmp_path, "k8s: {dns: [{a: 1, a: 2}]}")

    assert f"{name}: x: is there twice, in line 1 and in line 1" == twice
    assert "k8s.dns.a: is there twice" in in_list


def test_what_yaml_has_for_saying_a_thing_once_is_no_key_twice(tmp_path: Path) -> None:
    """
    Anchors and merges; and what is below a secret is not shown.
    """
    text = """\
images: {rewrite: &all {a/b: c/d}}
build:
  <<: {x: 1}
  <<: {y: 2}
  z: *all
docker: {registry: {password: {hush: 1, hush: 2}}}
"""
    found = problems(tmp_path, text)

    assert not [problem for problem in found if "twice" in problem or "hush" in problem]


@pytest.mark.parametrize("text", [".inf", ".nan", "-.inf"])
def test_a_time_without_an_end_is_told(tmp_path: Path, text: str) -> None:
    """
    Nobody could wait for it.
    """
    (problem,) = problems(tmp_path, f"sweeper: {{interval: {text}}}\n")

    assert problem.startswith("sweeper.interval: Input should be a finite number")
