"""The words of failed pulls, as containerd 1.6, 1.7 and 2.x and CRI-O say them."""

import time

import pytest

from peitho.formats.kubernetes import pull_errors

_PULL = 'failed to pull and unpack image "r.example:5000/a/x:1"'
_RESOLVE = f'{_PULL}: failed to resolve reference "r.example:5000/a/x:1"'
_GRPC = "rpc error: code = {} desc = "
_CRIO = _GRPC.format("Unknown") + "reading manifest 1 in r.example:5000/a/x: "
_CRIO_NEW = (
    "unable to pull image or OCI artifact: pull image err: initializing source "
    "docker://r.example:5000/a/x:1: reading manifest 1 in r.example:5000/a/x: "
)
_HEAD = 'failed to do request: Head "https://r.example:5000/v2/a/x/manifests/1": '
_STATUS = "unexpected status from HEAD request to https://r.example:5000/v2/a/x/manifests/1: "


@pytest.mark.parametrize(
    "words",
    [
        f"{_GRPC.format('NotFound')}{_RESOLVE}: r.example:5000/a/x:1: not found",
        f"{_GRPC.format('Unknown')}{_RESOLVE}: r.example:5000/a/x:1: not found",
        (
            f"{_RESOLVE}: pull access denied, repository does not exist or may require "
            "authorization: server message: insufficient_scope: authorization failed"
        ),
        (
            f"{_RESOLVE}: pulling from host r.example:5000 failed with status code [manifests 1]: "
            "401 Unauthorized"
        ),
        (
            f"{_RESOLVE}: pulling from host r.example:5000 failed with status code [manifests 1]: "
            "403 Forbidden"
        ),
        f"{_RESOLVE}: {_STATUS}401 Unauthorized",
        (
            f"{_RESOLVE}: failed to authorize: failed to fetch oauth token: unexpected status from "
            "GET request to https://r.example/token?scope=x: 401 Unauthorized"
        ),
        f"{_RESOLVE}: failed to authorize: no basic auth credentials",
        f"{_PULL}: no match for platform in manifest: not found",
        f"{_RESOLVE}: {_HEAD}tls: first record does not look like a TLS handshake",
        f"{_CRIO}manifest unknown",
        f"{_CRIO}manifest unknown: manifest unknown",
        f"{_CRIO}name unknown: repository not found",
        f"{_CRIO}unauthorized: access to the requested resource is not authorized",
        f"{_CRIO}denied: requested access to the resource is denied",
        f"{_CRIO_NEW}manifest unknown",
        f"{_CRIO_NEW}name unknown",
        f"{_CRIO_NEW}StatusCode: 404",
        f"{_CRIO_NEW}authentication required",
        (
            "choosing an image from manifest list docker://r.example/a/x:1: no image found "
            'in image index for architecture "arm64", variant "v8", OS "linux"'
        ),
        (
            "Error response from daemon: manifest for r.example/a/x:1 not found: manifest unknown: "
            "manifest unknown"
        ),
        (
            'failed to parse image reference "UPPER/x:1": invalid reference format: '
            "repository name must be lowercase"
        ),
    ],
)
def test_what_is_not_there_or_not_ours_stays_so(words: str) -> None:
    """
    However often it is tried.
    """
    assert pull_errors.is_lasting(words)


@pytest.mark.parametrize(
    "words",
    [
        (
            f"{_RESOLVE}: pulling from host r.example:5000 failed with status code [manifests 1]: "
            "429 Too Many Requests"
        ),
        (
            f"{_RESOLVE}: pulling from host r.example:5000 failed with status code [manifests 1]: "
            "503 Service Unavailable"
        ),
        (
            f"{_PULL}: failed to copy: httpReadSeeker: failed open: {_STATUS}429 Too Many "
            "Requests\ntoomanyrequests: You have reached your unauthenticated pull rate limit."
        ),
        f"{_RESOLVE}: {_STATUS}502 Bad Gateway",
        f"{_RESOLVE}: {_STATUS}500 Internal Server Error",
        f"{_RESOLVE}: {_HEAD}dial tcp 127.0.0.1:1: connect: connection refused",
        f"{_RESOLVE}: {_HEAD}dial tcp 10.0.0.1:443: i/o timeout",
        f"{_RESOLVE}: {_HEAD}net/http: TLS handshake timeout",
        f"{_RESOLVE}: {_HEAD}dial tcp: lookup r.example on 10.0.0.10:53: server misbehaving",
        f"{_RESOLVE}: {_HEAD}dial tcp: lookup r.example on 10.0.0.10:53: no such host",
        f"{_RESOLVE}: {_HEAD}x509: certificate signed by unknown authority",
        (
            f"{_RESOLVE}: failed to authorize: failed to fetch anonymous token: unexpected status "
            "from GET request to https://r.example/token: 503 Service Unavailable: not found"
        ),
        f"{_GRPC.format('DeadlineExceeded')}{_PULL}: context deadline exceeded",
        f"{_GRPC.format('Canceled')}{_PULL}: context canceled",
        (
            f"{_PULL}: failed to extract layer sha256:{'ab' * 32}: failed to get reader from "
            f"content store: content digest sha256:{'ab' * 32}: not found"
        ),
        f"{_PULL}: short read: expected 540 bytes but got 0: unexpected EOF",
        f"{_PULL}: write /var/lib/containerd/x: no space left on device",
        f"{_CRIO}toomanyrequests: You have reached your pull rate limit.",
        f"{_CRIO_NEW}StatusCode: 504",
        (
            'pinging container registry r.example: Get "https://r.example/v2/": dial tcp '
            "10.0.0.1:443: connect: no route to host"
        ),
        "something that nobody has said before",
        'Back-off pulling image "r.example:5000/a/x:1"',
        "",
    ],
)
def test_what_may_pass_or_is_not_known_is_tried_on(words: str) -> None:
    """
    Also where the registry says more that it does not have.
    """
    assert not pull_errors.is_lasting(words)


@pytest.mark.parametrize("name", ["denied", "not-found", "unauthorized", "404", "manifest-unknown"])
def test_names_of_images_say_nothing(name: str) -> None:
    """
    They stand in the text, quoted or not.
    """
    image = f"r.example:5000/{name}/{name}:1"
    words = f'failed to resolve reference "{image}": {image}: something new'

    assert not pull_errors.is_lasting(words)
    assert pull_errors.is_lasting(f'failed to resolve "acme/timeout:503": {image}: not found')


def test_long_words_take_no_time() -> None:
    """
    A peer chooses the image's name.
    """
    began = time.process_time()
    for words in ("a" * 100_000, '"' * 100_000, "a/" * 50_000, "not " * 25_000):
        pull_errors.is_lasting(words)
        pull_errors.before_back_off("ImagePullBackOff", f"Back-off pulling image {words}")

    assert 1 > time.process_time() - began


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            'Back-off pulling image "a/x:1": ErrImagePull: manifest unknown: a: b',
            ("ErrImagePull", "manifest unknown: a: b"),
        ),
        (
            'Back-off pulling image "a/x:1": RegistryUnavailable: busy',
            ("RegistryUnavailable", "busy"),
        ),
        (
            'Back-off pulling image "a/x:1"',
            ("ImagePullBackOff", 'Back-off pulling image "a/x:1"'),
        ),
        ("other", ("ImagePullBackOff", "other")),
    ],
)
def test_a_pause_repeats_why_it_is_made(words: str, expected: tuple[str, str]) -> None:
    """
    Since Kubernetes 1.31.
    """
    assert expected == pull_errors.before_back_off("ImagePullBackOff", words)
