import dataclasses
import json

from peitho.formats.kubernetes import (
    names,
)
from peitho.formats.kubernetes.build_wrapper import WRAPPER
from tests.support.expansion import expand
from tests.support.manifests import (
    BUILD,
    BUILD_TOKEN,
    ID,
    IMAGE,
    build,
    build_secret,
    containers,
    mounts,
    variables,
)


class TestBuilds:
    def test_the_peers_command_is_run_unchanged(self) -> None:
        """
        Behind the wrapper, with every `$` as it was.
        """
        builder = containers(build())["build"]

        args = [expand(word, {"flags": "expanded"}) for word in builder["args"]]
        assert list(BUILD.command) == args
        assert WRAPPER == expand(builder["command"][2], {"HOME": "x"})
        assert ["/bin/sh", "-c"] == builder["command"][:2]

    def test_the_peers_variables_are_in_the_secret_alone(self) -> None:
        """
        As they were, without expansion; no Pod has their values.
        """
        made = build()

        found = variables(containers(made)["build"], build_secret())
        assert {"GOPROXY": "https://goproxy.example/$x"} == found
        assert "goproxy.example" not in json.dumps(made)

    def test_an_entrypoint_is_the_beginning_of_the_command(self) -> None:
        """
        As Docker puts the two together.
        """
        spec = dataclasses.replace(BUILD, entrypoint=("/e",), command=("a", "b"))

        assert ["/e", "a", "b"] == containers(build(spec))["build"]["args"]

    def test_builder_and_helper_share_their_directories(self) -> None:
        """
        The control directory, each upload's and the output's; the helper has them below /shared.
        """
        made = build(uploads=("/chaincode/input", "/more"))
        builder, helper = containers(made)["build"], containers(made)["helper"]

        assert mounts(helper) == {
            path if path == "/peitho" else f"/shared{path}": volume
            for path, volume in mounts(builder).items()
        }
        assert {"/peitho", "/chaincode/input", "/more", "/chaincode/output"} == set(mounts(builder))
        assert 4 == len(set(mounts(builder).values()))
        assert {(name, "emptyDir") for name in mounts(builder).values()} == {
            (volume.pop("name"), *volume) for volume in made["spec"]["volumes"]
        }

    def test_an_upload_covers_nothing_of_the_helper(self) -> None:
        """
        Its code has the build's token: what is uploaded to its place is elsewhere for it.
        """
        paths = ("/opt/peitho", "/usr/local/lib/python3", "/app")
        made = build(uploads=paths)

        assert set(paths) <= set(mounts(containers(made)["build"]))
        own = set(mounts(containers(made)["helper"])) - {"/peitho"}
        assert [] == [path for path in own if not path.startswith("/shared/")]

    def test_an_upload_into_the_output_is_one_volume(self) -> None:
        """
        A path is mounted once.
        """
        made = build(uploads=("/chaincode/output",))

        assert {"/peitho", "/chaincode/output"} == set(mounts(containers(made)["build"]))
        assert 2 == len(made["spec"]["volumes"])

    def test_the_probe_uploads_nothing(self) -> None:
        """
        `go version` has the output directory alone.
        """
        made = build(uploads=())

        assert {"/peitho", "/shared/chaincode/output"} == set(mounts(containers(made)["helper"]))

    def test_a_builds_token_is_in_its_secret_alone(self) -> None:
        """
        The helper is given a reference to it, and to Peitho's CA; the builder nothing at all.
        """
        made = build()

        assert BUILD_TOKEN not in json.dumps(made)
        assert "PEITHO" not in json.dumps(containers(made)["build"])
        for name, key in (("PEITHO_TOKEN", "token"), ("PEITHO_CA", "ca.crt")):
            reference = {"secretKeyRef": {"name": made["metadata"]["name"], "key": key}}
            assert {"name": name, "valueFrom": reference} in containers(made)["helper"]["env"]

    def test_a_build_ends_at_its_deadline_and_goes_with_its_secret(self) -> None:
        """
        The cluster sees to both.
        """
        made = build()

        assert 900 == made["spec"]["activeDeadlineSeconds"]
        assert "u-2" == made["metadata"]["ownerReferences"][0]["uid"]
        assert f"build-{ID[:12]}" == made["metadata"]["name"] == names.build_name(ID)
        assert "build" == made["metadata"]["labels"]["peitho/kind"]
        assert IMAGE.runtime not in json.dumps(made)
