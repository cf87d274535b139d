"""Local disks: what `unetseg.storage` does with the paths of this machine."""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path, PurePath
from stat import S_ISDIR
from typing import IO

__all__ = [
    "add_folder",
    "find",
    "leftovers",
    "listing_version",
    "local_copy",
    "locked",
    "modified",
    "place_folder",
    "read_bytes",
    "refresh",
    "remove",
    "state",
    "update_bytes",
    "write_bytes",
    "write_file",
    "write_folder",
    "zarr_store",
]

logger = logging.getLogger(__name__)

_TEMPORARY = ".tmp-"
_CLOCK_TICK = 2_000_000_000  # nanoseconds: the coarsest that file systems use


def find(root: Path, pattern: str, *, strict: bool = False) -> Iterable[Path]:
    """What a pattern means below a folder; `Path.glob`, which is not strict, passes over what it may not read."""
    return _find_strictly(root, PurePath(pattern).parts) if strict else root.glob(pattern)


def _find_strictly(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """What the parts of a pattern mean, one below the other; at most one of them is ``**``, and not the last one.

    Raises:
        OSError: a folder on the way may not be listed.
    """
    deep = parts[0] == "**"
    name, *below = parts[1:] if deep else parts
    for item in _listed(folder):
        path = folder / item.name
        if fnmatch(item.name, name):
            if not below:
                yield path
            elif item.is_dir():
                yield from _find_strictly(path, below)
        if deep and item.is_dir(follow_symlinks=False):
            yield from _find_strictly(path, parts)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """All that is in a folder; one that is not there, or not any more, is empty."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []


def refresh(folder: Path) -> None:
    """Nothing is remembered of local folders."""


def listing_version(folder: Path) -> int | None:
    """When the folder was changed; None where that was just now, since it may change again within a tick."""
    changed = folder.stat().st_mtime_ns
    return changed if time.time_ns() - changed > _CLOCK_TICK else None


def modified(path: Path) -> int:
    """When a file was changed, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds; of a folder, of its files, and a number made of their times."""
    status = path.stat()
    if not S_ISDIR(status.st_mode):
        return status.st_size, status.st_mtime_ns
    inside = {item.relative_to(path).as_posix(): item.stat() for item in path.rglob("*") if item.is_file()}
    size = sum(item.st_size for item in inside.values())
    # Not the newest time: a file may be replaced by one that is older.
    told = [(name, item.st_size, item.st_mtime_ns) for name, item in sorted(inside.items())]
    return size, int.from_bytes(sha256(repr(told).encode(errors="backslashreplace")).digest()[:7])


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The path itself."""
    yield path


def zarr_store(path: Path) -> Path:
    """The path itself."""
    return path


def read_bytes(path: Path) -> bytes:
    """The content of a file."""
    return path.read_bytes()


def write_bytes(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Replace a file by a rename; if flush, when the disk has all of it."""
    with _replacing(path, flush=flush) as temporary:
        try:
            temporary.write_bytes(data)
        except FileNotFoundError:  # asked for only then: of many small files it would be a good part of the time
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)


@contextmanager
def write_file(path: Path) -> Iterator[Path]:
    """Fill a file beside ``path``, which takes its place by a rename when the disk has all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path, flush=True) as temporary:
        yield temporary


@contextmanager
def _replacing(path: Path, *, flush: bool) -> Iterator[Path]:
    temporary = _temporary_name(path)
    try:
        yield temporary
        if flush:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def update_bytes(path: Path, change: Callable[[bytes | None], bytes | None]) -> None:
    """Read, change and replace a file while its folder is locked."""
    with locked(path.parent):
        new = change(path.read_bytes() if path.exists() else None)
        if new is not None:
            write_bytes(path, new)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside ``path``, which takes its place by a rename."""
    with _temporary_folder(path) as temporary:
        yield temporary
        _take_place(temporary, path)


def place_folder(folder: Path, path: Path) -> None:
    """Rename a folder, over another where there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _take_place(folder, path)


def add_folder(parent: Path, fill: Callable[[Path], None], names: Iterable[str]) -> Path:
    """Fill a folder in ``parent``, and rename it to the first free name; only for that the parent is locked."""
    with _temporary_folder(parent / "new") as temporary:
        fill(temporary)
        with locked(parent):
            path = next(parent / name for name in names if not (parent / name).exists())
            temporary.rename(path)
    return path


def remove(path: Path) -> None:
    """Remove a file, or rename a folder away and then remove it."""
    if path.is_file():
        path.unlink()
        return
    aside = _temporary_name(path)
    path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)  # what stays is a leftover, which the next cleaning finds


def leftovers(folder: Path, *, seconds: float, deep: bool = True) -> list[Path]:
    """Temporary files and folders in a folder, and in those below it, that are older than that."""
    found = [*folder.glob(f"{_TEMPORARY}*"), *(folder.glob(f"*/{_TEMPORARY}*") if deep else ())]
    return sorted(path for path in found if time.time() - _last_touched(path) > seconds)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an advisory lock; a process that dies lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        _wait_for(file)
        yield


def _wait_for(file: IO[str]) -> None:
    """Take an advisory lock, where the system has them."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs on one project are then the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("waiting for another run on %s to end", Path(file.name).parent)
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path``, which is to be renamed; gone where that fails."""
    temporary = _temporary_name(path)
    try:
        temporary.mkdir()
    except FileNotFoundError:
        temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _last_touched(path: Path) -> float:
    """The newest time of change of a file, or of a folder and all in it, in seconds."""
    return max(item.stat().st_mtime for item in [path, *path.rglob("*")])


def _take_place(temporary: Path, path: Path) -> None:
    """Rename a folder over another; where that fails the old one is back."""
    if not path.exists():
        temporary.rename(path)
        return
    # A rename cannot replace a folder that holds files: step the old one aside first.
    aside = _temporary_name(path)
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _temporary_name(path: Path) -> Path:
    """A name beside ``path`` (same disk, so that a rename is atomic) that listings skip."""
    return path.with_name(f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}")
