"""Object stores such as S3: what `unetseg.storage` does where nothing can be renamed or locked.

Loaded with the first address that is met. Endpoint and credentials are those that the store's own package finds: for S3
the environment (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ...) or the AWS configuration.

No old listing is trusted: each question is a request. Only below folders given to `refresh` is a listing kept.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from glob import escape
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from upath import UPath

from unetseg import local_disk
from unetseg.conditional_puts import put_if_unchanged, update_bytes
from unetseg.errors import BadFileError, UsageError
from unetseg.store_access import file_system, key_of, read_bytes
from unetseg.store_errors import naming, reaching
from unetseg.store_listings import Listings

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = [
    "add_folder",
    "find",
    "leftovers",
    "listing_version",
    "local_copy",
    "locate",
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

_SECOND = 1_000_000_000  # nanoseconds
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")  # what stores call the time of change
_TEMPORARY = "unetseg-"
_TAKEN = ".being-written"  # the object by which a process takes a name; gone when all files are there

_copies = threading.local()  # what `local_copy` holds in a thread, by path


def locate(url: str) -> Path:
    """The path of an address.

    Raises:
        UsageError: nobody knows such a store, the package that opens it is missing, or no bucket is named.
    """
    protocol, _, name = url.partition("://")
    if not name.strip("/") or ".." in name.split("/"):
        raise UsageError(f"{url}: must name a bucket, and no '..'; use an address such as s3://bucket/folder")
    try:
        path = UPath(f"{protocol}://{name.rstrip('/')}", use_listings_cache=False)
        _ = path.fs
    except ValueError as error:
        raise UsageError(f"{url}: {error}; use a local folder, or an address such as s3://bucket/folder") from error
    except ImportError as error:
        raise UsageError(f'{url}: {error}; for s3:// that is: pip install "unetseg[s3]"') from error
    return cast("Path", path)


def find(root: Path, pattern: str, *, strict: bool = False) -> Iterable[Path]:
    """What a pattern means below a folder; what the store refuses is an error, ``strict`` or not."""
    base = key_of(root)
    with reaching(root):
        found = sorted(file_system(root).glob(f"{escape(base)}/{pattern}"))
    # A name that ends in '/' is an empty object by which some tools keep a folder.
    return [root / name.removeprefix(base).lstrip("/") for name in found if not name.endswith("/")]


def refresh(folder: Path) -> None:
    """Forget what was listed below a folder, and from now on list it once.

    Asks for it too: what is wrong with address or credentials is told before the work.
    """
    fs = file_system(folder)
    if not isinstance(fs.dircache, Listings):
        fs.dircache = Listings()
    fs.dircache.renew(key_of(folder))
    with reaching(folder):
        fs.exists(key_of(folder))


def listing_version(folder: Path) -> int | None:
    """Changes when a folder is listed anew; None for a folder that is listed each time."""
    listings = file_system(folder).dircache
    return listings.version(key_of(folder)) if isinstance(listings, Listings) else None


def modified(path: Path) -> int:
    """When an object was put, in nanoseconds but to the second; 0 where there is none."""
    try:
        with reaching(path):
            return _changed(file_system(path).info(key_of(path)))
    except FileNotFoundError:
        return 0


def state(path: Path) -> tuple[int, int]:
    """Size in bytes; and time of change in seconds, whose nanoseconds are made from names and entity tags."""
    with reaching(path):
        info = file_system(path).info(key_of(path))
        infos = [info] if info["type"] != "directory" else list(_below(path).values())
        if not infos:
            raise FileNotFoundError
    tags = sorted((item["name"], item.get("ETag") or item.get("etag") or "") for item in infos)
    mark = int.from_bytes(sha256(repr(tags).encode()).digest()[:8], "big") % _SECOND
    return sum(item["size"] for item in infos), max(map(_changed, infos)) + mark


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Download once in a thread, however often it is asked for meanwhile."""
    held: dict[str, Path] = vars(_copies)
    if copy := held.get(str(path)):
        with naming(path, copy):
            yield copy
        return
    with TemporaryDirectory(prefix=_TEMPORARY) as folder:
        copy = Path(folder) / path.name
        _download(path, copy)
        held[str(path)] = copy
        try:
            with naming(path, copy):
                yield copy
        finally:
            del held[str(path)]


def zarr_store(path: Path) -> Store:
    """What zarr-python reads below a name, from any thread."""
    from zarr.storage import FsspecStore

    bucket = str(cast("UPath", path).with_segments(path.anchor))
    return FsspecStore(_asynchronous(bucket, os.getpid()), read_only=True, path=key_of(path))


