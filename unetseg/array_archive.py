"""Archives of arrays (``.npz``) that may be damaged or hostile: none is inflated that is larger than it may be."""

from __future__ import annotations

import zipfile
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
    """
    with zipfile.ZipFile(path) as archive:
        nbytes = sum(item.file_size for item in archive.infolist())
    if nbytes > most:
        raise ValueError(f"{nbytes} bytes, more than {most}")
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
