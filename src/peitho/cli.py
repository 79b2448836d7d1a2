"""The command line: serve, config, sweep, version."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from peitho import __version__, settings
from peitho.errors import PeithoError, Unavailable
from peitho.settings import Settings, SettingsError

_CONFIG = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    envvar="PEITHO_CONFIG",
    help="The YAML file of settings (also PEITHO_CONFIG).",
)
_FLAGS = (
    ("--k8s.namespace", "Namespace for builds and chaincode."),
    ("--k8s.kubeconfig", "Kubeconfig file; without it, the Pod's service account."),
    ("--peitho.imageMode", "How nodes get chaincode images: delivery."),
    ("--peitho.pullerAccessAddress", "HOST:PORT of the delivery listener, as Pods reach it."),
    ("--peitho.pullerImage", "Peitho's own image."),
    ("--dataDir", "Where images are kept; belongs on a PersistentVolume."),
    ("--log.level", "debug, info, warn or error."),
)


def _flags(command: Any) -> Any:
    for flag, text in reversed(_FLAGS):
        command = click.option(flag, flag.removeprefix("--").replace(".", "__"), help=text)(command)
    return _CONFIG(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """
    Run Hyperledger Fabric chaincode on Kubernetes, for peers that speak to a Docker daemon.

    Peitho answers the Docker Engine API calls of the peers: a build runs in a Pod, chaincode as
    a Job.

    On a peer, one variable changes: CORE_VM_ENDPOINT=tcp://peitho:8080

    \b
    Settings come from a YAML file (-c), then PEITHO_... variables, then flags:
      peitho config -c peitho.yml        shows what is in effect, secrets masked
      peitho serve -c peitho.yml         runs
    """  # noqa: D301  \b is click's


@main.command()
@_flags
def serve(config: Path | None, **flags: str | None) -> None:
    """Answer peers until SIGTERM."""
    effective = _load(config, flags)
    if effective.peitho.image_mode == "registry":
        click.echo("peitho.imageMode: registry is not possible yet; delivery is", err=True)
        sys.exit(2)
    from peitho import app, logs  # noqa: PLC0415  `peitho version` need not load them

    logs.configure(effective.log)
    try:
        asyncio.run(app.serve(effective))
    except Unavailable as error:
        click.echo(str(error), err=True)
        sys.exit(2)


@main.command("config")
@_flags
def show_config(config: Path | None, **flags: str | None) -> None:
    """Print the effective settings as YAML; exit status 2 if any is wrong."""
    effective = _load(config, flags).model_dump(mode="json", by_alias=True)
    click.echo(yaml.safe_dump(effective, sort_keys=False), nl=False)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only print what would go, and why.")
@_flags
def sweep(config: Path | None, *, dry_run: bool, **flags: str | None) -> None:
    """
    Remove once what is over, and print it with the reason.

    A running Peitho sweeps by itself. This leaves chaincode that runs alone, whoever its peer is:
    whether a peer stays away shows only in time.
    """
    effective = _load(config, flags)
    from peitho import app, logs  # noqa: PLC0415  see serve

    logs.configure(effective.log)
    try:
        found = asyncio.run(app.sweep(effective, dry_run=dry_run))
    except PeithoError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    for each in found:
        click.echo(f"{each.kind} {each.name}: {each.why}")
    click.echo(f"{len(found)} {'would go' if dry_run else 'removed'}")


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"peitho {__version__}")


def _load(config: Path | None, flags: dict[str, str | None]) -> Settings:
    try:
        return settings.load(config, flags=_dotted(flags))
    except SettingsError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(2)


def _dotted(flags: dict[str, str | None]) -> dict[str, str | None]:
    """Click gives `k8s__namespace`, in lower case; the file's key is `k8s.namespace`."""
    keys = {flag.removeprefix("--").replace(".", "__").lower(): flag[2:] for flag, _ in _FLAGS}
    return {keys[name.lower()]: value for name, value in flags.items()}
