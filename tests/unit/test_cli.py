import asyncio
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import structlog
import yaml
from click.testing import CliRunner, Result

from peitho import __version__, cli
from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.lock import locked
from peitho.clients.disk.storage import Storage
from peitho.formats.audit_chain import Chain
from peitho.formats.images import prebuilt
from peitho.formats.kubernetes import record_secrets
from peitho.formats.records import ContainerSpec
from tests.support.kubernetes_double import KUBECONFIG, ApiServer


def run(*arguments: str, **environment: str) -> Result:
    """The command line, in an environment with nothing of ours but this."""
    cleared = {"PEITHO_CONFIG": None} | environment
    return CliRunner().invoke(cli.main, arguments, env=cleared)


def test_help_says_what_it_is_for_and_what_changes_on_a_peer() -> None:
    """
    And names the commands.
    """
    result = run("--help")

    assert 0 == result.exit_code
    assert "CORE_VM_ENDPOINT=tcp://peitho:8080" in result.output
    commands = ("config", "check", "adopt", "check-store", "audit", "rehearse", "version")
    for command in ("serve", *commands):
        assert f"\n  {command} " in result.output
    assert result.output == run("-h").output


@pytest.mark.parametrize("command", ["serve", "config", "check", "check-store"])
def test_help_of_a_command_names_its_flags(command: str) -> None:
    """
    As they are spelled in the file.
    """
    result = run(command, "--help")

    assert 0 == result.exit_code
    for flag in ("--config", "--k8s.namespace", "--peitho.pullerImage", "--dataDir", "--log.level"):
        assert flag in result.output


def test_version_is_ours() -> None:
    """
    On one line.
    """
    assert (0, f"peitho {__version__}\n") == (
        run("version").exit_code,
        run("version").output,
    )


def test_config_shows_what_is_in_effect(tmp_path: Path) -> None:
    """
    Flags over variables over the file over defaults, with the keys of the file.
    """
    file = tmp_path / "peitho.yml"
    file.write_text("k8s: {namespace: file}\nlog: {level: warn}\npeitho: {instance: mine}\n")

    result = run(
        "config",
        "-c",
        str(file),
        "--k8s.namespace",
        "flag",
        "--peitho.pullerImage",
        "x.io/peitho:1",
        PEITHO_K8S_NAMESPACE="variable",
        PEITHO_LOG_LEVEL="error",
    )

    assert 0 == result.exit_code
    shown = yaml.safe_load(result.output)
    assert "flag" == shown["k8s"]["namespace"]
    assert "error" == shown["log"]["level"]
    assert "mine" == shown["peitho"]["instance"]
    assert "x.io/peitho:1" == shown["peitho"]["pullerImage"]
    assert 500 == shown["builder"]["user"]
    assert "/var/lib/peitho" == shown["dataDir"]


def test_what_config_shows_is_a_settings_file(tmp_path: Path) -> None:
    """
    It can be given back, and shows the same.
    """
    shown = run("config", "--k8s.namespace", "ns").output
    file = tmp_path / "peitho.yml"
    file.write_text(shown)

    again = run("config", "-c", str(file))
    assert yaml.safe_load(shown) == yaml.safe_load(again.stdout)
    assert again.stdout == run("config", PEITHO_CONFIG=str(file)).stdout
    assert "  namespace: ns  # flag\n" in shown
    assert "  namespace: ns  # file\n" in again.stdout


def test_flags_of_the_go_project_are_known() -> None:
    """
    Without `peitho.`, with switches that stand alone, with lists that have commas or come twice.
    """
    shown = yaml.safe_load(
        run(
            *("config", "--imageMode", "registry", "--pullerImage=x:1", "--sweeper.enable=false"),
            *("--pullerAccessAddress", "http://p:8080/tar", "--log.enable-color", "-c", os.devnull),
            *("--k8s.dns", "10.0.0.1:a,10.0.0.2:b", "--k8s.dns=10.0.0.3:c"),
            *("--docker.registry.server-address", "r.io", "--sweeper.interval=5"),
        ).stdout
    )

    assert ("registry", "x:1", "p:8081") == (
        shown["peitho"]["imageMode"],
        shown["peitho"]["pullerImage"],
        shown["peitho"]["pullerAccessAddress"],
    )
    assert (False, 5) == (shown["sweeper"]["enable"], shown["sweeper"]["interval"])
    assert ["10.0.0.1:a", "10.0.0.2:b", "10.0.0.3:c"] == shown["k8s"]["dns"]
    assert "r.io" == shown["docker"]["registry"]["server-address"]
    assert shown["log"]["enable-color"] is True


def test_flags_alone_mean_serve() -> None:
    """
    The Go project has no commands.
    """
    assert run("serve", "--log.level", "loud").stderr == run("--log.level", "loud").stderr
    assert f"peitho {__version__}\n" == run("--version").output


