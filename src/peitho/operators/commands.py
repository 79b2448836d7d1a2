"""The commands themselves; what they need is loaded when they run."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peitho.errors import NotFound, PeithoError
from peitho.operators.saying import say
from peitho.settings import tenants
from peitho.settings.loading import SettingsError, SettingsSource
from peitho.settings.models import DEFAULT_TENANT, Settings

if TYPE_CHECKING:
    from peitho.core.chaincode.seen import Chaincode
    from peitho.operators.chaincode import Cluster
    from peitho.operators.outside import PeithoPod
    from peitho.operators.showing import Column, Row

_OUTPUTS = ("table", "wide", "json", "yaml", "name")
# Nothing of Peitho is critical.
_SILENT = 50
_COMPLETION_SECONDS = 3.0
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_HOME_KUBECONFIG = Path("~/.kube/config")
_RIGHTS = (
    "; an operator needs get, list, watch on secrets, pods and jobs, get on pods/log, list on "
    "events, and delete to remove"
)


@dataclass(frozen=True, slots=True)
class Where:
    """Which Peitho is meant, as the flags say it; `own` are the settings of one of its tenants."""

    settings: Settings
    own: Settings
    tenant: str
    context: str
    pod: "PeithoPod"

    @property
    def words(self) -> list[str]:
        """The flags that a command has to have in Peitho's Pod, too."""
        return ["--tenant", self.tenant] if self.tenant else []

    @asynccontextmanager
    async def cluster(self) -> "AsyncIterator[Cluster]":
        """Its chaincode, in the cluster."""
        from peitho.core import relabelling  # noqa: PLC0415  see the top
        from peitho.operators.chaincode import Cluster  # noqa: PLC0415
        from peitho.program import composition  # noqa: PLC0415

        async with composition.connected(self.own, context=self.context) as kubernetes:
            await relabelling.look(kubernetes, self.own.peitho.instance)
            yield Cluster.of(kubernetes, self.own.peitho.instance)


def _where(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which Peitho is meant, and pass them as a `Where`."""

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, **given: Any) -> None:
        command(_of_flags(context, given), **given)

    for option in reversed(_WHERE):
        run = option(run)
    return run


_WHERE = (
    click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        envvar="PEITHO_CONFIG",
        help="Peitho's YAML file of settings (also PEITHO_CONFIG); needed in its Pod alone.",
    ),
    click.option(
        "-n",
        "--namespace",
        "--k8s.namespace",
        help="Where chaincode runs; of images and builds, where Peitho does.",
    ),
    click.option(
        "--kubeconfig",
        "--k8s.kubeconfig",
        envvar="KUBECONFIG",
        help="The kubeconfig file (also KUBECONFIG); by default ~/.kube/config, in a Pod its own.",
    ),
    click.option("--context", help="A context of the kubeconfig in place of the current one."),
    click.option("--instance", "--peitho.instance", help="Which of several Peithos there."),
    click.option("--tenant", help="One of Peitho's tenants; `default` is what has no other."),
    click.option("--dataDir", "data_dir", help="Peitho's data directory, where it is here."),
    click.option(
        "--peitho",
        default="deployment/peitho",
        show_default=True,
        help="Peitho for `kubectl exec`, in the namespace of -n unless NAMESPACE/ is before it.",
    ),
)


def _completed(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the names of chaincode that begin so, for a shell; none if they come late."""

    async def names(where: Where) -> list[str]:
        async with asyncio.timeout(_COMPLETION_SECONDS), where.cluster() as cluster:
            return [each.name for each in await cluster.chaincode()]

    given = {option: context.params.get(option) for option in _WHERE_NAMES}
    try:
        with redirect_stderr(io.StringIO()):
            found = asyncio.run(names(_of_flags(context, given)))
    except (PeithoError, TimeoutError, SystemExit):  # a shell shows no errors
        return []
    return [name for name in found if name.startswith(begun)]


_WHERE_NAMES = (
    "config",
    "namespace",
    "kubeconfig",
    "context",
    "instance",
    "tenant",
    "data_dir",
    "peitho",
)
_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(_OUTPUTS),
    default="table",
    show_default=True,
    help="For people a table, for programs JSON or YAML.",
)
_WATCH = click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes.")


@click.command()
@_OUTPUT
@_WATCH
@_where
def ps(where: Where, /, *, output: str, watch: bool, **_: Any) -> None:
    """List chaincode: what runs, what ended and why, what does not start."""
    from peitho.operators import chaincode  # noqa: PLC0415  see the top

    async def look(cluster: "Cluster") -> "Sequence[Row]":
        return [each.row() for each in await cluster.chaincode()]

    shown = _Shown(chaincode.COLUMNS, output, "no chaincode here", is_watched=watch)
    _run(_show_cluster(where, look, shown))


