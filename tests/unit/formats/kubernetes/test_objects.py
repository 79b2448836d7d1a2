from peitho.formats.kubernetes.objects import ObjectReference


def test_a_reference_is_an_owner() -> None:
    """
    As `metadata.ownerReferences` has it: without the uid, another object would own it later.
    """
    owner = ObjectReference("v1", "Secret", "cc-a", "uid-1").owner()

    assert {"apiVersion": "v1", "kind": "Secret", "name": "cc-a", "uid": "uid-1"} == owner
