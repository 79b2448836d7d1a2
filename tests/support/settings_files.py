"""Settings read from the text of a file, as tests write it."""

from pathlib import Path
from typing import Any

import pytest

from peitho.settings import loading
from peitho.settings.loading import SettingsError
from peitho.settings.models import Settings

KUBECONFIG = "/etc/kube/config"
GO_FILE = """\
sweeper:
  enable: true
  interval: 5
peitho:
  imageMode: delivery
  pullerAccessAddress: 10.0.0.5:8081
  pullerImage: peitho:v1
k8s:
  kubeconfig: /etc/kube/config
  namespace: fabric
  dns:
    - 10.0.0.1:peer0.org1.example.com
    - "[fd00::1]:peer1"
docker:
  endpoint: unix:///host/var/run/docker.sock
  registry:
    server-address: 10.0.0.9:8099
    project: chaincode
    email: someone@example.com
    username: admin
    password: 12345
log:
  name: peitho
  development: true
  level: debug
  format: console
  enable-color: true
  disable-caller: true
  disable-stacktrace: true
"""


def load(
    tmp_path: Path,
    text: str = "",
    flags: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> Settings:
    """Settings of a file's text, these variables, and these flags; a kubeconfig is there."""
    path, kubeconfig = tmp_path / "peitho.yml", tmp_path / "kubeconfig"
    path.write_text(text.replace(KUBECONFIG, str(kubeconfig)))
    kubeconfig.touch()
    return loading.load(path, environment or {}, flags).settings


def problems(tmp_path: Path, text: str = "", **environment: str) -> list[str]:
    """What is wrong with a file's text and these variables."""
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text, environment=environment)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems
