"""The shipped admission policy for the account of a test, whatever else is in the cluster."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.peitho import shipped

_KINDS = "validatingadmissionpolicy,validatingadmissionpolicybinding"


@asynccontextmanager
async def policy(cluster: Cluster, namespace: str, **lists: Sequence[str]) -> AsyncIterator[None]:
    """The policy for the account of a namespace; its variables may be other lists of words."""
    policy, binding = shipped("admission-policy.yaml", peitho=namespace, chaincode=namespace)
    _be_for(policy["spec"], namespace)
    for variable in policy["spec"]["variables"]:
        if variable["name"] in lists:
            variable["expression"] = repr(list(lists[variable["name"]]))
    for each in (policy, binding):
        each["metadata"]["name"] = namespace
    binding["spec"]["policyName"] = namespace
    await asyncio.to_thread(cluster.apply, policy, binding)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.run_kubectl, "delete", _KINDS, namespace)


def _be_for(spec: dict[str, Any], namespace: str) -> None:
    (condition,) = spec["matchConditions"]
    shipped_account = "system:serviceaccount:peitho:peitho"
    assert shipped_account in condition["expression"]
    condition["expression"] = condition["expression"].replace(
        shipped_account, f"system:serviceaccount:{namespace}:peitho"
    )
