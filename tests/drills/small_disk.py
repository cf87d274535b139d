"""A disk that fills up when it is told to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOMY = 256 << 20  # bytes


class Disk:
    """A file system in memory, whose size can be changed."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        mount("-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", str(folder))

    def resize(self, size: int) -> None:
        mount("-o", f"remount,size={size}", str(self.folder))

    def used(self) -> int:
        return 1024 * int(
            subprocess.run(["du", "-sk", str(self.folder)], capture_output=True, check=True).stdout.split()[0]
        )

    def remove(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=False)


def mount(*arguments: str) -> None:
    found = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no small disk can be mounted here: {found.stderr.strip()}")
