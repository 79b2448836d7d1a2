import base64
import dataclasses
import json

from peitho.formats.kubernetes import (
    chaincode_job,
)
from peitho.formats.records import HostConfig
from tests.support import typed
from tests.support.expansion import expand
from tests.support.manifests import (
    CRT,
    IMAGE,
    KEY,
    SETTINGS,
    SPEC,
    TOKEN,
    job,
    mounts,
    pod_of,
    record,
    variables,
    with_files,
)
from tests.support.restricted import violations

WHOLE = f"x.io/chaincode/mycc@sha256:{'0a' * 32}"


class TestFiles:
    def test_files_are_mounted_one_by_one_where_the_peer_put_them(self) -> None:
        """
        What the image has beside them stays visible; nobody can write to them.
        """
        secret = with_files(record(), {KEY: b"key", CRT: b"crt"})
        keys = typed.record(secret).files

        pod = pod_of(job(secret))

        assert [
            {"name": "files", "mountPath": path, "subPath": keys[path], "readOnly": True}
            for path in (CRT, KEY)
        ] == [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "files"]
        (volume,) = [each["secret"] for each in pod["volumes"] if each["name"] == "files"]
        assert secret["metadata"]["name"] == volume["secretName"]
        assert set(keys.values()) == {item["key"] for item in volume["items"]}
        assert all(item["key"] == item["path"] for item in volume["items"])

    def test_files_have_the_modes_that_they_were_uploaded_with(self) -> None:
        """
        Their permissions alone; one of a record from before modes were noted can be read.
        """
        secret = with_files(record(), {KEY: b"key", CRT: b"crt"}, {KEY: 0o104600})

        (volume,) = [each for each in pod_of(job(secret))["volumes"] if each["name"] == "files"]

        keys = typed.record(secret).files
        modes = {each["key"]: each["mode"] for each in volume["secret"]["items"]}
        assert {keys[KEY]: 0o600, keys[CRT]: 0o444} == modes

    def test_without_files_there_is_no_volume_of_them(self) -> None:
        """
        A Secret with no items would be mounted whole, the token included.
        """
        assert ["layer"] == [volume["name"] for volume in pod_of(job(record()))["volumes"]]


class TestWhoRunsIt:
    def test_it_is_whom_the_settings_name_for_the_image(self) -> None:
        """
        None where OpenShift chooses.
        """
        options = dataclasses.replace(SETTINGS, users={"*javaenv*": 0, "*nodeenv*": None})

        assert [SETTINGS.user, 0, None] == [
            chaincode_job.runs_as(f"fabric-{name}:2.5", options)
            for name in ("baseos", "javaenv", "nodeenv")
        ]

    def test_a_template_has_the_last_word(self) -> None:
        """
        For the container before the Pod; one that a launch refuses says nothing.
        """
        of_pod = {"securityContext": {"runAsUser": 7}}
        of_container = {"containers": [{"name": "chaincode", "securityContext": {"runAsUser": 8}}]}
        refused = {"restartPolicy": "Always", "securityContext": {"runAsUser": 9}}

        assert [7, 8, SETTINGS.user] == [
            chaincode_job.runs_as("any", dataclasses.replace(SETTINGS, template={"spec": spec}))
            for spec in (of_pod, of_pod | of_container, refused)
        ]


