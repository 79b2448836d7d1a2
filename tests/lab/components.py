"""
The components of the lab's Kubernetes: the command line and the files that each is started with.

All is in one folder, and on ports of its own.
"""

import json
import os
from pathlib import Path

from tests.lab.machine import CACHE

HOST_ADDRESS = "10.88.0.1"
NODE = "peitho-node"
RUN = CACHE / "cluster"
# Where root file systems are mounted: user 0 of a user namespace cannot pass a closed home.
STATE = Path("/run/peitho-lab")
BRIDGE = "peitho0"
API_PORT = 16443
ETCD_URL = "http://127.0.0.1:12379"

COMPONENTS = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)

_ETCD_PEER_URL = "http://127.0.0.1:12380"
_POD_CIDR = "10.88.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"


def commands(binary: Path, runtime: Path) -> dict[str, list[str]]:
    """What starts each component, in order; `binary` is Kubernetes, `runtime` has containerd."""
    pki_folder, node = RUN / "pki", str(binary)
    ca, key = f"{pki_folder}/ca.crt", f"{pki_folder}/ca.key"
    return {
        "etcd": etcd(RUN, ETCD_URL, _ETCD_PEER_URL),
        "containerd": [
            *("env", f"PATH={runtime}:{os.defpath}:/usr/sbin:/sbin"),
            *(f"{runtime}/containerd", "--config", f"{RUN}/containerd.toml"),
        ],
        "kube-apiserver": [
            *api_server(binary, RUN, etcd=ETCD_URL, port=API_PORT, host=HOST_ADDRESS),
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-admission-plugins=NodeRestriction",
            # As everywhere: whether a Pod may be, admission says.
            "--allow-privileged",
            f"--kubelet-client-certificate={pki_folder}/admin.crt",
            f"--kubelet-client-key={pki_folder}/admin.key",
            f"--kubelet-certificate-authority={ca}",
        ],
        "kube-controller-manager": [
            *(node, "kube-controller-manager", "--leader-elect=false"),
            f"--kubeconfig={RUN}/controller-manager.kubeconfig",
            f"--root-ca-file={ca}",
            f"--service-account-private-key-file={pki_folder}/sa.key",
            f"--cluster-signing-cert-file={ca}",
            f"--cluster-signing-key-file={key}",
            "--use-service-account-credentials",
        ],
        "kube-scheduler": [
            *(node, "kube-scheduler", "--leader-elect=false"),
            f"--kubeconfig={RUN}/scheduler.kubeconfig",
        ],
        "kubelet": [
            *(node, "kubelet", f"--config={RUN}/kubelet.json"),
            f"--kubeconfig={RUN}/kubelet.kubeconfig",
            *(f"--hostname-override={NODE}", f"--node-ip={HOST_ADDRESS}"),
            f"--root-dir={RUN}/kubelet",
        ],
        "kube-proxy": [
            *(node, "kube-proxy", f"--kubeconfig={RUN}/proxy.kubeconfig"),
            *(f"--hostname-override={NODE}", f"--cluster-cidr={_POD_CIDR}"),
            # Pods answer each other over the bridge, past the translation, unless it sees bridges.
            *(() if _bridges_filtered() else ("--masquerade-all",)),
            *("--conntrack-max-per-core=0", "--healthz-bind-address=127.0.0.1:10256"),
        ],
    }


def etcd(folder: Path, url: str, peer_url: str) -> list[str]:
    """An etcd with its data in a folder; nothing is synced, since a new one is made at any time."""
    return [
        *("etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync"),
        *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
        f"--listen-peer-urls={peer_url}",
    ]


def api_server(binary: Path, folder: Path, *, etcd: str, port: int, host: str) -> list[str]:
    """An API server with the certificates of a folder."""
    pki_folder = folder / "pki"
    return [
        *(str(binary), "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={port}"),
        f"--advertise-address={host}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={pki_folder}/ca.crt",
        f"--tls-cert-file={pki_folder}/apiserver.crt",
        f"--tls-private-key-file={pki_folder}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki_folder}/sa.pub",
        f"--service-account-signing-key-file={pki_folder}/sa.key",
    ]


def _bridges_filtered() -> bool:
    return Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()


def write_configurations() -> None:
    """The files that the command lines name, and a kubeconfig for each that has an identity."""
    write_kubeconfigs(RUN, API_PORT)
    (RUN / "containerd.toml").write_text(
        f"""version = 2
root = "{RUN}/containerd"
state = "{STATE}"
[grpc]
  address = "{RUN}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{RUN}/cni"
"""
    )
    (RUN / "cni" / "10-bridge.conflist").write_text(
        json.dumps(
            {
                "cniVersion": "0.4.0",
                "name": "peitho",
                "plugins": [
                    {
                        "type": "bridge",
                        "bridge": BRIDGE,
                        "isGateway": True,
                        "hairpinMode": True,
                        "ipam": {
                            "type": "host-local",
                            "ranges": [[{"subnet": _POD_CIDR, "rangeStart": "10.88.1.1"}]],
                            "routes": [{"dst": "0.0.0.0/0"}],
                            "dataDir": str(RUN / "cni-state"),
                        },
                    },
                    {"type": "portmap", "capabilities": {"portMappings": True}},
                ],
            }
        )
    )
    (RUN / "kubelet.json").write_text(
        json.dumps(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": HOST_ADDRESS,
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": f"{RUN}/pki/ca.crt"},
                },
                "authorization": {"mode": "Webhook"},
                "cgroupDriver": "cgroupfs",
                "containerRuntimeEndpoint": f"unix://{RUN}/containerd.sock",
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
                "failCgroupV1": False,
                "failSwapOn": False,
                # A node drops what a container said before; a test reads ten mebibytes of it.
                "containerLogMaxSize": "64Mi",
                "imageGCHighThresholdPercent": 100,
                "maxPods": 250,
                "registerWithTaints": [],
                "resolvConf": "/dev/null",
                "serializeImagePulls": False,
                "tlsCertFile": f"{RUN}/pki/kubelet.crt",
                "tlsPrivateKeyFile": f"{RUN}/pki/kubelet.key",
            }
        )
    )


def write_kubeconfigs(run: Path, port: int) -> None:
    """A kubeconfig for each that has an identity; `kubeconfig` is the administrator's."""
    for user in ("admin", "controller-manager", "scheduler", "proxy", "kubelet"):
        path = run / ("kubeconfig" if user == "admin" else f"{user}.kubeconfig")
        path.write_text(json.dumps(_kubeconfig(user, run / "pki", port)))
        path.chmod(0o600)


def _kubeconfig(user: str, folder: Path, port: int) -> dict[str, object]:
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority": f"{folder}/ca.crt",
    }
    credentials = {
        "client-certificate": f"{folder}/{user}.crt",
        "client-key": f"{folder}/{user}.key",
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }
