import json
from pathlib import Path

import pytest

from peitho.api.options import Options
from peitho.api.routes import ROUTES
from peitho.errors import Forbidden, InvalidArgument, Unsupported
from tests.support.in_process import running
from tests.support.requests import concrete, request

OPTIONS = Options("all", any_value="v", refused="link size", passing={"size": ("12",)})
# What the three generations of peers send (recorded), and after
# them the CLI and docker-py by default.
SENT = (
    ("POST", "/build", "networkmode=bridge&t=x"),
    ("POST", "/build", "networkmode=fabric_test&rm=0&t=x"),
    ("POST", "/build", "networkmode=host&rm=0&t=x&securityopt=null"),
    ("POST", "/images/create", "fromImage=docker.io%2Fhyperledger%2Ffabric-ccenv&tag=2.5"),
    ("POST", "/containers/create", "name=x"),
    ("POST", "/containers/create", ""),
    ("POST", "/containers/{id}/kill", ""),
    ("POST", "/containers/{id}/stop", "t=0"),
    ("POST", "/containers/{id}/attach", "logs=1&stderr=1&stdout=1&stream=1"),
    ("POST", "/containers/{id}/start", ""),
    ("POST", "/containers/{id}/wait", ""),
    ("PUT", "/containers/{id}/archive", "path=%2F"),
    ("GET", "/containers/{id}/archive", "path=%2Fchaincode%2Foutput%2F."),
    ("DELETE", "/containers/{id}", "force=1"),
    (
        "POST",
        "/build",
        (
            "buildargs=%7B%7D&cachefrom=%5B%5D&cgroupparent=&cpuperiod=0&cpuquota=0&cpusetcpus="
            "&cpusetmems=&cpushares=0&dockerfile=Dockerfile&labels=%7B%7D&memory=0&memswap=0"
            "&networkmode=default&rm=1&shmsize=0&t=x&target=&ulimits=null&version=1"
        ),
    ),
    ("POST", "/build", "t=x&q=False&nocache=False&rm=False&forcerm=False&pull=False"),
    ("GET", "/containers/json", "limit=0"),
    ("GET", "/containers/json", "limit=-1&all=0&size=0&trunc_cmd=0"),
    ("GET", "/containers/json", "all=1&filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%7D"),
    ("GET", "/images/json", "only_ids=0&all=0"),
    ("GET", "/images/json", "shared-size=0&digests=0&manifests=0"),
    ("POST", "/containers/{id}/attach", "stderr=1&stdin=0&stdout=1&stream=1"),
    ("POST", "/containers/{id}/start", "detachKeys=&checkpoint=&checkpoint-dir="),
    ("POST", "/containers/{id}/kill", "signal=KILL"),
    ("POST", "/containers/{id}/wait", "condition=next-exit"),
    ("GET", "/containers/{id}/logs", "follow=1&stderr=1&stdout=1&tail=all"),
    ("GET", "/containers/{id}/logs", "details=0&since=0&stderr=1&stdout=1&timestamps=0&until="),
    ("PUT", "/containers/{id}/archive", "noOverwriteDirNonDir=true&path=%2F"),
    ("DELETE", "/containers/{id}", "force=False&link=False&v=1"),
    ("DELETE", "/images/{name:.+}", "force=1&noprune=1"),
    ("POST", "/images/create", "fromImage=a&tag=b&platform="),
)


def options_of(method: str, path: str) -> Options:
    """What a route knows."""
    (found,) = (each[3] for each in ROUTES if each[:2] == (method, path))
    return found


@pytest.mark.parametrize(("method", "path", "query"), SENT)
def test_what_peers_and_clients_send_passes(method: str, path: str, query: str) -> None:
    """
    An empty query too, of which a question mark is left.
    """
    options_of(method, path).check(request(f"/x?{query}", method=method))


@pytest.mark.parametrize(
    "query", ["", "all=1", "all", "v=1", "v=x&v=y", "link=0", "link=False", "size=null", "size=12"]
)
def test_an_option_that_says_what_is_done_anyway_passes(query: str) -> None:
    """
    Obeyed, indifferent, not set, or the value that is named.
    """
    OPTIONS.check(request(f"/x?{query}"))


def test_an_unknown_option_is_named() -> None:
    """
    Even an empty one, and by its exact spelling.
    """
    for name in ("colour", "ALL"):
        with pytest.raises(InvalidArgument, match=f"unknown query parameter '{name}'"):
            OPTIONS.check(request(f"/x?all=1&{name}="))


@pytest.mark.parametrize("query", ["link=1", "size=13", "link=true", "size=-1"])
def test_an_option_that_is_left_out_on_purpose_is_named(query: str) -> None:
    """
    It is Docker's, and the request would be carried out there.
    """
    name = query.partition("=")[0]
    with pytest.raises(Unsupported, match=f"the query parameter '{name}' is not part of what"):
        OPTIONS.check(request(f"/x?{query}"))


@pytest.mark.parametrize(
    "query", ["networkmode=container:a", "cgroupparent=/a", "securityopt=%5B%22seccomp=a%22%5D"]
)
def test_an_option_that_reaches_past_a_container_is_forbidden_by_name(query: str) -> None:
    """
    As the field of that name is in a create request.
    """
    name = query.partition("=")[0]
    with pytest.raises(Forbidden, match=f"the query parameter '{name}' may not be used here"):
        options_of("POST", "/build").check(request(f"/x?t=a&{query}"))


def test_an_option_is_taken_once() -> None:
    """
    Else all but one would be ignored: `docker build -t a -t b`.
    """
    with pytest.raises(Unsupported, match="'all' is taken once"):
        OPTIONS.check(request("/x?all=1&all=0"))


async def test_every_call_checks_its_options(tmp_path: Path) -> None:
    """
    Before anything else, bare and below a version.
    """
    async with running(tmp_path) as peitho:
        for method, path, *_ in ROUTES:
            for prefix in ("", "/v1.51"):
                asked = f"{prefix}{concrete(path)}?colour=blue"
                status, body, _ = await peitho.ask(method, asked)

                assert (400, {"message": "unknown query parameter 'colour'"}) == (
                    status,
                    json.loads(body),
                ), asked


def test_no_option_is_told_twice() -> None:
    """
    Each is obeyed, or indifferent, or refused; only what is refused has values that pass.
    """
    for method, path, _, options in ROUTES:
        told = [*options.obeyed.split(), *options.any_value.split(), *options.refused.split()]
        told += options.forbidden

        assert len(told) == len(set(told)), (method, path)
        assert options.passing.keys() <= set(options.refused.split()), (method, path)