def test_keys_without_a_meaning_are_named_in_one_warning() -> None:
    """
    On stderr, so that what is on stdout can be read again.
    """
    result = run("config", "--log.development", "--log.disable-caller")

    assert 0 == result.exit_code
    (warning,) = result.stderr.splitlines()
    assert "log.development has no meaning here; log.disable-caller" in warning


@pytest.mark.parametrize("command", ["config", "serve"])
def test_every_problem_is_told_at_once_and_nothing_is_started(tmp_path: Path, command: str) -> None:
    """
    A line each, on stderr, with exit status 2.
    """
    file = tmp_path / "peitho.yml"
    file.write_text("k8s: {namspace: x}\nserver: {api: nowhere}\n")

    result = run(command, "-c", str(file), "--log.level", "loud")

    assert 2 == result.exit_code
    assert "" == result.stdout
    lines = result.stderr.splitlines()
    assert ["k8s.namspace", "log.level", "server.api"] == sorted(
        line.partition(":")[0] for line in lines
    )


def test_an_unknown_flag_is_an_error_of_use() -> None:
    """
    Click's own words, with its own exit status.
    """
    result = run("config", "--nothing")

    assert 2 == result.exit_code
    assert "No such option" in result.stderr


@pytest.mark.parametrize("words", [(), ("--dry-run", "--yes")])
def test_adopt_wants_to_be_told_whether_it_may(words: tuple[str, ...]) -> None:
    """
    It ends what runs, so nothing is taken for granted.
    """
    result = run("adopt", *words)

    assert 2 == result.exit_code
    assert "say either --dry-run or --yes" in result.stderr


def test_adopt_without_a_cluster_says_so(tmp_path: Path) -> None:
    """
    In a sentence, with exit status 2.
    """
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    result = run("adopt", "--dry-run", "--k8s.kubeconfig", str(kubeconfig))

    assert 2 == result.exit_code
    assert result.stderr.startswith("No Kubernetes: ")


@pytest.mark.parametrize(("flags", "said"), [(["--dry-run"], "1 would go"), ([], "1 removed")])
async def test_sweep_tells_what_goes_and_why(tmp_path: Path, flags: list[str], said: str) -> None:
    """
    With the settings, the cluster and the data directory of a Peitho that may be running.
    """
    record = record_secrets.chaincode_secret(
        instance="mine",
        container_id="a" * 64,
        name="mycc-1",
        spec=ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=()),
        token="",
        created="2026-01-02T03:04:05Z",
    )
    record["metadata"]["uid"] = "u"
    async with ApiServer.start() as cluster:
        cluster.objects[f"secrets/{record['metadata']['name']}"] = record
        Storage.open(tmp_path)
        BuildCache.open(tmp_path / "builds")
        arguments = ["--k8s.kubeconfig", str(cluster.kubeconfig(tmp_path)), "--dataDir"]
        result = await asyncio.to_thread(
            run, "sweep", *flags, *arguments, str(tmp_path), PEITHO_PEITHO_INSTANCE="mine"
        )
    structlog.reset_defaults()

    assert 0 == result.exit_code, result.stderr
    first, last = result.stdout.splitlines()
    assert first.startswith("chaincode mycc-1: created ")
    assert first.endswith(" s ago and never started")
    assert said == last
    assert bool(flags) == bool(cluster.objects)


@pytest.mark.parametrize("fault", ["key", "directory", "in use"])
def test_serve_says_why_it_cannot_use_its_data_directory(tmp_path: Path, fault: str) -> None:
    """
    In a sentence, with exit status 2.
    """
    Storage.open(tmp_path / "data").delivery_key()
    directory = tmp_path / "data"
    if fault == "key":
        (directory / "delivery.key").write_bytes(b"")
    elif fault == "directory":
        (tmp_path / "file").write_bytes(b"")
        directory = tmp_path / "file/data"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(url="http://127.0.0.1:9"))
    with locked(tmp_path / "data") if fault == "in use" else nullcontext():
        result = run("serve", "--k8s.kubeconfig", str(kubeconfig), "--dataDir", str(directory))
    structlog.reset_defaults()

    assert 2 == result.exit_code
    (line,) = result.stderr.splitlines()
    said = {
        "key": f"{directory}/delivery.key is damaged, it has 0 bytes instead of 32: ",
        "directory": "The data directory cannot be used (Not a directory: ",
        "in use": f"Another Peitho serves from {directory}: stop it first",
    }
    assert line.startswith(said[fault])


