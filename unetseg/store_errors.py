"""Errors of object stores in the words of an operating system, with the address that they are about."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from unetseg.errors import BadFileError

__all__ = ["naming", "reaching"]


@contextmanager
def reaching(path: Path) -> Iterator[None]:
    """Errors of a store as those of an operating system, with the address.

    Raises:
        FileNotFoundError: nothing is there.
        PermissionError: the store refuses.
        ConnectionError: it cannot be asked.
        OSError: something else went wrong.
    """
    try:
        yield
    except (FileExistsError, BadFileError):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"{error.strerror or error}; check the credentials", str(path)) from error
    except OSError as error:
        way_out = f"; free some in {gettempdir()}, or set TMPDIR" if error.errno == errno.ENOSPC else ""
        raise OSError(error.errno or errno.EIO, f"{error.strerror or error}{way_out}", str(path)) from error
    except Exception as error:  # clients have types of their own for a wrong endpoint or missing credentials
        way_out = "check the address and the network, and for s3:// AWS_ENDPOINT_URL and the credentials"
        raise ConnectionError(errno.ECONNABORTED, f"{error}; {way_out}", str(path)) from error


@contextmanager
def naming(path: Path, copy: Path) -> Iterator[None]:
    """Put a path in place of its copy in the text of errors."""
    try:
        yield
    except Exception as error:
        texts = (item.replace(str(copy), str(path)) if isinstance(item, str) else item for item in error.args)
        error.args = tuple(texts)
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = error.filename.replace(str(copy), str(path))
        raise
