"""How much of a disk files take: whole blocks, which for small files is far more than their bytes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from unetseg.storage import is_remote

__all__ = ["Disk", "disk_at"]


@dataclass(frozen=True)
class Disk:
    """A disk, or an object store, where files take what they hold.

    Attributes:
        block: bytes in which files are stored.
        folder: bytes that a folder takes.
        free: bytes; None where nobody knows.
    """

    block: int = 1
    folder: int = 0
    free: int | None = None

    def whole(self, size: int) -> int:
        """Bytes of the disk that a file of a size takes."""
        return -(-size // self.block) * self.block

    def taken(self, path: Path) -> int:
        """Bytes of the disk that a local file, or a folder with all in it, takes here."""
        if not path.is_dir():
            return self.whole(path.stat().st_size)
        return self.folder + sum(self.taken(item) for item in path.iterdir())


def disk_at(path: Path) -> Disk:
    """The disk of a folder that need not be there yet."""
    if is_remote(path):
        return Disk()
    there = next(folder for folder in [path, *path.parents] if folder.exists())
    block = os.statvfs(there).f_frsize if hasattr(os, "statvfs") else 1
    # Some file systems keep small folders among their own data, where they take nothing.
    blocks = getattr(there.stat(), "st_blocks", 0)
    return Disk(block, block if blocks else 0, shutil.disk_usage(there).free)
