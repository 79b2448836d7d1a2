from peitho.formats.kubernetes.objects import ObjectReference, shared


def test_a_reference_is_an_owner() -> None:
    """
    As `metadata.ownerReferences` has it: without the uid, another object would own it later.
    """
    owner = ObjectReference("v1", "Secret", "cc-a", "uid-1").owner()

    assert {"apiVersion": "v1", "kind": "Secret", "name": "cc-a", "uid": "uid-1"} == owner


def test_what_many_say_is_kept_once() -> None:
    """
    Each answer of the API server has a text of its own.
    """
    said = [str(b"fabric-baseos", "ascii") for _ in range(2)]
    assert said[0] is not said[1]

    assert shared(said[0]) is shared(said[1])
