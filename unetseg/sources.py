"""Files that something was made from, as they were then: what tells whether it is still up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unetseg.storage import file_hash

__all__ = ["SourceFile", "describe_file", "hashes", "same_files"]


@dataclass(frozen=True)
class SourceFile:
    """One file as it was: its size in bytes, time of change in nanoseconds, and content."""

    path: str
    size: int
    modified: int
    sha256: str


def describe_file(path: Path) -> SourceFile:
    """What a file is now; reads it once, however many pages of it are asked for."""
    status = path.stat()
    return SourceFile(str(path), status.st_size, status.st_mtime_ns, _hash(path, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4096)
def _hash(path: Path, size: int, modified: int) -> str:
    """The content of a file as it is at that size and time; ``size`` and ``modified`` only tell versions apart."""
    return file_hash(path)


def same_files(known: Sequence[SourceFile], paths: Sequence[Path]) -> bool:
    """Whether size and time of change are as they were: the cheap look that spares reading."""
    if [source.path for source in known] != [str(path) for path in paths]:
        return False
    now = [path.stat() for path in paths]
    return all(
        source.size == status.st_size and source.modified == status.st_mtime_ns
        for source, status in zip(known, now, strict=True)
    )


def hashes(sources: Sequence[SourceFile]) -> list[str]:
    """Their contents."""
    return [source.sha256 for source in sources]
