import subprocess

from peitho.formats.docker import go_packages


def test_its_command_is_a_script_for_any_shell() -> None:
    """
    What it does is tried in a builder image (tests/journeys/test_compiled.py).
    """
    shell, option, script = go_packages.spec("ccenv").command

    assert ("/bin/sh", "-c") == (shell, option)
    subprocess.run(["/bin/sh", "-n", "-c", script], check=True, timeout=20)


def test_go_takes_no_orders_from_the_source() -> None:
    """
    Neither a toolchain, nor a workspace, nor settings, nor downloads, nor version control.
    """
    script = go_packages.spec("ccenv").command[2]

    for order in ("GOTOOLCHAIN=local", "GOWORK=off", "GOENV=off", "GOPROXY=off", "GOVCS='*:off'"):
        assert f" {order}" in script
    assert "GODEBUG=goindex=0" in script
    assert "-buildvcs=false" in script


def test_nothing_of_a_peer_is_in_it() -> None:
    """
    But the builder image.
    """
    spec = go_packages.spec("ccenv")

    assert ("ccenv", (), ()) == (spec.image, spec.entrypoint, spec.env)
    assert spec.command == go_packages.spec("other").command
