"""A Peitho's parts before a double of the API server, while their settings file changes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing
from structlog.typing import EventDict

from peitho.clients.registry.transport import RegistryCredentials
from peitho.core.tasks import BackgroundTasks
from peitho.program import composition, reloading
from peitho.program.composition import Composition, Shared
from peitho.program.reloading import Reloading
from peitho.settings.loading import LoadedSettings, SettingsSource
from tests.support.kubernetes_double import ApiServer, always, refusal, watch
from tests.support.measured import sample
from tests.support.observe import until

GOOD = "chaincode: {template: {metadata: {labels: {team: a}}}}\n"
OTHER = "chaincode: {template: {metadata: {labels: {team: b}}}}\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 0.02)


class Scene:
    """What is changed, what is told of it, and who follows."""

    def __init__(
        self, file: Path, cluster: ApiServer, parts: Composition, told: list[EventDict]
    ) -> None:
        self.file, self.cluster, self.parts, self.told = file, cluster, parts, told

    async def told_of(self, change: Callable[[], object]) -> EventDict:
        """What is told first after a change."""
        self.told.clear()
        change()
        await until(lambda: bool(self.told))
        return self.told[0]

    async def becomes(self, text: str) -> EventDict:
        """What is told once the file has another content."""
        return await self.told_of(lambda: self.file.write_text(text))

    async def tells(self, *events: str) -> None:
        """Return once these were told, since the last change."""
        await until(lambda: [*events] == [each["event"] for each in self.told])

    async def later(self) -> list[str]:
        """The events of a while in which nothing is changed."""
        self.told.clear()
        await asyncio.sleep(0.2)
        return [each["event"] for each in self.told]

    @property
    def team(self) -> object:
        """What the template in force has."""
        metadata = self.parts.chaincodes.parts.pods.now.template.get("metadata")
        return metadata["labels"]["team"] if isinstance(metadata, dict) else None


@asynccontextmanager
async def scene(
    tmp_path: Path,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    *,
    kind: type[SettingsSource] = SettingsSource,
) -> AsyncIterator[tuple[Scene, Reloading]]:
    """A Peitho that looks at its settings file."""
    file = tmp_path / "peitho.yml"
    file.write_text(text)
    source = kind(file, {"dataDir": str(tmp_path / "data")}, environment or {})
    loaded = source.load()
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        tasks = BackgroundTasks(group)
        composition.make_data_directory(loaded.settings)
        composition.clear_data_directory(loaded.settings)
        parts = composition.compose(Shared.of(loaded.settings, kubernetes), tasks)
        looks = Reloading(source, loaded)
        with structlog.testing.capture_logs() as told:
            tasks.run(looks.run(parts.shared), name="settings")
            yield Scene(file, cluster, parts, told), looks
        tasks.cancel()


def refused() -> float:
    """The gauge."""
    return sample("peitho_settings_refused")


async def test_a_changed_file_is_followed(tmp_path: Path) -> None:
    """
    With what has changed, without its values, and once.
    """
    async with scene(tmp_path, GOOD) as (it, _):
        told = await it.becomes(f"{OTHER}docker: {{registry: {{password: hidden}}}}\n")

        assert ("settings followed", "info") == (told["event"], told["log_level"])
        assert ("docker.registry.password", "chaincode.template") == told["changed"]
        assert "hidden" not in str(told)
        assert "b" == it.team
        assert [] == await it.later()


async def test_a_link_that_is_turned_is_a_change(tmp_path: Path) -> None:
    """
    As the kubelet turns that of a ConfigMap; a file that is only written again is none.
    """
    for name, text in (("one", GOOD), ("two", OTHER)):
        (tmp_path / name).write_text(text)
    async with scene(tmp_path, GOOD) as (it, _):
        it.file.unlink()
        it.file.symlink_to(tmp_path / "one")
        assert [] == await it.later()

        def turn() -> None:
            (tmp_path / "new").symlink_to(tmp_path / "two")
            (tmp_path / "new").rename(it.file)

        assert "settings followed" == (await it.told_of(turn))["event"]
        assert "b" == it.team


async def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """
    What is there of it meanwhile may be good by itself, and is not meant.
    """
    async with scene(tmp_path, GOOD) as (it, looks):
        for number in range(20):
            it.file.write_text(f"# {number}\n")
            await looks.look(it.parts.shared)
        it.file.write_text(OTHER)
        assert [] == it.told

        await it.tells("settings followed")
        assert "b" == it.team


async def test_a_wrong_file_is_refused_as_a_whole(tmp_path: Path) -> None:
    """
    With every problem in one event; what was in force stays, and a good file is followed again.
    """
    wrong = f"{OTHER}sweeper: {{intervall: 5}}\nlimits: {{archiveBytes: -1}}\n"
    async with scene(tmp_path, GOOD) as (it, _):
        told = await it.becomes(wrong)

        assert ("settings refused", "error") == (told["event"], told["log_level"])
        assert [
            "sweeper.intervall: is no setting; did you mean interval?",
            "limits.archiveBytes: Input should be greater than 0 (is -1)",
        ] == told["problems"]
        assert ("a", 1) == (it.team, refused())
        assert [] == await it.later()

        assert "settings followed" == (await it.becomes(OTHER))["event"]
        assert ("b", 0) == (it.team, refused())


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """
    It is told, and so is its return.
    """
    async with scene(tmp_path, GOOD) as (it, _):
        told = await it.told_of(it.file.unlink)
        assert "cannot be read" in told["problems"][0]
        assert ("a", 1) == (it.team, refused())

        assert () == (await it.becomes(GOOD))["changed"]
        assert ("a", 0) == (it.team, refused())


async def test_a_template_that_the_cluster_refuses_is_not_followed(tmp_path: Path) -> None:
    """
    Nor is anything else in that file; the words are the API server's.
    """
    async with scene(tmp_path, GOOD) as (it, _):
        it.cluster.script("POST", "pods", always(lambda: refusal(422, "Invalid", "no such class")))

        told = await it.becomes(f"{OTHER}sweeper: {{interval: 5}}\n")

        assert ["chaincode.template: no such class"] == told["problems"]
        assert ("a", 1) == (it.team, refused())


async def test_a_cluster_that_is_away_is_asked_again(tmp_path: Path) -> None:
    """
    The file may be good: it is followed once that is known.
    """
    async with scene(tmp_path, GOOD) as (it, _):
        it.cluster.script("POST", "pods", *[watch(dies=True)] * 4)

        told = await it.becomes(OTHER)

        assert "settings not checked yet" == told["event"]
        assert "The Kubernetes API cannot be reached" in told["cause"]
        await it.tells("settings not checked yet", "settings followed")
        assert "b" == it.team


async def test_a_file_that_was_refused_is_asked_about_again_at_a_word(tmp_path: Path) -> None:
    """
    And again while the cluster is away: it may know the class by now.
    """
    async with scene(tmp_path, GOOD) as (it, looks):
        unknown = always(lambda: refusal(422, "Invalid", "no such class"))
        it.cluster.script("POST", "pods", unknown)
        assert "settings refused" == (await it.becomes(OTHER))["event"]

        it.cluster.objects.clear()  # the double has made what it was asked to try
        it.cluster.script("POST", "pods", *[watch(dies=True)] * 4)
        assert "settings not checked yet" == (await it.told_of(looks.tell))["event"]
        await it.tells("settings not checked yet", "settings followed")
        assert ("b", 0) == (it.team, refused())


async def test_the_cluster_is_not_asked_about_templates_that_stay(tmp_path: Path) -> None:
    """
    While it is away, all else is followed.
    """
    async with scene(tmp_path, GOOD) as (it, _):
        told = await it.becomes(f"{GOOD}sweeper: {{interval: 5}}\n")

        assert ("sweeper.interval",) == told["changed"]
        assert 0 == it.cluster.count("POST", "pods")


async def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    """
    In one warning, as are keys that have no meaning here; the rest of the file is followed.
    """
    async with scene(tmp_path, GOOD) as (it, _):
        text = f"{OTHER}server: {{api: ':1', delivery: ':2'}}\nlog: {{development: true}}\n"
        followed = await it.becomes(text)
        await it.tells("settings followed", "settings need a restart", "settings adapted")
        waiting = it.told[1]
        assert ("chaincode.template",) == followed["changed"]
        assert ("server.api", "server.delivery") == waiting["keys"]
        assert "b" == it.team


async def test_a_word_has_all_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Changed or not, and long before the next look.
    """
    monkeypatch.setattr(reloading, "_LOOK_SECONDS", 1000)
    async with scene(tmp_path, GOOD) as (it, looks):
        assert () == (await it.told_of(looks.tell))["changed"]
        it.file.write_text(OTHER)
        assert ("chaincode.template",) == (await it.told_of(looks.tell))["changed"]
        it.file.write_text("[")
        assert "settings refused" == (await it.told_of(looks.tell))["event"]

    assert "b" == it.team