class TestPackage:
    IMAGE = f"registry.example/org/asset@sha256:{'ab' * 32}"

    @pytest.mark.parametrize("language", ["golang", "node", "java"])
    def test_the_package_of_an_image_is_written(self, tmp_path: Path, language: str) -> None:
        """
        Where it is asked for, and always the same.
        """
        path = tmp_path / "asset.tar.gz"
        words = ("package", self.IMAGE, "--label", "asset_1", "--type", language)
        result = run(*words, "-o", str(path))

        assert (0, f"{path}\n") == (result.exit_code, result.output)
        expected = prebuilt.package(self.IMAGE, label="asset_1", language=language)
        assert expected == path.read_bytes()

    def test_it_is_named_by_its_label(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        If no other file is asked for; Go is the type then.
        """
        monkeypatch.chdir(tmp_path)

        assert 0 == run("package", self.IMAGE, "--label", "asset_1").exit_code
        expected = prebuilt.package(self.IMAGE, label="asset_1", language="golang")
        assert expected == (tmp_path / "asset_1.tar.gz").read_bytes()

    @pytest.mark.parametrize(
        ("image", "label", "said"),
        [
            ("asset:1.0", "asset", "by its digest"),
            ("Asset", "asset", "invalid reference format"),
            (IMAGE, "../asset", "a label is of letters"),
            (IMAGE, "none/asset", "a label is of letters"),
        ],
    )
    def test_what_cannot_be_a_package_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, label: str, said: str
    ) -> None:
        """
        With exit status 2, and nothing is written.
        """
        monkeypatch.chdir(tmp_path)
        result = run("package", image, "--label", label)

        assert 2 == result.exit_code
        assert said in result.stderr
        assert [] == list(tmp_path.iterdir())

    def test_a_file_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        """
        With its path.
        """
        path = tmp_path / "none/asset.tar.gz"
        result = run("package", self.IMAGE, "--label", "asset", "-o", str(path))

        assert (2, f"{path} cannot be written: No such file or directory\n") == (
            result.exit_code,
            result.stderr,
        )


class TestCheckStore:
    def test_a_sound_store_is_told_in_a_line(self, tmp_path: Path) -> None:
        """
        With exit status 0, also beside a Peitho that serves.
        """
        Storage.open(tmp_path).delivery_key()
        with locked(tmp_path):
            result = run("check-store", "--dataDir", str(tmp_path))

        assert 0 == result.exit_code
        assert "images: 0, layers: 0, kept builds: 0; all is as it was written\n" == result.output

    def test_each_damaged_file_is_a_line(self, tmp_path: Path) -> None:
        """
        Then a summary, with exit status 1; the files are left as they are.
        """
        storage = Storage.open(tmp_path)
        storage.save_image("mycc", b"{}")
        (record,) = storage.images()
        (tmp_path / "blobs/sha256" / ("0" * 64)).write_bytes(b"rotten")

        result = run("check-store", "--dataDir", str(tmp_path))

        assert 1 == result.exit_code
        image, layer, summary = result.output.splitlines()
        assert image.startswith(f"images/{record.path.name}: an image record in the data")
        assert layer.startswith(f"blobs/sha256/{'0' * 64}: its sha256 is ")
        assert "images: 1, layers: 1, kept builds: 0; damaged: 2" == summary
        assert not (tmp_path / "damaged").exists()

    def test_the_directories_of_tenants_are_read_too(self, tmp_path: Path) -> None:
        """
        Each has a summary; paths begin at the top.
        """
        Storage.open(tmp_path)
        Storage.open(tmp_path / "tenants/acme")
        (tmp_path / "tenants/acme/blobs/sha256" / ("0" * 64)).write_bytes(b"rotten")

        result = run("check-store", "--dataDir", str(tmp_path))

        assert 1 == result.exit_code
        first, layer, second = result.output.splitlines()
        assert "images: 0, layers: 0, kept builds: 0; all is as it was written" == first
        assert layer.startswith(f"tenants/acme/blobs/sha256/{'0' * 64}: its sha256 is ")
        assert "tenant acme: images: 0, layers: 1, kept builds: 0; damaged: 1" == second

    def test_a_directory_of_nobody_is_an_error(self, tmp_path: Path) -> None:
        """
        In a sentence, with exit status 2.
        """
        result = run("check-store", "--dataDir", str(tmp_path / "none"))

        assert 2 == result.exit_code
        assert f"No Peitho keeps its data in {tmp_path}/none\n" == result.stderr


def test_an_audit_file_is_verified(tmp_path: Path) -> None:
    """
    Several, the oldest first; the exit status tells programs.
    """
    chain = Chain()
    one, two = tmp_path / "audit.1", tmp_path / "audit"
    one.write_bytes(chain.add({"time": "a"}) + chain.add({"time": "b"}))
    two.write_bytes(chain.add({"time": "c"}))

    whole = run("audit", "verify", str(one), str(two))
    assert (0, f"3 lines from number 1, a to c; the last has the sha256 {chain.digest}\n") == (
        whole.exit_code,
        whole.output,
    )
    wrong = run("audit", "verify", str(two), str(one))
    assert 1 == wrong.exit_code
    assert f"{one}: line 1 has the number 1, where 4 is due" in wrong.output
    assert 1 == run("audit", "verify", os.devnull).exit_code


def test_a_rehearsal_needs_an_endpoint_over_tcp() -> None:
    """
    What is wrong is told before anything is sent.
    """
    result = run("rehearse", "unix:///var/run/docker.sock")

    assert 2 == result.exit_code
    assert "a rehearsal needs tcp://HOST:PORT" in result.output
