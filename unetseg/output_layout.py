"""What an output takes of the disk besides its pixels: files, folders and indices, which follow from its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unetseg.disk_usage import Disk

__all__ = ["Layout", "Part"]


@dataclass(frozen=True)
class Part:
    """Files with pixels that are alike.

    Attributes:
        count: how many they are.
        fixed: bytes of each besides what is marked in it: header, index, and tiles that are blank.
        pixels: of the scan that each stands for, by the levels that it holds: those of all files add up to the pixels
            of a level, H x W, however many classes share a file or have one of their own.
        folders: how many there are that so many of the files share: ``(number, files)``.
        sparse: whether files in which nothing is marked, and folders without files, are left out.
    """

    count: int
    fixed: int
    pixels: Mapping[int, float]
    folders: tuple[tuple[int, int], ...] = ()
    sparse: bool = False


@dataclass(frozen=True)
class Layout:
    """The files of an output.

    Attributes:
        parts: those with pixels.
        folders: how many there always are.
        files: bytes of each of the others.
    """

    parts: tuple[Part, ...]
    folders: int = 0
    files: tuple[int, ...] = field(default=())

    def always(self, disk: Disk) -> int:
        """Bytes of the disk that it takes even where nothing is marked, but for files with pixels."""
        return self.folders * disk.folder + sum(disk.whole(size) for size in self.files)

    def blank(self, disk: Disk) -> int:
        """Bytes of the disk that it takes where nothing is marked."""
        return self.always(disk) + sum(part.count * disk.whole(part.fixed) for part in self.parts if not part.sparse)

    @property
    def fixed(self) -> int:
        """Bytes of all files, all of them there, besides what is marked."""
        return sum(self.files) + sum(part.count * part.fixed for part in self.parts)
