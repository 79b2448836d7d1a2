"""The certificates of the lab's Kubernetes and daemon, made by openssl, good for a few days."""

from pathlib import Path

from tests.lab.machine import run

_DAYS = "30"
# Who each certificate says its bearer is, in Kubernetes' words (user and group).
_SUBJECTS = {
    "admin": "/O=system:masters/CN=admin",
    "apiserver": "/CN=kube-apiserver",
    "controller-manager": "/CN=system:kube-controller-manager",
    "proxy": "/CN=system:kube-proxy",
    "scheduler": "/CN=system:kube-scheduler",
}


def make(folder: Path, *, host: str, node: str) -> None:
    """The certificates of a Kubernetes, and its service accounts' key; kept if there."""
    if (folder / "sa.pub").exists():
        return
    certificates(folder, host=host, node=node)
    _openssl(folder, "genrsa", "-out", "sa.key", "2048")
    _openssl(folder, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def certificates(folder: Path, *, host: str, node: str) -> None:
    """A CA, and a certificate for each component."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ca = ["-x509", "-subj", "/CN=lab", "-days", _DAYS, "-addext", "keyUsage=critical,keyCertSign"]
    _openssl(folder, "req", *_key("ca"), *ca, "-out", "ca.crt")
    subjects = _SUBJECTS | {"kubelet": f"/O=system:nodes/CN=system:node:{node}"}
    names = (
        f"IP:127.0.0.1,IP:{host},IP:10.96.0.1,DNS:localhost,DNS:{node},DNS:kubernetes.default.svc"
    )
    for name, subject in subjects.items():
        _openssl(folder, "req", *_key(name), "-subj", subject, "-out", f"{name}.csr")
        extensions = folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", _DAYS]
        request = ["-req", "-in", f"{name}.csr", "-extfile", extensions.name]
        _openssl(folder, "x509", *request, *signing, "-out", f"{name}.crt")


def _key(name: str) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    return [*curve, "-nodes", "-keyout", f"{name}.key"]


def _openssl(folder: Path, *words: str) -> None:
    run(["openssl", *words], cwd=folder)
