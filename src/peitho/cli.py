"""The command line: what serves, looks and sweeps, and what operators and rehearsals need."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from peitho import __version__
from peitho.errors import PeithoError
from peitho.operators import commands
from peitho.operators.saying import say
from peitho.settings.loading import LoadedSettings, SettingsError, SettingsSource
from peitho.settings.models import Settings

_HELP = ("-h", "--help")
_CONFIG = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    envvar="PEITHO_CONFIG",
    help="The YAML file of settings (also PEITHO_CONFIG).",
)


@dataclass(frozen=True, slots=True)
class Flag:
    """
    A setting that has a flag, named by its key; the Go project left `peitho.` out.

    A switch may stand alone, a list is repeated or has commas.
    """

    key: str
    help: str
    kind: str = "text"

    @property
    def names(self) -> tuple[str, ...]:
        """All spellings, the key's first."""
        return tuple(dict.fromkeys((f"--{self.key}", f"--{self.key.removeprefix('peitho.')}")))

    @property
    def parameter(self) -> str:
        """The argument that click gives the value in."""
        return self.key.replace(".", "__").replace("-", "_").lower()

    def option(self) -> Any:
        """The flag as click has it."""
        more: dict[str, Any] = {}
        if self.kind == "switch":
            more = {"is_flag": False, "flag_value": "true", "metavar": "[BOOLEAN]"}
        if self.kind == "list":
            more = {"multiple": True}
        return click.option(*self.names, self.parameter, help=self.help, **more)

    def value(self, given: Any) -> Any:
        """What the setting is, or None where the flag is not there."""
        if self.kind == "list":
            return ",".join(given) if given else None
        return given


FLAGS = (
    Flag("k8s.namespace", "Namespace for builds and chaincode."),
    Flag("k8s.kubeconfig", "Kubeconfig file; without it, the Pod's service account."),
    Flag("k8s.dns", "IP:HOST for the hosts file of chaincode.", "list"),
    Flag("peitho.imageMode", "How nodes get chaincode images: delivery or registry."),
    Flag("peitho.pullerAccessAddress", "HOST:PORT of the delivery listener, as Pods reach it."),
    Flag("peitho.pullerImage", "Peitho's own image."),
    Flag("dataDir", "Where images are kept; belongs on a PersistentVolume."),
    Flag("docker.endpoint", "The Docker daemon that builds run in; without it, Pods."),
    Flag("docker.registry.server-address", "HOST:PORT of the registry."),
    Flag("docker.registry.project", "The project that images are pushed to."),
    Flag("docker.registry.email", "Address of the registry's account."),
    Flag("docker.registry.username", "The registry's account."),
    Flag("docker.registry.password", "Its password; a variable or a file is better."),
    Flag("sweeper.enable", "Whether chaincode of peers that are gone is removed.", "switch"),
    Flag("sweeper.interval", "Seconds between two looks."),
    Flag("log.name", "Shown as logger in each line."),
    Flag("log.level", "debug, info, warn or error."),
    Flag("log.format", "auto, console or json."),
    Flag("log.enable-color", "Colors on a terminal.", "switch"),
    Flag("log.development", "No meaning; the Go project's.", "switch"),
    Flag("log.disable-caller", "No meaning; the Go project's.", "switch"),
    Flag("log.disable-stacktrace", "No meaning; the Go project's.", "switch"),
    Flag("log.output-paths", "No meaning; the Go project's.", "list"),
    Flag("log.error-output-paths", "No meaning; the Go project's.", "list"),
)


def _flags(command: Any) -> Any:
    for flag in reversed(FLAGS):
        command = flag.option()(command)
    return _CONFIG(command)


