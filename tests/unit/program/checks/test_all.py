from pathlib import Path

from aiohttp import web

from peitho.program.checks import all as checks
from peitho.settings.models import Settings
from tests.support import tenants
from tests.support.check_findings import brief, gathered
from tests.support.kubernetes_double import ApiServer, always, answer, refusal


async def test_what_one_check_finds_keeps_no_other_from_being_made(tmp_path: Path) -> None:
    """
    A cluster that refuses, a registry that is away, a daemon that is away: each has its line.
    """
    async with ApiServer.start() as double:

        async def refuse(_: web.Request) -> web.StreamResponse:
            return refusal(422, "Invalid", "no")

        for method in ("GET", "POST"):
            double.rule(method, "", refuse)
        settings = Settings.model_validate(
            {
                "dataDir": tmp_path / "data",
                "k8s": {"kubeconfig": double.kubeconfig(tmp_path)},
                "peitho": {"imageMode": "registry"},
                "docker": {
                    "endpoint": f"unix://{tmp_path}/nobody.sock",
                    "registry": {"server-address": "127.0.0.1:1", "insecure": True},
                },
            }
        )
        found = await gathered(checks.findings(settings, None))

    assert {("Kubernetes", "wrong"), ("registry", "wrong"), ("Docker daemon", "wrong")} == {
        each for each in brief(found) if each[1] == "wrong"
    }
    assert ("storage", "ok") in brief(found)


async def test_without_a_cluster_the_rest_is_checked(tmp_path: Path) -> None:
    """
    No kubeconfig, and no Pod.
    """
    found = brief(await gathered(checks.findings(Settings(data_dir=tmp_path), None)))

    assert ("Kubernetes", "wrong") == found[-1]
    assert ("time-outs", "ok") in found


async def test_before_a_start_peers_keep_nobody_waiting(tmp_path: Path) -> None:
    """
    They may wait for Peitho themselves; what Peitho needs is looked at.
    """
    async with ApiServer.start() as double:
        double.rule("GET", "", always(lambda: answer({"gitVersion": "v1.35.4", "items": []})))
        allowed = {"status": {"allowed": True}}
        double.rule("POST", "", always(lambda: answer(allowed, status=201)))
        place = {"k8s": {"kubeconfig": double.kubeconfig(tmp_path)}, "dataDir": tmp_path}
        settings = Settings.model_validate(place)
        usual = brief(await gathered(checks.findings(settings, None)))
        before = brief(await gathered(checks.findings(settings, None, with_peers=False)))

    assert [each for each in usual if each[0] != "peers"] == before
    assert ("peers", "ok") in usual
    assert {("rights", "ok"), ("admission", "ok"), ("storage", "ok")} <= set(before)


async def test_the_namespace_of_each_tenant_is_looked_at(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Its rights, whether it takes Pods, its peers; one that shares Peitho's own needs no second look.
    """
    missing = {"acme-ns": "create jobs"}

    async def review(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["spec"]["resourceAttributes"]
        right = f"{asked['verb']} {asked['resource']}"
        is_allowed = missing.get(asked["namespace"]) != right
        return answer({"status": {"allowed": is_allowed}}, status=201)

    async with ApiServer.start() as double:
        double.rule("GET", "", always(lambda: answer({"gitVersion": "v1.35.4"})))
        double.rule("POST", "", review)
        double.make("acme-ns:serviceaccounts/default", {"metadata": {}})
        place = {"k8s": {"kubeconfig": double.kubeconfig(tmp_path)}}
        settings = tenants.settings_of(certificates / "ours", tmp_path, **place)
        found = await gathered(checks.findings(settings, None))

    expected = {"rights": "wrong", "admission": "ok", "pull secrets": "ok", "peers": "ok"}
    assert {(f"tenant acme: {name}", status) for name, status in expected.items()} == {
        each for each in brief(found) if each[0].startswith("tenant")
    }