class TestTheJob:
    def test_a_process_that_ends_is_not_started_again(self) -> None:
        """
        Neither by the kubelet nor by the Job.
        """
        made = job(record())

        assert 0 == made["spec"]["backoffLimit"]
        assert "Never" == pod_of(made)["restartPolicy"]
        assert 1 == pod_of(made)["terminationGracePeriodSeconds"]

    def test_a_job_belongs_to_its_secret_and_is_found_by_its_labels(self) -> None:
        """
        Removing the Secret removes all.
        """
        secret = record()
        made = job(secret)

        (owner,) = made["metadata"]["ownerReferences"]
        assert ("v1", "Secret", secret["metadata"]["name"], "u-1") == (
            owner["apiVersion"],
            owner["kind"],
            owner["name"],
            owner["uid"],
        )
        assert secret["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]

    def test_secrets_are_nowhere_but_in_the_secret(self) -> None:
        """
        Neither the token nor a file's content is in metadata or Job.
        """
        secret = with_files(record(), {KEY: b"-----BEGIN PRIVATE KEY-----"})

        shown = json.dumps([secret["metadata"], job(secret)])

        for hidden in (TOKEN, "PRIVATE KEY"):
            assert hidden not in shown
            assert base64.b64encode(hidden.encode()).decode()[:12] not in shown
        assert TOKEN == base64.b64decode(secret["data"]["token"]).decode()

    def test_the_puller_gets_its_token_and_the_ca_from_the_secret(self) -> None:
        """
        It is told where, what, with what right, and how to know Peitho.
        """
        (puller,) = pod_of(job(record()))["initContainers"]
        env = {each["name"]: each.get("value") or each["valueFrom"] for each in puller["env"]}

        assert "peitho:1" == puller["image"]
        assert "https://peitho:8081" == env["PEITHO_URL"]
        assert IMAGE.layer == env["PEITHO_BLOB"]
        secret = record()["metadata"]["name"]
        for variable, key in (("PEITHO_TOKEN", "token"), ("PEITHO_CA", "ca.crt")):
            assert {"secretKeyRef": {"name": secret, "key": key}} == env[variable]
        assert f"{puller['volumeMounts'][0]['mountPath']}/whole" == env["PEITHO_TARGET"]

    def test_the_process_sees_what_the_peer_wrote(self) -> None:
        """
        Kubernetes' expansion gives back every `$`; nothing is added to or lost from a value.
        """
        command = ("sh", "-c", "echo $(HOME) $$ ${X} $")
        spec = dataclasses.replace(SPEC, command=command, entrypoint=("/e$(HOME)",))

        secret = record(spec)
        (main,) = pod_of(job(secret))["containers"]

        values = {"HOME": "expanded"}
        assert command == tuple(expand(word, values) for word in main["args"])
        assert ["/e$(HOME)"] == [expand(word, values) for word in main["command"]]
        env = variables(main, secret)
        assert "%{color}$(HOME) $$ $" == env["CORE_CHAINCODE_LOGGING_FORMAT"]
        assert "2.5.16" == env["CORE_CHAINCODE_BUILDLEVEL"]

    def test_without_an_entrypoint_the_images_own_is_used(self) -> None:
        """
        Docker's Cmd is `args`, and `command` is left out.
        """
        (main,) = pod_of(job(record()))["containers"]

        assert "command" not in main
        assert "workingDir" not in main
        assert IMAGE.runtime == main["image"]

    def test_a_peers_variable_wins_over_the_images(self) -> None:
        """
        A name is there once, as Kubernetes wants it; one without a value is left out.
        """
        spec = dataclasses.replace(SPEC, env=("CORE_CHAINCODE_BUILDLEVEL=x", "A=1", "A=2", "B"))

        secret = record(spec)
        (main,) = pod_of(job(secret))["containers"]

        own = {k: v for k, v in variables(main, secret).items() if not k.startswith("KUBERNETES_")}
        assert {"CORE_CHAINCODE_BUILDLEVEL": "x", "A": "2"} == own
        assert len(own) + 8 == len(main["env"])

    def test_no_variable_of_a_peer_is_in_the_job(self) -> None:
        """
        Its value is in the Secret alone; a record of before has it with the rest, and works on.
        """
        spec = dataclasses.replace(SPEC, env=("KEY=planted=1", "EMPTY=", "KEY=planted=2", "NONE"))
        secret = record(spec)
        old = json.loads(base64.b64decode(secret["data"]["container.json"]))
        old |= {"env": list(spec.env)}
        del old["variables"]
        before = secret | {
            "data": {
                "container.json": base64.b64encode(json.dumps(old).encode()).decode(),
                "token": secret["data"]["token"],
            }
        }

        assert "planted" not in json.dumps(job(secret))
        for kept in (secret, before):
            (main,) = pod_of(job(kept))["containers"]
            found = variables(main, kept)
            assert ("planted=2", "") == (found["KEY"], found["EMPTY"])
            assert "NONE" not in found
            assert spec.env == typed.record(kept).spec.env

    def test_the_kubelets_variables_are_empty(self) -> None:
        """
        A daemon's container has none; a peer's own counts.
        """
        spec = dataclasses.replace(SPEC, env=("KUBERNETES_SERVICE_HOST=mine",))

        secret = record(spec)
        (main,) = pod_of(job(secret))["containers"]

        found = variables(main, secret)
        own = {name: value for name, value in found.items() if name.startswith("KUBERNETES_")}
        assert 8 == len(own)
        assert {"", "mine"} == set(own.values())
        assert "mine" == own["KUBERNETES_SERVICE_HOST"]

    def test_node_chaincode_has_a_cache_it_can_write(self) -> None:
        """
        Under a user without a home npm fails on `/.npm`; the peer may say otherwise.
        """
        image = dataclasses.replace(IMAGE, labels={"org.hyperledger.fabric.chaincode.type": "NODE"})

        (main,) = pod_of(job(record(), image))["containers"]

        assert {"name": "npm_config_cache", "value": "/tmp/.npm"} in main["env"]

    def test_a_pod_runs_on_the_architecture_of_its_build(self) -> None:
        """
        Where that is not known, any node will do.
        """
        unknown = dataclasses.replace(IMAGE, architecture="")

        assert {"kubernetes.io/arch": "arm64"} == pod_of(job(record()))["nodeSelector"]
        assert "nodeSelector" not in pod_of(job(record(), unknown))


def test_the_peers_shared_memory_is_a_volume_in_memory() -> None:
    """
    Where Docker has it, and as large; without it, the runtime's own is left.
    """
    spec = dataclasses.replace(SPEC, host=HostConfig(shm_bytes=2**27))

    pod = pod_of(job(record(spec)))

    assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
    assert {
        "name": "shm",
        "emptyDir": {"medium": "Memory", "sizeLimit": str(2**27)},
    } in pod["volumes"]
    assert [] == violations(pod)
    assert "shm" not in json.dumps(pod_of(job(record())))


class TestThePullerBeside:
    BESIDE = dataclasses.replace(SETTINGS, puller_beside=True)

    def test_it_is_the_container_before_chaincode(self) -> None:
        """
        The kubelet waits for its `postStart` before it makes the next; all else is as before.
        """
        before, pod = pod_of(job(record())), pod_of(job(record(), settings=self.BESIDE))

        puller, main = pod["containers"]
        assert ("puller", "chaincode") == (puller["name"], main["name"])
        assert "initContainers" not in pod
        assert before["containers"] == [main]
        wait = puller.pop("lifecycle")["postStart"]["exec"]["command"]
        env = {each["name"]: each.get("value") for each in puller["env"]}
        assert str(env["PEITHO_WORD"]) in wait[-1]
        del puller["env"][-1]
        assert before["initContainers"] == [puller]
        assert [] == violations(pod_of(job(record(), settings=self.BESIDE)))

    def test_a_templates_containers_stay_where_they_are(self) -> None:
        """
        Sidecars before it, those that start earlier too, and resources that it was given.
        """
        template = {
            "spec": {
                "initContainers": [
                    {"name": "proxy", "image": "p", "restartPolicy": "Always"},
                    {"name": "puller", "resources": {"limits": {"cpu": "2"}}},
                ],
                "containers": [{"name": "chaincode", "stdin": True}, {"name": "extra"}],
            }
        }
        settings = dataclasses.replace(self.BESIDE, template=template)

        pod = pod_of(job(record(), settings=settings))

        assert ["proxy"] == [each["name"] for each in pod["initContainers"]]
        assert ["puller", "chaincode", "extra"] == [each["name"] for each in pod["containers"]]
        assert {"cpu": "2"} == pod["containers"][0]["resources"]["limits"]

    def test_it_comes_before_what_a_template_has_run_after_it(self) -> None:
        """
        An init container that works on the layer finds it.
        """
        template = {"spec": {"initContainers": [{"name": "puller"}, {"name": "own", "image": "o"}]}}
        settings = dataclasses.replace(self.BESIDE, template=template)

        pod = pod_of(job(record(), settings=settings))

        assert ["puller", "own"] == [each["name"] for each in pod["initContainers"]]
        assert ["chaincode"] == [each["name"] for each in pod["containers"]]


def test_an_image_of_a_registry_runs_by_itself() -> None:
    """
    By its digest; nothing is fetched, and nothing mounted over what is in it.
    """
    secret = with_files(record(), {"/etc/hyperledger/fabric/client.key": b"key"})
    pod = pod_of(
        chaincode_job.manifest(typed.record(secret), IMAGE, options=SETTINGS, reference=WHOLE)
    )

    (main,) = pod["containers"]
    assert WHOLE == main["image"]
    assert "initContainers" not in pod
    assert ["files"] == [each["name"] for each in pod["volumes"]]
    assert {"/etc/hyperledger/fabric/client.key": "files"} == mounts(main)
    assert [] == violations(pod)

    bare = pod_of(
        chaincode_job.manifest(typed.record(record()), IMAGE, options=SETTINGS, reference=WHOLE)
    )
    assert [] == bare["volumes"] == bare["containers"][0]["volumeMounts"]


def test_a_prebuilt_image_runs_by_its_own_entry_point() -> None:
    """
    By exactly its digest, with the peer's variables, address and files, and nothing else mounted.
    """
    prebuilt = "registry.example/org/asset@sha256:" + "cd" * 32
    image = dataclasses.replace(IMAGE, prebuilt=prebuilt)
    secret = with_files(record(), {KEY: b"key"})

    for made in (
        job(secret, image),
        chaincode_job.manifest(typed.record(secret), image, options=SETTINGS, reference="other"),
    ):
        pod = pod_of(made)
        (main,) = pod["containers"]
        assert prebuilt == main["image"]
        assert not {"command", "args", "workingDir"} & main.keys()
        assert not {"initContainers", "nodeSelector"} & pod.keys()
        assert [KEY] == [each["mountPath"] for each in main["volumeMounts"]]
        env = variables(main, secret)
        assert "172.17.0.1:7052" == env["CORE_PEER_ADDRESS"]
        assert env["CORE_CHAINCODE_ID_NAME"].startswith("mycc_1:")
        assert "Org1MSP" == env["CORE_PEER_LOCALMSPID"]
        assert "CORE_CHAINCODE_BUILDLEVEL" not in env
        assert len(env) == len(main["env"])
        assert [] == violations(pod)


def test_a_prebuilt_image_is_rewritten_and_has_its_own_user() -> None:
    """
    As any other image that nodes pull.
    """
    prebuilt = "registry.example/org/asset@sha256:" + "cd" * 32
    options = dataclasses.replace(
        SETTINGS, users={"registry.example/*": 7}, rewrite={"registry.example/*": "mirror.local/*"}
    )

    pod = pod_of(job(record(), dataclasses.replace(IMAGE, prebuilt=prebuilt), options))

    assert prebuilt.replace("registry.example", "mirror.local") == pod["containers"][0]["image"]
    assert 7 == pod["securityContext"]["runAsUser"]
