"""The one place that knows where files live and how they are written without ever being half there."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, TypeGuard

from unetseg.errors import DamagedFileError, UsageError

__all__ = [
    "file_hash",
    "is_disk_error",
    "locate",
    "locked",
    "read_json",
    "text_hash",
    "write_bytes",
    "write_folder",
    "write_json",
]

logger = logging.getLogger(__name__)

_HASH_BLOCK = 1 << 20  # bytes read at once


def locate(path: str | Path) -> Path:
    """Turn what a user typed into an absolute path; ``~`` is understood.

    Raises:
        UsageError: for addresses of object stores, which this version does not open.
    """
    if "://" in str(path):
        raise UsageError(f"{path}: only local folders can be used in this version; mount or copy the store first")
    return Path(path).expanduser().absolute()


def read_json(path: Path) -> Any:  # noqa: ANN401 (JSON)
    """The JSON value in a file.

    Raises:
        DamagedFileError: it cannot be read as such.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(
            f"{path}: damaged, not valid JSON ({error}); restore it from a copy, or remove it"
        ) from error


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 (JSON)
    """Replace a JSON file at once; not-a-number becomes ``null`` (strict JSON)."""
    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file at once: readers see the old content or the new, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Fill a temporary folder, which takes the place of ``path`` at the end; on an error nothing changes.

    Raises:
        FileExistsError: something has come to be at ``path``, and ``replace`` is off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists() and not replace:
            raise FileExistsError(f"{path}: is there already, and is never replaced")
        _take_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_disk_error(error: object) -> TypeGuard[OSError]:
    """Whether the disk is full or cannot be written: not the fault of the file that was being made."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process holds the folder, then hold it; a process that dies lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        _wait_for(file)
        yield


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def text_hash(*parts: object) -> str:
    """SHA-256 of some values, each as canonical JSON; the same for equal values, in every run."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


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
    return path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")


def _finite(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not (abs(value) < float("inf")):
        return None
    return value
