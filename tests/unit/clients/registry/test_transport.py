import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from peitho.clients.registry.api import Registry
from peitho.clients.registry.transport import (
    RegistryCredentials,
    RegistryEndpoint,
    RegistryError,
)
from peitho.clients.registry.uploads import bytes_source
from peitho.errors import PeithoError, Unavailable
from tests.support.registry_content import CONTENT, NAME, blob
from tests.support.registry_double import QUICK, USER, RegistryDouble, refusal, says


@asynccontextmanager
async def account(
    double: RegistryDouble, *accounts: RegistryCredentials | None
) -> AsyncIterator[Registry]:
    """A client whose account changes to the next each time it is asked; the last one stays."""
    left = list(accounts)

    def credentials() -> RegistryCredentials | None:
        return left.pop(0) if len(left) > 1 else left[0]

    async with Registry.connect(double.endpoint, credentials, patience=QUICK) as registry:
        yield registry


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
async def test_a_registry_is_spoken_to_as_it_asks(auth: str) -> None:
    """
    It is asked who is to be told what, once.
    """
    async with RegistryDouble.start(auth=auth) as double, double.client() as registry:
        assert "sent" == await registry.upload(NAME, blob(), bytes_source(CONTENT))
        assert "present" == await registry.upload(NAME, blob(), bytes_source(CONTENT))

    refused = 0 if not auth else 1
    assert 2 + refused == double.count("HEAD", "blob")
    assert (1 if auth == "bearer" else 0) == double.count("GET", "token")


async def test_a_token_is_for_what_is_to_be_done() -> None:
    """
    A mount reads another repository, too.
    """
    async with RegistryDouble.start(auth="bearer") as double, double.client() as registry:
        double.add_blob("base", CONTENT)
        await registry.digest(NAME, "latest")
        await registry.upload(NAME, blob(), bytes_source(CONTENT), holders=("base",))
        await registry.delete_manifest(NAME, blob().digest)

    assert [
        [f"repository:{NAME}:pull"],
        [f"repository:{NAME}:pull,push"],
        [f"repository:{NAME}:pull,push", "repository:base:pull"],
        [f"repository:{NAME}:delete"],
    ] == double.scopes


async def test_nobody_in_particular_gets_a_token_as_well() -> None:
    """
    As for public images.
    """
    async with RegistryDouble.start(auth="bearer") as double, double.client(None) as registry:
        assert await registry.digest(NAME, "latest") is None

    assert 1 == len(double.scopes)


async def test_a_token_that_has_ended_is_replaced() -> None:
    """
    Before it is used again where its end is known, after a 401 where it is not.
    """
    async with RegistryDouble.start(auth="bearer") as double, double.client() as registry:
        double.token_seconds = -1
        await registry.digest(NAME, "latest")
        double.token_seconds = 300
        await registry.digest(NAME, "latest")
        assert (2, 3) == (len(double.scopes), double.count("HEAD", "manifest"))

        double.good.clear()
        await registry.digest(NAME, "latest")

    assert (3, 5) == (len(double.scopes), double.count("HEAD", "manifest"))


async def test_a_token_that_ends_in_an_upload_is_replaced() -> None:
    """
    What was refused is sent again.
    """
    async with RegistryDouble.start(auth="bearer") as double, double.client() as registry:

        async def expire(_: object) -> None:
            double.good.clear()

        double.script("POST", "uploads", expire)

        assert "sent" == await registry.upload(NAME, blob(), bytes_source(CONTENT))

    assert 2 == len(double.scopes)
    assert CONTENT == double.blobs[blob().digest]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_a_password_that_has_changed_is_taken_without_a_restart(auth: str) -> None:
    """
    The account is asked for again at each 401.
    """
    old, new = RegistryCredentials("robot", "old"), USER
    async with RegistryDouble.start(auth=auth) as double, account(double, old, new) as registry:
        if auth == "bearer":
            with pytest.raises(RegistryError, match="its token server answered 401"):
                await registry.manifest(NAME, "latest")
        else:
            with pytest.raises(RegistryError, match="401 UNAUTHORIZED"):
                await registry.manifest(NAME, "latest")

        assert await registry.manifest(NAME, "latest") is None


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_a_refusal_has_no_secret_in_it(auth: str) -> None:
    """
    Not even where the registry repeats what it was told.
    """
    wrong = RegistryCredentials("robot", "wrong-password")
    secret = base64.b64encode(b"robot:wrong-password").decode()
    async with RegistryDouble.start(auth=auth) as double, double.client(wrong) as registry:
        with pytest.raises(RegistryError) as raised:
            await registry.digest(NAME, "latest")

        said = f"{raised.value}"
        assert 401 == raised.value.code
        assert f"registry {double.address}: " in said
        assert "wrong-password" not in said
        assert secret not in said
        assert "wrong-password" not in repr(wrong)

        async def repeat(_: web.Request) -> web.StreamResponse:
            return refusal(403, "DENIED", f"wrong-password {secret}")

    async with RegistryDouble.start() as double, double.client(wrong) as registry:
        double.script("GET", "manifest", repeat)
        with pytest.raises(RegistryError, match=r"403 DENIED: \*\*\* \*\*\*$"):
            await registry.manifest(NAME, "latest")


