"""Files that something was made from, as they were then: what tells whether it is still up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unetseg.storage import file_hash, local_copy, state, text_hash

__all__ = ["SourceFile", "describe_file", "hashes", "same_files"]


@dataclass(frozen=True)
class SourceFile:
    """One file, or folder that is one image, as it was: size in bytes, time of change in nanoseconds, content."""

    path: str
    size: int
    modified: int
    sha256: str


def describe_file(path: Path) -> SourceFile:
    """What a file is now; reads it once, however many pages of it are asked for.

    A folder that is one image (``x.zarr``) is as large as its files together; its time is a number made of theirs. What
    ``modified`` means in an object store: see `unetseg.storage.state`.

    Raises:
        FileNotFoundError: it is gone.
    """
    size, modified = state(path)
    return SourceFile(str(path), size, modified, _hash(path, size, modified))


@lru_cache(maxsize=4096)
def _hash(path: Path, size: int, modified: int) -> str:
    """The content of a file as it is at that size and time; ``size`` and ``modified`` only tell versions apart."""
    with local_copy(path) as local:
        return file_hash(local) if local.is_file() else _folder_hash(local)


def _folder_hash(folder: Path) -> str:
    """Hash of the names and contents of all files in a folder."""
    names = sorted(item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file())
    return text_hash([[name, file_hash(folder / name)] for name in names])


def same_files(known: Sequence[SourceFile], paths: Sequence[Path]) -> bool:
    """Whether size and time of change are as they were: the cheap look that spares reading."""
    if [source.path for source in known] != [str(path) for path in paths]:
        return False
    return [(source.size, source.modified) for source in known] == [state(path) for path in paths]


def hashes(sources: Sequence[SourceFile]) -> list[str]:
    """Their contents."""
    return [source.sha256 for source in sources]