@click.command()
@click.argument("name", required=False, shell_complete=_completed)
@_OUTPUT
@_WATCH
@_where
def events(where: Where, /, *, name: str | None, output: str, watch: bool, **_: Any) -> None:
    """Tell what the cluster did with chaincode and builds, or with one chaincode, NAME."""
    from peitho.operators import chaincode  # noqa: PLC0415  see the top

    async def look(cluster: "Cluster") -> "Sequence[Row]":
        return await cluster.events(await cluster.find(name) if name else None)

    shown = _Shown(chaincode.EVENT_COLUMNS, output, "no events here", is_watched=watch)
    _run(_show_cluster(where, look, shown))


@click.command()
@_OUTPUT
@_WATCH
@_where
def images(where: Where, /, *, output: str, watch: bool, **_: Any) -> None:
    """List the chaincode images of Peitho's data directory, the latest used first."""
    from peitho.operators import inside  # noqa: PLC0415  see the top

    async def look() -> "Sequence[Row]":
        if inside.is_here(where.settings):
            return await asyncio.to_thread(inside.images, where.settings, where.tenant)
        return await where.pod.rows("images", *where.words)

    shown = _Shown(inside.IMAGE_COLUMNS, output, "no images here", is_watched=watch)
    _run(_show(look, shown))


@click.command()
@_OUTPUT
@_WATCH
@_where
def builds(where: Where, /, *, output: str, watch: bool, **_: Any) -> None:
    """List builds: what waits, what runs and what it said last, what is kept."""
    from peitho.operators import inside  # noqa: PLC0415  see the top

    async def look() -> "Sequence[Row]":
        if inside.is_here(where.settings):
            return await inside.builds(where.settings, where.tenant)
        return await where.pod.rows("builds", *where.words)

    shown = _Shown(inside.BUILD_COLUMNS, output, "no builds here", is_watched=watch)
    _run(_show(look, shown))


@click.command()
@click.argument("image")
@_where
def provenance(where: Where, /, *, image: str, **_: Any) -> None:
    """
    Print where IMAGE comes from, as an in-toto statement (SLSA 1.0).

    IMAGE is a chaincode image's name or ID, as `images` and `ps -o wide` have them. With a registry
    it is read beside the image there.
    """
    from peitho.operators import inside, proving  # noqa: PLC0415  see the top

    if inside.is_here(where.settings) or where.settings.peitho.image_mode == "registry":
        _run(_print(proving.provenance(where.settings, image, where.tenant)))
    else:
        _run(_print(where.pod.output("provenance", *where.words, "--", image)))


@click.command()
@click.argument("name", shell_complete=_completed)
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("--tail", type=click.IntRange(min=0), help="Only so many lines from the end.")
@click.option("-t", "--timestamps", is_flag=True, help="With the time of each line.")
@_where
def logs(
    where: Where, /, *, name: str, follow: bool, tail: int | None, timestamps: bool, **_: Any
) -> None:
    """
    Print what chaincode said, or a build.

    NAME is a name or a part of it, or an ID or its beginning, as `ps` and `builds` have them.
    Of chaincode whose Pod is gone, the last lines are kept.
    """
    _run(_log(where, name, follow=follow, tail=tail, timestamps=timestamps))


@click.command()
@click.argument("names", nargs=-1, required=True, shell_complete=_completed)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_where
def rm(where: Where, /, *, names: tuple[str, ...], yes: bool, **_: Any) -> None:
    """
    End chaincode and remove it, with all that belongs to it.

    NAMES are as for `logs`. Its image stays: the next call of its peer launches it again.
    """
    _run(_remove(where, names, is_sure=yes))


COMMANDS: tuple[click.Command, ...] = (ps, logs, images, builds, events, provenance, rm)


def _of_flags(context: click.Context, given: dict[str, Any]) -> Where:
    """Take the flags of `_WHERE` out of those given."""
    from peitho.operators.outside import PeithoPod  # noqa: PLC0415  see the top

    config, namespace, kubeconfig = (
        given.pop(name) for name in ("config", "namespace", "kubeconfig")
    )
    cluster, instance = given.pop("context") or "", given.pop("instance")
    data_dir, peitho, tenant = given.pop("data_dir"), given.pop("peitho") or "", given.pop("tenant")
    is_variable = (
        context.get_parameter_source("kubeconfig") is click.core.ParameterSource.ENVIRONMENT
    )
    flags = {
        "k8s.namespace": namespace,
        "k8s.kubeconfig": None if is_variable else kubeconfig,
        "peitho.instance": instance,
        "dataDir": data_dir,
    }
    settings = _settings(config, flags)
    if settings.kubernetes.kubeconfig is None and (found := _kubeconfig(kubeconfig)):
        settings = _settings(config, flags | {"k8s.kubeconfig": str(found)})
    own, _, named = peitho.rpartition("/") if peitho.count("/") > 1 else ("", "", peitho)
    pod = PeithoPod(
        kubeconfig="" if is_variable else kubeconfig or "",
        context=cluster,
        namespace=own.partition("/")[0] or namespace or "",
        where=peitho.partition("/")[2] if own else named,
    )
    tenant = tenant or ""
    return Where(settings, _own(settings, tenant, namespace), tenant, cluster, pod)