async def test_a_401_that_asks_for_nothing_is_an_answer() -> None:
    """
    There is nothing to say to it.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("GET", "manifest", says(401))

        with pytest.raises(RegistryError, match=r"reading .*: 401 said so"):
            await registry.manifest(NAME, "latest")

    assert 1 == double.count("GET", "manifest")


@pytest.mark.parametrize(
    "realm", ["", "token", "ftp://x.io/token", "http://[/token", "http:///token"]
)
async def test_a_token_server_without_an_address_is_told_nothing(realm: str) -> None:
    """
    The account is not for whatever a header says.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.script(
            "GET", "manifest", *[says(401, WWW_Authenticate=f'Bearer realm="{realm}"')] * 2
        )

        with pytest.raises(RegistryError, match=r"401|its token server is no https address"):
            await registry.manifest(NAME, "latest")


async def test_a_token_server_that_talks_nonsense_is_told() -> None:
    """
    With the registry's address.
    """
    async with RegistryDouble.start(auth="bearer") as double, double.client() as registry:
        double.script("GET", "token", says(200))

        with pytest.raises(PeithoError, match=f"^registry {double.address}: the token server's"):
            await registry.digest(NAME, "latest")


async def test_a_token_server_that_is_busy_is_asked_again() -> None:
    """
    A few times.
    """
    async with RegistryDouble.start(auth="bearer") as double, double.client() as registry:
        double.script("GET", "token", says(503))
        assert await registry.digest(NAME, "latest") is None

        double.good.clear()
        double.script("GET", "token", *[says(503)] * 3)
        with pytest.raises(RegistryError, match="its token server answered 503 said so"):
            await registry.digest(NAME, "latest")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_call_is_made_again_where_that_may_help(status: int) -> None:
    """
    A few times, and then its answer counts.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("HEAD", "manifest", says(status), says(status))
        assert await registry.digest(NAME, "latest") is None

        double.script("HEAD", "manifest", *[says(status)] * 3)
        with pytest.raises(RegistryError) as raised:
            await registry.digest(NAME, "latest")

    assert status == raised.value.code
    assert 6 == double.count("HEAD", "manifest")


async def test_a_pause_that_is_asked_for_is_made() -> None:
    """
    Unless it is longer than anybody would wait.
    """
    loop = asyncio.get_running_loop()
    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("HEAD", "manifest", says(429, Retry_After="1"))
        began = loop.time()
        assert await registry.digest(NAME, "latest") is None
        assert loop.time() - began >= 1

        double.script("HEAD", "manifest", says(429, Retry_After="3600"))
        with pytest.raises(RegistryError, match="429"):
            await registry.digest(NAME, "latest")

    assert 3 == double.count("HEAD", "manifest")


async def test_a_connection_that_breaks_is_made_anew() -> None:
    """
    Nobody need hear of it.
    """

    async def broken(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("HEAD", "manifest", *[broken] * 2)
        assert await registry.digest(NAME, "latest") is None

        double.script("HEAD", "manifest", *[broken] * 9)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await registry.digest(NAME, "latest")


def test_the_api_is_below_the_prefix() -> None:
    """
    By plain HTTP if the registry is insecure.
    """
    double = RegistryEndpoint("x.io:5000", "/a/", insecure=True)

    assert "http://x.io:5000/a/v2/" == str(double.url)
    assert "https://x.io/v2/" == str(RegistryEndpoint("x.io").url)