async def test_a_file_that_a_variable_names_is_looked_at(tmp_path: Path) -> None:
    """
    It holds the value, such as a password.
    """
    password = tmp_path / "password"
    password.write_text("one")
    variables = {"PEITHO_DOCKER_REGISTRY_PASSWORD_FILE": str(password)}
    async with scene(tmp_path, GOOD, variables) as (it, _):
        told = await it.told_of(lambda: password.write_text("two"))

        assert ("docker.registry.password",) == told["changed"]
        found = it.parts.shared.account.read()
        assert found is not None
        assert "two" == found.password


async def test_an_account_in_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """
    The one in use stays.
    """
    for name in ("first", "second"):
        (tmp_path / name).write_text(f"of {name}")
    registry = "docker: {registry: {username: u, password-file: %s}}\n"
    async with scene(tmp_path, registry % (tmp_path / "first")) as (it, _):
        told = await it.becomes(registry % (tmp_path / "typo"))

        cause = f"{tmp_path / 'typo'} cannot be read: FileNotFoundError"
        assert [f"docker.registry.password-file: {cause}"] == told["problems"]
        assert (it.parts.shared.account.read(), refused()) == (
            RegistryCredentials("u", "of first"),
            1,
        )

        assert "settings followed" == (await it.becomes(registry % (tmp_path / "second")))["event"]
        assert (it.parts.shared.account.read(), refused()) == (
            RegistryCredentials("u", "of second"),
            0,
        )


