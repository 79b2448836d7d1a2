import json
from pathlib import Path

from peitho.api import routes
from peitho.api.calls import OpenCalls
from peitho.api.routes import NOT_IMPLEMENTED, ROUTES
from peitho.settings.models import Settings
from tests.support.in_process import composed, running
from tests.support.requests import concrete, request

PREFIXES = ("", "/v1.25", "/v1.51")
ENTRIES = [tuple(entry.split(" ")) for entry in NOT_IMPLEMENTED]


async def test_every_endpoint_is_there_bare_and_below_a_version(tmp_path: Path) -> None:
    """
    For the three generations of clients; a GET answers HEAD too.
    """
    async with composed(tmp_path, Settings(data_dir=tmp_path / "data")) as (parts, _):
        router = routes.application(parts.services, OpenCalls(routes.LONG)).router
        for method, path, handler, _ in ROUTES:
            for each in (method, "HEAD") if method == "GET" else (method,):
                for prefix in PREFIXES:
                    asked = request(f"{prefix}{concrete(path)}", method=each)
                    assert handler == (await router.resolve(asked)).handler, asked


async def test_what_peitho_leaves_out_is_501_with_a_sentence(tmp_path: Path) -> None:
    """
    Every entry of the list, bare and below a version.
    """
    async with running(tmp_path) as peitho:
        for method, path in ENTRIES:
            verb = "POST" if method == "*" else method
            for prefix in PREFIXES:
                asked = f"{prefix}{concrete(path)}"
                status, body, headers = await peitho.ask(verb, asked)

                message = json.loads(body)["message"]
                assert 501 == status, asked
                assert message.startswith(f"{verb} {asked} is not part of what Peitho does: ")
                assert "application/json" == headers["Content-Type"]


UNKNOWN = (
    ("GET", "/", 404),
    ("GET", "/nothing", 404),
    ("GET", "/v2.0/version", 404),
    ("GET", "/v1.x/version", 404),
    ("GET", "/v1/version", 404),
    ("GET", "//version", 404),
    ("PUT", "/version", 405),
    ("GET", "/v1.51/build", 405),
    ("DELETE", "/containers/json", 404),
)


async def test_an_unknown_path_is_dockers_json_error(tmp_path: Path) -> None:
    """
    With the headers of every answer.
    """
    async with running(tmp_path) as peitho:
        for method, path, status in UNKNOWN:
            found, body, headers = await peitho.ask(method, path)

            assert status == found, path
            assert ["message"] == list(json.loads(body))
            assert "application/json" == headers["Content-Type"]
            assert "1.47" == headers["Api-Version"]


def test_no_entry_is_both_answered_and_left_out() -> None:
    """
    The page says one thing of each.
    """
    answered = {(method, path) for method, path, *_ in ROUTES}

    assert set() == answered & set(ENTRIES)
    assert len(ROUTES) == len(answered)
    assert len(ENTRIES) == len(set(ENTRIES))