def write_bytes(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Put an object: stores show the old one or the new, never a part of it; what they took, they have."""
    with reaching(path):
        file_system(path).pipe_file(key_of(path), data)


@contextmanager
def write_file(path: Path) -> Iterator[Path]:
    """Fill a local file, then put it."""
    with TemporaryDirectory(prefix=_TEMPORARY) as folder:
        yield Path(folder) / path.name
        with reaching(path):
            file_system(path).put_file(str(Path(folder) / path.name), key_of(path))


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Fill a local folder, then put its files.

    The JSON files at the top (``zarr.json``, ``bundle.json``) say what the rest is. The old ones go first and the new
    ones come last: readers find the old folder, none, or the new one whole.
    """
    with TemporaryDirectory(prefix=_TEMPORARY) as folder:
        yield Path(folder)
        with reaching(path):
            _upload(Path(folder), path, set(_below(path)))


def place_folder(folder: Path, path: Path) -> None:
    """Put the files of a local folder, and remove it; as `write_folder` does."""
    with reaching(path):
        _upload(folder, path, set(_below(path)))
    local_disk.remove(folder)


def add_folder(parent: Path, fill: Callable[[Path], None], names: Iterable[str]) -> Path:
    """Fill a local folder, take the first free name, and put the files there."""
    with TemporaryDirectory(prefix=_TEMPORARY) as folder:
        fill(Path(folder))
        path = next(parent / name for name in names if _take(parent / name))
        with reaching(path):
            _upload(Path(folder), path, set())
            _remove(path, [_TAKEN])
    return path


def remove(path: Path) -> None:
    """Remove an object; or all below a name, those that say what the rest is first."""
    with reaching(path):
        names = _below(path)
        markers = _markers(names)
        _remove(path, markers)
        _remove(path, set(names) - markers)
        if not names:
            file_system(path).rm_file(key_of(path))


def leftovers(folder: Path, *, seconds: float, deep: bool = True) -> list[Path]:
    """Folders whose name was taken by a process that never finished."""
    with reaching(folder):
        found = [folder / name.removesuffix(f"/{_TAKEN}") for name in _below(folder) if name.endswith(f"/{_TAKEN}")]
        return [path for path in found if _is_old_leftover(path, seconds)]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only say that there is no lock."""
    _tell_of_no_lock(str(folder))
    yield


def _below(path: Path) -> dict[str, Mapping[str, Any]]:
    """All objects below a name, by the rest of their names; asked for anew each time."""
    prefix = key_of(path) + "/"
    found = {
        name.removeprefix(prefix): info
        for name, info in file_system(path).find(key_of(path), detail=True).items()
        if name.startswith(prefix) and not name.endswith("/")
    }
    if outside := next((name for name in found if ".." in PurePosixPath(name).parts), None):
        raise BadFileError(f"{path}: holds an object {outside!r}, whose name leaves the folder; remove it")
    return found


def _changed(info: Mapping[str, Any]) -> int:
    """When an object was put; to the second, since some answers of a store are finer than others."""
    value = next((info[key] for key in _TIMES if info.get(key)), 0)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return int(value.timestamp() if isinstance(value, datetime) else value) * _SECOND


def _download(path: Path, copy: Path) -> None:
    """Copy an object, or all objects below a name, to where nothing is yet."""
    fs, key = file_system(path), key_of(path)
    with reaching(path):
        with suppress(FileNotFoundError, IsADirectoryError):
            fs.get_file(key, str(copy))
        if copy.is_file():
            return
        names = sorted(_below(path))
        if not names:
            raise FileNotFoundError
        fs.get([f"{key}/{name}" for name in names], [str(copy / name) for name in names])


def _upload(folder: Path, path: Path, old: set[str]) -> None:
    """Put all files of a folder, and remove old ones that are no longer among them."""
    new = {item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file()}
    markers = _markers(old | new)
    _remove(path, old & markers)
    _remove(path, old - new - markers)
    _put(folder, path, new - markers)
    _put(folder, path, new & markers)


def _take(path: Path) -> bool:
    """Take a name, unless somebody has it or has just filled it."""
    taken = put_if_unchanged(path / _TAKEN, b"", None)
    with reaching(path):
        if taken and set(_below(path)) != {_TAKEN}:
            _remove(path, [_TAKEN])
            return False
    return taken


def _is_old_leftover(path: Path, seconds: float) -> bool:
    below = _below(path)
    return not _markers(below) and time.time() - max(map(_changed, below.values())) / _SECOND > seconds


def _markers(names: Iterable[str]) -> set[str]:
    """The JSON files at the top, which say what the rest is."""
    return {name for name in names if "/" not in name and name.endswith(".json")}


def _remove(path: Path, names: Iterable[str]) -> None:
    for name in sorted(names):
        file_system(path).rm_file(f"{key_of(path)}/{name}")


def _put(folder: Path, path: Path, names: Iterable[str]) -> None:
    """Upload files, several at once."""
    order = sorted(names)
    file_system(path).put([str(folder / name) for name in order], [f"{key_of(path)}/{name}" for name in order])


@lru_cache
def _asynchronous(bucket: str, process: int) -> Any:  # noqa: ANN401 (fsspec publishes no types)
    """One file system for all Zarr stores of a process: each would keep connections of its own."""
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(bucket, storage_options={"use_listings_cache": False}).fs


@lru_cache
def _tell_of_no_lock(folder: str) -> None:
    """Say it once."""
    logger.info("%s: object stores have no locks; let only one run write there at a time", folder)