class Broken(SettingsSource):
    """One that fails in ways that nobody thought of."""

    def digest(self) -> bytes:
        if self.file and self.file.read_text() == "broken":
            raise ZeroDivisionError
        return super().digest()

    def load(self) -> LoadedSettings:
        if self.file and self.file.read_text() == "odd":
            raise ZeroDivisionError
        return super().load()


async def test_a_fault_of_ours_is_told_and_is_not_the_end(tmp_path: Path) -> None:
    """
    The next change is followed.
    """
    async with scene(tmp_path, GOOD, kind=Broken) as (it, _):
        assert "settings not looked at" == (await it.becomes("broken"))["event"]
        it.file.write_text(OTHER)
        await until(lambda: "settings followed" == it.told[-1]["event"])


async def test_a_file_that_brings_out_a_fault_of_ours_is_refused(tmp_path: Path) -> None:
    """
    Once: it is looked at again when it is another.
    """
    async with scene(tmp_path, GOOD, kind=Broken) as (it, _):
        assert "settings not looked at" == (await it.becomes("odd"))["event"]
        assert ("a", 1) == (it.team, refused())
        assert [] == await it.later()

        assert "settings followed" == (await it.becomes(OTHER))["event"]
        assert ("b", 0) == (it.team, refused())


class TestLog:
    @pytest.fixture(autouse=True)
    def _as_before(self) -> Iterator[None]:
        """Logging is the process's: what a test sets is undone."""
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        yield
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    async def test_the_log_follows(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        From the line that tells it.
        """
        async with scene(tmp_path, "log: {level: info}\n") as (it, looks):
            before = structlog.get_config()["wrapper_class"]
            it.file.write_text("log: {level: error}\n")
            looks.tell()
            await until(lambda: structlog.get_config()["wrapper_class"] is not before)
            structlog.get_logger().warning("not heard")
            structlog.get_logger().error("heard")

        said = capsys.readouterr().err
        assert ("heard" in said, "not heard" in said) == (True, False)


async def test_rules_of_tenants_are_followed_and_new_ones_wait(tmp_path: Path) -> None:
    """
    Each by its own key.
    """

    def text(acme: str, **others: str) -> str:
        tenants = {"acme": acme} | others
        tls = {"cert-file": "/a", "key-file": "/b", "client-ca-file": "/c"}
        own = {"msp-ids": "*", "networks": "*", "peers": "*"}
        access = {name: {"match": {"cn": cn}} | own for name, cn in tenants.items()}
        return json.dumps({"server": {"tls": tls}, "access": {"tenants": access}})

    async with scene(tmp_path, text("a")) as (it, _):
        told = await it.becomes(text("b", other="o"))
        assert ("settings followed", ("access.tenants.acme",)) == (told["event"], told["changed"])
        await it.tells("settings followed", "settings need a restart")
        assert ("access.tenants.other",) == it.told[1]["keys"]
        tenants = it.parts.shared.settings.now.access.tenants
        assert ["b"] == [tenant.match[0].cn for tenant in tenants.values()]
