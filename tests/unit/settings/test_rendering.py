from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from peitho.settings import rendering

TREE = {
    "dataDir": "/var/lib/peitho",
    "k8s": {"namespace": "fabric", "dns": ["10.0.0.1:a", "10.0.0.2:b"], "kubeconfig": None},
    "builder": {"users": {}, "resources": {"cpuLimit": ""}},
    "chaincode": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}},
}
COMMENTS = {
    ("dataDir",): "default",
    ("k8s", "namespace"): "file",
    ("k8s", "dns"): "PEITHO_K8S_DNS",
    ("k8s", "kubeconfig"): "default",
    ("builder", "users"): "default",
    ("builder", "resources", "cpuLimit"): "default",
    ("chaincode", "template"): "file",
}
RENDERED = """\
dataDir: /var/lib/peitho  # default
k8s:
  namespace: fabric  # file
  dns:  # PEITHO_K8S_DNS
    - 10.0.0.1:a
    - 10.0.0.2:b
  kubeconfig: null  # default
builder:
  users: {}  # default
  resources:
    cpuLimit: ''  # default
chaincode:
  template:  # file
    spec:
      nodeSelector:
        disk: ssd
"""

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = words | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
trees = st.dictionaries(
    words,
    st.recursive(
        scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(words, each, max_size=3)
    ),
    max_size=4,
)


def test_each_line_says_where_it_came_from() -> None:
    """
    A section has no comment, a list or a map has one for all of it.
    """
    assert RENDERED == rendering.render(TREE, COMMENTS)


@given(trees, st.booleans())
def test_comments_change_nothing(tree: dict[str, Any], commented: bool) -> None:  # noqa: FBT001
    """
    Whatever the keys and values are, a reader of YAML sees the same tree.
    """
    comments: dict[tuple[str, ...], str] = {(key,): "file" for key in tree} if commented else {}

    assert tree == yaml.safe_load(rendering.render(tree, comments) or "{}")
