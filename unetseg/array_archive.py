"""Archives of arrays (``.npz``) that may be damaged or hostile: none is inflated that is larger than it may be."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_arrays"]


def read_arrays(path: Path, most: int) -> dict[str, NDArray[Any]]:
    """All arrays of an archive.

    Args:
        path: of the file.
        most: bytes that all of it may take.

    Raises:
        ValueError: it takes more, or holds what are no plain arrays.
        zipfile.BadZipFile: it is no archive, or cut short.
        OSError: of the disk, and not of what is in the file.
    """
    _check_size(path.stat().st_size, 2 * most)  # stored as it is, with names and headers
    data = BytesIO(path.read_bytes())  # an archive that leads nowhere must not look like a disk that fails
    with zipfile.ZipFile(data) as archive:
        _check_size(sum(item.file_size for item in archive.infolist()), most)
    with np.load(data, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _check_size(nbytes: int, most: int) -> None:
    if nbytes > most:
        raise ValueError(f"{nbytes} bytes, more than {most}")
