"""Where a prediction keeps what is not finished: bands of large scans, pages of stacks.

Beside local outputs that is ``OUT/.unfinished``. Outputs in an object store need a folder of a disk, since bands are
written into one array, and folders are renamed; each OUT has one of its own, so that the same command finds it again.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from unetseg.errors import UsageError
from unetseg.storage import is_remote, locate, remove, text_hash

__all__ = ["claim_folder", "is_shared", "keep_only", "scratch_folder"]

_DIGITS = 16  # of a hash


def scratch_folder(out: Path, scratch: str) -> Path:
    """The folder for what is unfinished; it is not made here.

    Args:
        out: folder of the outputs.
        scratch: folder for those in an object store; empty: that of the system for temporary files.

    Raises:
        UsageError: the folder is in an object store itself.
    """
    if not is_remote(out):
        return out / ".unfinished"
    base = locate(scratch or tempfile.gettempdir())
    if is_remote(base):
        raise UsageError(f"predict.scratch: must be a folder on a disk, found {scratch}; name one, or leave it empty")
    return base / f"unetseg-{text_hash(str(out), _user())[:_DIGITS]}"


def is_shared(out: Path, scratch: str) -> bool:
    """Whether all workers see the folder: beside the outputs they do, and where one is named it is meant so."""
    return bool(scratch) or not is_remote(out)


def claim_folder(folder: Path) -> None:
    """Make the folder, for this user alone.

    Raises:
        UsageError: another user has made it, who could change what becomes our outputs.
    """
    if folder.exists():
        owner = folder.stat().st_uid
        if owner != _user():
            raise UsageError(f"{folder}: belongs to user {owner}; name a folder of your own with predict.scratch")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def keep_only(folder: Path) -> None:
    """Remove what lies beside a folder: parts of the same scan that were begun with something else."""
    others = [path for path in folder.parent.iterdir() if path != folder] if folder.parent.exists() else []
    for path in others:
        remove(path)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0  # Windows tells 0 of every file too
