from pathlib import Path

from peitho.core.chaincode import adoption
from tests.support.go_peitho import NAME, config_map, deployment
from tests.support.kubernetes_double import ApiServer


async def test_chaincode_is_ended_once_and_all_else_left(tmp_path: Path) -> None:
    """
    A second time changes nothing more, so what ran before stays noted.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.objects[f"deployments/{NAME}"] = deployment()
        server.objects["deployments/peer0"] = deployment("peer0", env=[])
        server.objects[f"configmaps/{NAME}-configmap"] = config_map(f"{NAME}-configmap")

        for _ in range(2):
            for found in await adoption.survey(kubernetes):
                await adoption.adopt(kubernetes, found)

        ended = server.objects[f"deployments/{NAME}"]
        assert 0 == ended["spec"]["replicas"]
        assert "1" == ended["metadata"]["annotations"]["peitho/adopted-replicas"]
        assert deployment("peer0", env=[]) == server.objects["deployments/peer0"]
        keys = server.objects[f"configmaps/{NAME}-configmap"]
        assert {"peitho/adopted": "true"} == keys["metadata"]["labels"]
        assert 1 == server.count("PATCH", f"deployments/{NAME}")