def _own(settings: Settings, tenant: str, namespace: str | None) -> Settings:
    """Return the settings of a tenant; on a laptop, where they name none, any may be meant."""
    known = settings.access.tenants
    if known and tenant and tenant not in tenants.names(settings):
        named = ", ".join(tenants.names(settings))
        say(f"No tenant {tenant} in the settings: there are {named}", err=True)
        sys.exit(2)
    own = tenants.settings_of(settings, tenant=tenant or DEFAULT_TENANT)
    instance = tenants.instance_of(settings.peitho.instance, tenant or DEFAULT_TENANT)
    cluster = own.kubernetes
    return own.model_copy(
        update={
            "peitho": own.peitho.model_copy(update={"instance": instance}),
            "kubernetes": cluster.model_copy(update={"namespace": namespace or cluster.namespace}),
        }
    )


def _kubeconfig(named: str | None) -> Path | None:
    """KUBECONFIG's first file that is there, else the one at home; None for a Pod's account."""
    paths = [Path(each).expanduser() for each in (named or "").split(":") if each]
    if found := next((path for path in paths if path.exists()), None):
        return found
    if paths:
        return paths[0]  # its absence is told
    home = _HOME_KUBECONFIG.expanduser()
    return home if home.exists() and not _SERVICE_ACCOUNT.exists() else None


def _settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    try:
        return SettingsSource(config, flags).load().settings
    except SettingsError as error:
        for problem in error.problems:
            say(problem, err=True)
        sys.exit(2)


def _run(work: Coroutine[Any, Any, int | None]) -> None:
    """Run a command to its end; an error is told with what may be done about it."""
    import structlog  # noqa: PLC0415  see the top

    # What the parts say to a log is for Peitho's own: people read answers and errors here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    try:
        code = asyncio.run(work)
    except PeithoError as error:
        hint = _RIGHTS if " is forbidden: " in str(error) else ""
        say(f"{error}{hint}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        structlog.reset_defaults()
    sys.exit(code or 0)


@dataclass(frozen=True, slots=True)
class _Shown:
    """How rows are shown; `none` is what people read where there are none."""

    columns: "Sequence[Column]"
    output: str
    none: str
    is_watched: bool


async def _show_cluster(
    where: Where, look: "Callable[[Cluster], Awaitable[Sequence[Row]]]", shown: _Shown
) -> None:
    async with where.cluster() as cluster:

        async def rows() -> "Sequence[Row]":
            return await look(cluster)

        await _show(rows, shown)


async def _show(look: "Callable[[], Awaitable[Sequence[Row]]]", shown: _Shown) -> None:
    from peitho.operators import showing, watching  # noqa: PLC0415  see the top

    async def text() -> str:
        rows = await look()
        return showing.rendered(rows, shown.columns, shown.output, none=shown.none)

    if not shown.is_watched:
        click.echo(await text(), nl=False)
        return
    async with aclosing(watching.changes(text)) as changes:
        async for each in changes:
            watching.redraw(each, is_document=shown.output in ("json", "yaml"))


async def _log(
    where: Where, name: str, *, follow: bool, tail: int | None, timestamps: bool
) -> None:
    from peitho.core.container import OutputOptions  # noqa: PLC0415  see the top
    from peitho.operators import inside, reading  # noqa: PLC0415

    async with where.cluster() as cluster:
        try:
            found = await cluster.find(name)
        except NotFound:
            if not inside.could_be_build(name):
                raise
        else:
            options = OutputOptions(follow=follow, tail_lines=tail, timestamps=timestamps)
            async with cluster.followed() if follow else nullcontext():
                await _print(reading.log(cluster, found, options))
            return
    if inside.is_here(where.settings):
        await _print(inside.build_log(where.settings, name, follow=follow))
    else:
        words = ["logs", *(["--follow"] if follow else []), "--", name]
        await _print(where.pod.output(*words))


async def _print(chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        click.echo(chunk, nl=False)


async def _remove(where: Where, names: Sequence[str], *, is_sure: bool) -> int:
    from peitho.operators import removing  # noqa: PLC0415  see the top

    async with where.cluster() as cluster:
        found = [await cluster.find(name) for name in names]
        chosen = list({each.id: each for each in found}.values())
        if not is_sure and not _confirmed(chosen, cluster.kubernetes.namespace):
            click.echo("nothing was removed", err=True)
            return 1
        outcomes = await removing.remove(cluster, chosen, where.settings.audit, tenant=where.tenant)
    for name, failure in outcomes:
        told = f"{name}: not removed: {failure}" if failure else f"{name}: removed"
        say(told, err=bool(failure))
    return 1 if any(failure for _, failure in outcomes) else 0


def _confirmed(chosen: "Sequence[Chaincode]", namespace: str) -> bool:
    from peitho.formats.readable import plain  # noqa: PLC0415  see the top

    for each in chosen:
        click.echo(f"{plain(each.name)} ({each.phase})", err=True)
    try:
        return click.confirm(f"Remove this from namespace {namespace}?", err=True)
    except click.Abort:  # nobody is there to say it
        click.echo("\nsay --yes where nobody can answer", err=True)
        return False
