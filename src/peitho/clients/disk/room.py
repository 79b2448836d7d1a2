"""What the errors of the data directory mean: it is full, it cannot be used, or neither."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from peitho.errors import StorageFull, StorageUnusable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNUSABLE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ESHUTDOWN, errno.EBADMSG),
    *(errno.EUCLEAN, errno.EMFILE, errno.ENFILE),
    *(errno.EEXIST, errno.ELOOP),  # something else is where a directory should be
)


@contextmanager
def room() -> Iterator[None]:
    """Turn the error of a full disk into StorageFull, and of a lost one into StorageUnusable."""
    try:
        yield
    except OSError as error:
        cause = error.filename or os.strerror(error.errno or 0)
        if error.errno in _FULL:
            raise StorageFull(
                f"The data directory is full ({cause}): nothing was kept; give its volume more room"
            ) from error
        if error.errno in _UNUSABLE:
            raise StorageUnusable(
                f"The data directory cannot be used ({error.strerror}: {cause}): see that its "
                "volume is there and can be written; if it was gone, restart Peitho then"
            ) from error
        raise
