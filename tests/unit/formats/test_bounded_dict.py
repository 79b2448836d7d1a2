from peitho.formats.bounded_dict import BoundedDict


def test_the_last_are_remembered() -> None:
    """
    By when they were noted, the last time.
    """
    known: BoundedDict[str, int] = BoundedDict(2)
    for number, key in enumerate(["a", "b", "a", "c"]):
        known[key] = number

    assert [("a", 2), ("c", 3)] == list(known.items())


def test_what_was_taken_out_makes_room() -> None:
    """
    As in any dict.
    """
    known: BoundedDict[str, int] = BoundedDict(1)
    known["a"] = 1
    del known["a"]
    known["b"] = 2

    assert {"b": 2} == known