class _Commands(click.Group):
    """Flags without a command mean `serve`, as the Go project has it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in (*_HELP, "--version"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": _HELP})
@click.version_option(__version__, prog_name="peitho", message="%(prog)s %(version)s")
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
def serve(config: Path | None, **flags: Any) -> None:
    """Answer peers until SIGTERM; SIGHUP reads the settings anew, as their change does."""
    _hide_secrets()
    source = _source(config, flags)
    loaded = _load(source)
    from peitho import logs  # noqa: PLC0415  `peitho version` need not load them
    from peitho.program import app  # noqa: PLC0415
    from peitho.program.loop import new_event_loop  # noqa: PLC0415

    logs.configure(loaded.settings.log)
    logs.warn_of_settings(loaded.notes)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(app.serve(source, loaded))
    except PeithoError as error:  # before anything was started; later ones come in groups
        say(str(error), err=True)
        sys.exit(2)


@main.command("config")
@_flags
def show_config(config: Path | None, **flags: Any) -> None:
    """Print the effective settings and where each is from; exit status 2 if any is wrong."""
    loaded = _load(_source(config, flags))
    click.echo(loaded.render(), nl=False)
    if loaded.notes:
        notes = "; ".join(f"{key} {note}" for key, note in loaded.notes.items())
        say(f"warning: {notes}", err=True)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only say what there is.")
@click.option("--yes", is_flag=True, help="End it; the next call of a peer launches it here.")
@_flags
def adopt(config: Path | None, *, dry_run: bool, yes: bool, **flags: Any) -> None:
    """Take chaincode over that the Go Peitho runs, from Deployments of its own."""
    if dry_run == yes:
        raise click.UsageError("say either --dry-run or --yes")
    try:
        asyncio.run(_adopt(_load(_source(config, flags)).settings, dry_run=dry_run))
    except PeithoError as error:
        say(str(error), err=True)
        sys.exit(2)


async def _adopt(effective: Settings, *, dry_run: bool) -> None:
    from peitho.program import app  # noqa: PLC0415  see serve

    count = failed = 0
    async for chaincode, failure in app.adopt(effective, dry_run=dry_run):
        count += 1
        failed += bool(failure)
        done = f"is not scaled to 0: {failure}" if failure else "is scaled to 0"
        say(f"{chaincode}: {'would be scaled to 0' if dry_run else done}", err=bool(failure))
    click.echo(f"{count} found" if count else "no chaincode of the Go Peitho here")
    if failed:
        sys.exit(1)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only print what would go, and why.")
@_flags
def sweep(config: Path | None, *, dry_run: bool, **flags: Any) -> None:
    """
    Remove once what is over, and print it with the reason; exit status 1 if something stays.

    A running Peitho sweeps by itself. This leaves chaincode that runs alone, whoever its peer is:
    whether a peer stays away shows only in time.
    """
    effective = _load(_source(config, flags)).settings
    from peitho import logs  # noqa: PLC0415  see serve
    from peitho.program import app  # noqa: PLC0415

    logs.configure(effective.log)
    try:
        removals = asyncio.run(app.sweep(effective, dry_run=dry_run))
    except PeithoError as error:
        say(str(error), err=True)
        sys.exit(2)
    for removal in removals:
        still = f"; not removed: {removal.failure}" if removal.failure else ""
        whose = f"tenant {removal.tenant}: " if removal.tenant else ""
        say(f"{whose}{removal.kind} {removal.name}: {removal.why}{still}", err=bool(still))
    failed = sum(bool(removal.failure) for removal in removals)
    click.echo(f"{len(removals) - failed} {'would go' if dry_run else 'removed'}")
    if failed:
        sys.exit(1)


@main.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--without-pods",
    "extent",
    flag_value="without Pods",
    help="Make no Pods; those take longest.",
)
@click.option(
    "--before-start",
    "extent",
    flag_value="before a start",
    help="As an init container: no Pods, no peers, which may wait for Peitho, and no account of "
    "a pull Secret is tried.",
)
@click.option("--builder-image", multiple=True, help="Tried in a Pod; Fabric's ccenv without it.")
@click.option("--runtime-image", multiple=True, help="The same; Fabric's baseos without it.")
@_flags
def check(
    config: Path | None,
    *,
    output: str,
    extent: str | None,
    builder_image: tuple[str, ...],
    runtime_image: tuple[str, ...],
    **flags: Any,
) -> None:
    """
    Look at a set-up before a peer does, and say what is wrong and what to do about it.

    It asks the cluster, the registry and the daemon that the settings name, and logs in with the
    accounts of pull Secrets at their registries, unless it is before a start; nothing that it
    changes stays. It may run beside a Peitho that serves. Exit status 1 if anything is wrong;
    warnings are for people.
    """
    effective = _load(_source(config, flags)).settings
    from peitho import logs  # noqa: PLC0415  see serve
    from peitho.program.checks import report  # noqa: PLC0415
    from peitho.program.checks.all import PodChecks  # noqa: PLC0415

    logs.configure(effective.log.model_copy(update={"level": "error"}))
    usual = PodChecks()
    asked = PodChecks(builder_image or usual.builders, runtime_image or usual.runtimes)
    told = report.told(
        effective,
        output=output,
        tell=click.echo,
        asked=None if extent else asked,
        with_peers=extent != "before a start",
    )
    sys.exit(asyncio.run(told))


@main.command("check-store")
@_flags
def check_store(config: Path | None, **flags: Any) -> None:
    """
    Read all that Peitho keeps, and print what is damaged; exit status 1 if anything is.

    All tenants' is read. It changes nothing, and may run beside a Peitho that serves. What is
    damaged is set aside and made anew by the next build, without a command.
    """
    effective = _load(_source(config, flags)).settings
    from peitho.clients.disk.check import checks  # noqa: PLC0415  see serve

    problems = 0
    for check in checks(effective.data_dir):
        try:
            for problem in check.run():
                say(f"{problem.path}: {problem.cause}")
        except PeithoError as error:
            say(str(error), err=True)
            sys.exit(2)
        click.echo(check.summary())
        problems += check.problems
    sys.exit(1 if problems else 0)


@main.command()
@click.argument("image")
@click.option("--label", required=True, help="The package's label, as the peer shows it.")
@click.option(
    "--type",
    "language",
    type=click.Choice(("golang", "node", "java")),
    default="golang",
    show_default=True,
    help="The type that the package says; what it is for is the image's.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; LABEL.tar.gz, if it is not given.",
)
def package(image: str, label: str, language: str, output: Path | None) -> None:
    """
    Write the package of IMAGE, which is NAME@sha256:DIGEST: chaincode that CI has built.

    Any peer installs it, and Peitho runs the image as it is. The same is written for the same.
    """
    from peitho.formats.images import prebuilt  # noqa: PLC0415  see serve

    path = output or Path(f"{label}.tar.gz")
    try:
        path.write_bytes(prebuilt.package(image, label=label, language=language))
    except PeithoError as error:
        say(str(error), err=True)
        sys.exit(2)
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}", err=True)
        sys.exit(2)
    click.echo(path)


@main.group("audit")
def audit_group() -> None:
    """Look at the audit trail."""


@audit_group.command()
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
def verify(files: tuple[BinaryIO, ...]) -> None:
    """
    Say whether FILES, the oldest first, are as they were written; exit status 1 if not.

    `-` is the standard input, where lines of the log may be between. What was cut off at the end
    does not show: compare the last digest with one that was kept elsewhere.
    """
    from peitho.formats.audit_chain import Verification  # noqa: PLC0415  see serve

    verification, problems = Verification(), 0
    for file in files:
        for problem in verification.problems(file):
            problems += 1
            say(f"{file.name}: {problem}")
    click.echo(verification.summary())
    sys.exit(1 if problems or not verification.lines else 0)


@main.command()
@click.argument("endpoint", metavar="tcp://HOST:PORT")
@click.option(
    "--generation",
    type=click.Choice(["1.4", "2.5", "3.1", "all"]),
    default="all",
    show_default=True,
    help="Whose client is played.",
)
@click.option("--peer-address", metavar="HOST:PORT", help="Where chaincode reaches this machine.")
@click.option("--listen", metavar="HOST:PORT", default="", help="Where to listen for it.")
@click.option("--network-id", default="rehearsal", show_default=True)
@click.option("--peer-id", default="rehearsal", show_default=True)
@click.option("--msp-id", default="RehearsalMSP", show_default=True)
@click.option("--builder", default="", help="The builder image, in place of the generation's.")
@click.option("--runtime", default="", help="The runtime image, in place of the generation's.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="Speak TLS, and trust this CA.")
@click.option("--cert-file", type=click.Path(path_type=Path), help="Show this certificate.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Its key.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def rehearse(endpoint: str, **options: Any) -> None:
    """
    Act as a peer against a running Peitho; exit status 1 if a step fails.

    A tiny Go chaincode is compiled, launched, called, crashed, called again and removed. Each step
    is timed against what a peer allows. Chaincode has to reach this machine, so run it in a Pod
    beside the peers.
    """
    from peitho.rehearsal import command  # noqa: PLC0415  see serve

    try:
        is_right = asyncio.run(command.rehearse(endpoint, options, say))
    except PeithoError as error:
        say(str(error), err=True)
        sys.exit(2)
    sys.exit(0 if is_right else 1)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"peitho {__version__}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """
    Print what has SHELL complete commands and flags.

    \b
      source <(peitho completion bash)
      peitho completion fish > ~/.config/fish/completions/peitho.fish
    """  # noqa: D301  \b is click's
    from click.shell_completion import get_completion_class  # noqa: PLC0415  see serve

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(main, {}, "peitho", "_PEITHO_COMPLETE").source())


@click.group(context_settings={"help_option_names": _HELP})
@click.version_option(__version__, prog_name="kubectl-peitho", message="%(prog)s %(version)s")
def kubectl_plugin() -> None:
    """
    Look after chaincode of Hyperledger Fabric that Peitho runs: `kubectl peitho ps -n NAMESPACE`.

    What only Peitho knows, its images and builds, is asked in its Pod, with your right to exec.
    """


for _command in commands.COMMANDS:
    main.add_command(_command)
    kubectl_plugin.add_command(_command)


def _hide_secrets() -> None:
    """Start anew without the secrets among the flags, where others would see them for long."""
    from peitho.settings import hiding  # noqa: PLC0415  see serve

    variables = {flag.key: flag.names for flag in FLAGS}
    secrets = {name: leaf for leaf in hiding.secret_keys() for name in variables.get(leaf.key, ())}
    hiding.start_anew(sys.orig_argv, secrets)


def _source(config: Path | None, flags: Mapping[str, Any]) -> SettingsSource:
    return SettingsSource(config, {flag.key: flag.value(flags[flag.parameter]) for flag in FLAGS})


def _load(source: SettingsSource) -> LoadedSettings:
    try:
        return source.load()
    except SettingsError as error:
        for problem in error.problems:
            say(problem, err=True)
        sys.exit(2)
