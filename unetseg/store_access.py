"""How fsspec is asked for one object of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unetseg.store_errors import reaching

if TYPE_CHECKING:
    from upath import UPath

__all__ = ["file_system", "key_of", "read_bytes"]

_READ_ONCE = {"s3": {"max_concurrency": 1}}  # else s3fs asks for the size first, or believes a listing


def file_system(path: Path) -> Any:  # noqa: ANN401 (fsspec publishes no types)
    """What opens a path."""
    return cast("UPath", path).fs


def key_of(path: Path) -> str:
    """What the file system calls a path."""
    return cast("UPath", path).path.rstrip("/")


def read_bytes(path: Path) -> bytes:
    """The content of an object."""
    with reaching(path):
        content: bytes = file_system(path).cat_file(key_of(path), **_READ_ONCE.get(cast("UPath", path).protocol, {}))
        return content
