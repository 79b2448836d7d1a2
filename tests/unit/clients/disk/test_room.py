import errno
import os

import pytest

from peitho.clients.disk.room import room
from peitho.errors import StorageFull, StorageUnusable


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EIO, StorageUnusable),
        (errno.EROFS, StorageUnusable),
        (errno.EMFILE, StorageUnusable),
        (errno.ENFILE, StorageUnusable),
        (errno.EUCLEAN, StorageUnusable),
        (errno.ECONNRESET, OSError),
    ],
)
def test_an_error_is_told_by_what_it_means(number: int, expected: type[Exception]) -> None:
    """
    With the file, or the cause; what is of no disk stays as it was.
    """
    with pytest.raises(expected, match=f"layer|{os.strerror(number)}") as caught, room():
        raise OSError(number, os.strerror(number), "layer")

    assert expected is type(caught.value) or expected is OSError
