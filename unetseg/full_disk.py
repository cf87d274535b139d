"""A disk that is full or cannot be written: say which one, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unetseg.storage import is_disk_error

__all__ = ["disk_errors_name"]

_CURES = {
    errno.ENOSPC: "make space there",
    errno.EDQUOT: "make space there, or have the quota raised",
    errno.EROFS: "make it writable",
}


@contextmanager
def disk_errors_name(folder: Path) -> Iterator[None]:
    """Let errors of the disk name the folder of the outputs, and the way out; what else is raised is left alone.

    Args:
        folder: of the outputs; named where the error does not tell of a place outside.

    Raises:
        OSError: with the number of the error within.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_error(error):
            raise
        number = int(error.errno or 0)
        message = (
            f"{os.strerror(number)}: {_place(error, folder)}; {_CURES[number]} and run the same command again: "
            "what is done stays, and it goes on from there"
        )
        raise OSError(number, message) from error


def _place(error: OSError, folder: Path) -> str:
    named = str(error.filename or folder)
    return str(folder) if named.startswith(str(folder)) else named
