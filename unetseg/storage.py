"""The one place that knows where files live and how they are written without ever being half there.

A path is local or an address of an object store; both have the methods of `pathlib.Path`. What differs beyond that is
here: each function does it as `unetseg.local_disk` or `unetseg.object_store` do, by where its path is.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard
from urllib.request import url2pathname

from unetseg import local_disk
from unetseg.errors import UsageError
from unetseg.words import without_login

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = [
    "add_folder",
    "file_hash",
    "find",
    "is_below",
    "is_disk_error",
    "is_remote",
    "leftovers",
    "listing_version",
    "local_copy",
    "locate",
    "locked",
    "modified",
    "place_folder",
    "read_bytes",
    "refresh",
    "refuse_password",
    "remove",
    "remove_if_there",
    "stands_alone",
    "state",
    "text_hash",
    "update_bytes",
    "write_bytes",
    "write_file",
    "write_folder",
    "zarr_store",
]

_HASH_BLOCK = 1 << 20  # bytes read at once
_LOCAL_ADDRESS = "file://"
_PASSWORD = re.compile(r"://[^/@:]*:(?!\d+/)[^@]*@")  # keys of S3 may hold a slash; digits are a port
_SIGNATURE = re.compile(r"://.*[?&][^=&]*(sig|token|key|secret|password)[^=&]*=", re.IGNORECASE)
_MANGLED = re.compile(r"(s3|gs|gcs|abfs|az|https?):/([^/].*)")  # what pathlib makes of an address


def locate(path: str | Path) -> Path:
    """Turn what a user typed into an absolute path; ``~`` is understood, and so are addresses such as ``s3://bucket/a``.

    Returns:
        A path without ``..``; for an address a `upath.UPath`, which has the same methods.

    Raises:
        UsageError: an address of a store that nobody knows, or whose package is not installed; no path.
    """
    if is_remote(path):
        from unetseg import object_store

        refuse_password(str(path))
        return object_store.locate(str(path))
    text = str(path)
    if not text:
        raise UsageError("a path is empty, perhaps as a variable that is not set; the folder you are in is '.'")
    if text.startswith(_LOCAL_ADDRESS):
        return _without_dots(Path(url2pathname(text.removeprefix(_LOCAL_ADDRESS).removeprefix("localhost"))).absolute())
    if mangled := _MANGLED.fullmatch(text):
        raise UsageError(f"{text}: an address has two slashes; write {mangled[1]}://{mangled[2]}")
    if "\0" in text:
        raise UsageError(f"{text!r}: a path holds no NUL character; remove it")
    try:
        return _without_dots(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise UsageError(f"{text}: whose home folder that is cannot be told; write it out") from error


def _without_dots(path: Path) -> Path:
    """The same place without ``..``, so that one folder has one name, and what lies in what is seen by names.

    Links keep the names that the user knows, but for one before a ``..``: that is the folder above where it leads.
    """
    if ".." not in path.parts:
        return path
    plain, real = os.path.normpath(path), os.path.realpath(path)
    return Path(plain if os.path.realpath(plain) == real else real)


def refuse_password(text: str) -> None:
    """See that no address in a text holds a password or a signature.

    Raises:
        UsageError: it does; the message does not repeat it.
    """
    if _PASSWORD.search(text) or _SIGNATURE.search(text):
        shown = re.sub(r"\?.*", "?***", without_login(text))
        raise UsageError(
            f"{shown}: an address holds no password, which would be stored with runs and shown; set the variables of "
            "the client, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def stands_alone(path: str) -> bool:
    """Whether a text that `locate` takes is an address or an absolute path, so that no folder goes before it."""
    return "://" in path or path.startswith(("~", "file:")) or Path(path).is_absolute()


def is_remote(path: str | Path) -> bool:
    """Whether a path, or a text that `locate` takes, is in an object store."""
    if isinstance(path, str):
        return "://" in path and not path.startswith(_LOCAL_ADDRESS)
    return not isinstance(path, Path)


def is_below(path: Path | str, folder: Path | str) -> bool:
    """Whether a place, as `locate` names it, is a folder or in it; either may be in an object store."""
    return f"{path}/".startswith(f"{folder}/")


def find(root: Path, pattern: str, *, strict: bool = False) -> Iterable[Path]:
    """What a pattern such as ``**/*`` means below a folder, files and folders; the folder's own name is no pattern.

    Args:
        root: the folder; one that is not there is empty.
        pattern: of paths below it.
        strict: whether a local folder that may not be read is an error, rather than empty; in a store it is always one.

    Raises:
        OSError: a folder may not be read, or the store cannot be reached.
    """
    return _place(root).find(root, pattern, strict=strict)


def refresh(folder: Path) -> None:
    """Look again: in an object store, list a folder anew, and answer from that listing until the next call.

    In a process that never calls this, each question is a request: right at any time, but slow for thousands of files.

    Raises:
        OSError: the store cannot be reached, or refuses. That nothing is there is no error.
    """
    _place(folder).refresh(folder)


def listing_version(folder: Path) -> int | None:
    """A number that changes when the files of a folder may have; None where nothing may be remembered of it.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    return _place(folder).listing_version(folder)


def modified(path: Path) -> int:
    """When a file was changed, in nanoseconds; 0 where there is none. Object stores tell whole seconds."""
    return _place(path).modified(path)


def state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds; of a folder, its files together and a number of their times.

    In an object store the time is in seconds, and its nanoseconds are made from entity tags: content that was replaced
    within the same second, by as many bytes, has another time.

    Raises:
        FileNotFoundError: nothing is there.
    """
    return _place(path).state(path)


def local_copy(path: Path) -> AbstractContextManager[Path]:
    """A file or folder on this machine: itself, or a copy of what is in an object store, removed at the end.

    Within, copies of the same path in the same thread are this one. Errors name the path, not the copy.

    Raises:
        FileNotFoundError: nothing is there.
    """
    return _place(path).local_copy(path)


def zarr_store(path: Path) -> Path | Store:
    """What ``zarr.open_array`` and ``zarr.open_group`` take to read what is at a path."""
    return _place(path).zarr_store(path)


def read_bytes(path: Path) -> bytes:
    """The content of a file, as it is now."""
    return _place(path).read_bytes(path)


def write_bytes(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Replace a file at once: readers see the old content or the new, never a part of it.

    Args:
        path: of the file.
        data: its content.
        flush: whether a local disk has all of it before the file has its name, so that a loss of power leaves the old
            content or the new, too; it takes about as long as all else that is done for a small file.
    """
    _place(path).write_bytes(path, data, flush=flush)


def update_bytes(path: Path, change: Callable[[bytes | None], bytes | None]) -> None:
    """Change a file so that, of several processes that do so at once, each builds on what the others left.

    On a local disk the folder is locked meanwhile. In an object store the new content is put only where the old one is
    still there (a conditional put); else all begins again. A store that knows no such condition is told of in the log,
    and is then changed without it.

    Args:
        path: of the file.
        change: makes the new content of the old one, which is None where there is no file; None leaves all as it is.
            Called once for each attempt, so it must do nothing else.

    Raises:
        OSError: others changed it at each of many attempts.
    """
    _place(path).update_bytes(path, change)


def write_folder(path: Path) -> AbstractContextManager[Path]:
    """Fill a temporary folder, which takes the place of ``path`` at the end; on an error nothing changes.

    In an object store the files are put one by one, and the JSON files at the top, which say what the rest is, last.
    """
    return _place(path).write_folder(path)


def write_file(path: Path) -> AbstractContextManager[Path]:
    """Fill a temporary local file, which takes the place of ``path`` at the end; on an error nothing changes.

    For what is too large for `write_bytes`.
    """
    return _place(path).write_file(path)


def place_folder(folder: Path, path: Path) -> None:
    """Move a local folder that is complete to where it belongs; it takes the place of what was there.

    On a local disk by a rename, so both must be on one disk. In an object store as by `write_folder`; the local folder
    is removed then.
    """
    _place(path).place_folder(folder, path)


def add_folder(parent: Path, fill: Callable[[Path], None], names: Iterable[str]) -> Path:
    """Fill a new folder, which appears under the first name that is free; of several processes, each gets its own.

    In an object store the name is taken first, by an object that only one process can make; the files are put then.

    Args:
        parent: where the folder comes to be.
        fill: writes the files into a local folder.
        names: to choose from, in order, without end; asked for when the folder is full.

    Returns:
        The new folder.
    """
    return _place(parent).add_folder(parent, fill, names)


def remove(path: Path) -> None:
    """Remove a file, or a folder so that nobody sees a part of it.

    A local folder is renamed first. In an object store the JSON files at its top, which say what the rest is, go first.
    """
    _place(path).remove(path)


def remove_if_there(path: Path) -> None:
    """As `remove`; that there is nothing is no error."""
    if path.exists():
        remove(path)


def leftovers(folder: Path, *, seconds: float, deep: bool = True) -> list[Path]:
    """What killed writes left in a folder, and nobody has touched for so long; `remove` takes them.

    Args:
        folder: to look into.
        seconds: what was touched later may be in the making.
        deep: whether to look into the folders in it too; in an object store, always.
    """
    return _place(folder).leftovers(folder, seconds=seconds, deep=deep)


def is_disk_error(error: object) -> TypeGuard[OSError]:
    """Whether the disk is full or cannot be written: not the fault of the file that was being made."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def locked(folder: Path) -> AbstractContextManager[None]:
    """Wait until no other process holds the folder, then hold it; a process that dies lets go.

    Object stores have no locks: two runs at once on one project are then the user's to avoid. `update_bytes` and
    `add_folder` need none.
    """
    return _place(folder).locked(folder)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    digest = sha256()
    with local_copy(path) as local, local.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def text_hash(*parts: object) -> str:
    """SHA-256 of some values, each as canonical JSON; the same for equal values, in every run."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode(errors="backslashreplace")).hexdigest()


class _Place(Protocol):
    """What a module that knows a kind of path offers."""

    def find(self, root: Path, pattern: str, *, strict: bool = False) -> Iterable[Path]: ...
    def refresh(self, folder: Path) -> None: ...
    def listing_version(self, folder: Path) -> int | None: ...
    def modified(self, path: Path) -> int: ...
    def state(self, path: Path) -> tuple[int, int]: ...
    def local_copy(self, path: Path) -> AbstractContextManager[Path]: ...
    def zarr_store(self, path: Path) -> Path | Store: ...
    def read_bytes(self, path: Path) -> bytes: ...
    def write_bytes(self, path: Path, data: bytes, *, flush: bool = True) -> None: ...
    def update_bytes(self, path: Path, change: Callable[[bytes | None], bytes | None]) -> None: ...
    def write_folder(self, path: Path) -> AbstractContextManager[Path]: ...
    def write_file(self, path: Path) -> AbstractContextManager[Path]: ...
    def place_folder(self, folder: Path, path: Path) -> None: ...
    def add_folder(self, parent: Path, fill: Callable[[Path], None], names: Iterable[str]) -> Path: ...
    def remove(self, path: Path) -> None: ...
    def leftovers(self, folder: Path, *, seconds: float, deep: bool = True) -> list[Path]: ...
    def locked(self, folder: Path) -> AbstractContextManager[None]: ...


def _place(path: Path) -> _Place:
    if is_remote(path):
        from unetseg import object_store

        return object_store
    return local_disk
