from peitho.rehearsal.generations import BY_NAME, GENERATIONS


def test_generations_are_found_by_their_names() -> None:
    """
    They are in the order of their age.
    """
    assert ["1.4", "2.5", "3.1"] == list(BY_NAME) == [each.name for each in GENERATIONS]
