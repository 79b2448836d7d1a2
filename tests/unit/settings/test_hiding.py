import subprocess
import sys
from pathlib import Path

import pytest

from peitho.settings import hiding
from peitho.settings.loading import SettingKey

FLAG = "--docker.registry.password"
SOURCE = Path(__file__).parents[3] / "src"


def secrets() -> dict[str, SettingKey]:
    """The flag of a password."""
    (leaf,) = (leaf for leaf in hiding.secret_keys() if f"--{leaf.key}" == FLAG)
    return {FLAG: leaf}


@pytest.mark.parametrize("flag", [[f"{FLAG}=a=b"], [FLAG, "a=b"]])
def test_a_secret_flag_becomes_a_variable(flag: list[str]) -> None:
    """
    In both spellings; all else stays as it is.
    """
    kept, variables = hiding.without_secrets(["peitho", *flag, "--log.level", "warn"], secrets())

    assert ["peitho", "--log.level", "warn"] == kept
    assert {"PEITHO_DOCKER_REGISTRY_PASSWORD": "a=b"} == variables


def test_without_a_secret_nothing_is_started_anew() -> None:
    """
    The command line is left alone.
    """
    hiding.start_anew(["peitho", "serve", "--log.level=warn"], secrets())

    assert (["peitho"], {}) == hiding.without_secrets(["peitho"], secrets())


def test_the_process_has_no_secret_in_its_command_line() -> None:
    """
    And its settings have it all the same.
    """
    program = (
        "import os, sys\n"
        "from peitho.settings import hiding\n"
        "from peitho.settings.loading import load\n"
        "secrets = {f'--{leaf.key}': leaf for leaf in hiding.secret_keys()}\n"
        "hiding.start_anew(sys.orig_argv, secrets)\n"
        "print(open('/proc/self/cmdline').read().count('a-' + 'planted'))\n"
        "print(load(None).settings.docker.registry.password.get_secret_value())\n"
    )
    command = [sys.executable, "-c", program, FLAG, "a-planted-one"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )

    assert ["0", "a-planted-one"] == done.stdout.split()
