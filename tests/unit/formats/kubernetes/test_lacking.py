import pytest

from peitho.formats.kubernetes import lacking


@pytest.mark.parametrize(
    "words",
    [
        'MountVolume.SetUp failed for volume "v" : configmap "mine" not found',
        'MountVolume.SetUp failed for volume "v" : secret "mine" not found',
        'MountVolume.SetUp failed for volume "v" : references non-existent config key: k',
        'secret "mine" not found',
        "couldn't find key k in ConfigMap ns/mine",
        '0/1 nodes are available: persistentvolumeclaim "mine" not found. not found',
        (
            'pods "job-" is forbidden: error looking up service account ns/mine: '
            'serviceaccount "mine" not found'
        ),
        'pods "job-" is forbidden: no PriorityClass with name mine was found',
        'pods "job-" is forbidden: pod rejected: RuntimeClass "mine" not found',
    ],
)
def test_an_object_that_is_not_there_is_lacking(words: str) -> None:
    """
    As kubelet, scheduler and admission say it.
    """
    assert lacking.lacks_object(words)


@pytest.mark.parametrize(
    "words",
    [
        "Unable to attach or mount volumes: unmounted volumes=[v]: timed out",
        "0/3 nodes are available: 3 Insufficient cpu.",
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        'Multi-Attach error for volume "v": volume is already used by pod(s) other',
        "failed to setup network for sandbox: plugin not found",
    ],
)
def test_what_may_pass_lacks_nothing(words: str) -> None:
    """
    A node, a disk or a network may come.
    """
    assert not lacking.lacks_object(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('Error creating: pods "job-" is forbidden: exceeded quota: q', True),
        (
            'Error creating: pods "job-" is forbidden: violates PodSecurity "restricted"',
            True,
        ),
        ('Error creating: admission webhook "w" denied the request: no', True),
        ('Error creating: Pod "job-" is invalid: spec.containers[0].image: Required value', True),
        ('Error creating: Internal error occurred: failed calling webhook "w": EOF', False),
        ("Error creating: etcdserver: leader changed", False),
        ("Error creating: the server is currently unable to handle the request", False),
    ],
)
def test_a_refusal_stands_and_trouble_may_pass(words: str, *, expected: bool) -> None:
    """
    Of a Pod that a Job's controller brought.
    """
    assert expected is lacking.is_refusal(words)
