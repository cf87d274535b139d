"""Puts into an object store that fail where somebody else was faster: what stands for a lock there.

S3 knows two conditions for a put: only where no object is yet (``If-None-Match: *``), and only where the object is
still the one of this entity tag (``If-Match``). Both are atomic in the store. Whether a store heeds them is tried once.

Reference:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import errno
import logging
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from unetseg.store_access import file_system, key_of, read_bytes
from unetseg.store_errors import reaching

if TYPE_CHECKING:
    from upath import UPath

__all__ = ["put_if_unchanged", "update_bytes"]

logger = logging.getLogger(__name__)

_ATTEMPTS = 40  # of n processes that begin at once the last needs n, so this is far more than a project has
_WAIT = 0.02  # seconds, the longest before the second attempt; doubled for each, up to _LONGEST_WAIT
_LONGEST_WAIT = 2.0
_TOKEN = "unetseg-put"  # metadata by which a put is known as one's own
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404"}
_UNKNOWN = {"NotImplemented", "501"}  # answers of stores that know no conditions

_heeding: dict[str, bool] = {}  # buckets, and whether they heed conditions


def update_bytes(path: Path, change: Callable[[bytes | None], bytes | None]) -> None:
    """Read, change and put an object; again where somebody else has put it meanwhile."""
    for attempt in range(_ATTEMPTS):
        data, tag = _read_with_tag(path)
        new = change(data)
        if new is None or put_if_unchanged(path, new, tag):
            return
        time.sleep(random.uniform(0, min(_WAIT * 2**attempt, _LONGEST_WAIT)))
    raise OSError(errno.EBUSY, f"was changed by others at each of {_ATTEMPTS} attempts; try again", str(path))


def put_if_unchanged(path: Path, data: bytes, tag: str | None) -> bool:
    """Put an object where it is still the one of an entity tag; for None, where there is none.

    Returns:
        Whether it was put; False where somebody else was faster.
    """
    with reaching(path):
        if _heeds_conditions(path.parent):
            return _put(path, data, tag)
        if tag is None and file_system(path).exists(key_of(path)):
            return False
        file_system(path).pipe_file(key_of(path), data)
        return True


def _read_with_tag(path: Path) -> tuple[bytes | None, str | None]:
    """Content and entity tag; the content may be newer than the tag, and then the put fails."""
    with reaching(path), suppress(FileNotFoundError):
        tag = str(file_system(path).info(key_of(path), refresh=True).get("ETag", ""))
        return read_bytes(path), tag
    return None, None


def _put(path: Path, data: bytes, tag: str | None) -> bool:
    token = uuid.uuid4().hex
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        file_system(path).pipe_file(key_of(path), data, Metadata={_TOKEN: token}, **condition)
    except OSError as error:
        if not _LOST & _codes(error):
            raise
        return _is_there(path, token)
    return True


def _is_there(path: Path, token: str) -> bool:
    """Whether a put that was refused had come through before: a client repeats what it got no answer to."""
    try:
        metadata: dict[str, str] = file_system(path).metadata(key_of(path), refresh=True)
    except FileNotFoundError:
        return False
    return metadata.get(_TOKEN) == token


def _heeds_conditions(folder: Path) -> bool:
    if cast("UPath", folder).protocol != "s3":
        return _told(folder.anchor)
    if folder.anchor not in _heeding:
        _heeding[folder.anchor] = _tried(folder)
    return _heeding[folder.anchor] or _told(folder.anchor)


def _tried(folder: Path) -> bool:
    """Whether a store refuses what it should, tried on an object of this process' own."""
    probe = folder / f".unetseg-probe-{uuid.uuid4().hex}"
    try:
        return _put(probe, b"", None) and not _put(probe, b"", None) and not _put(probe, b"", '"0"')
    except OSError as error:
        if not _UNKNOWN & _codes(error):
            raise
        return False
    finally:
        with suppress(OSError):
            file_system(probe).rm_file(key_of(probe))


@lru_cache
def _told(bucket: str) -> bool:
    """Say once that a store knows no conditions."""
    logger.warning("%s: this store knows no conditional puts; let only one process at a time write there", bucket)
    return False


def _codes(error: OSError) -> set[str]:
    """What the store answered, and what s3fs makes of it."""
    response = getattr(error.__cause__, "response", None) or {}
    existing = {"PreconditionFailed"} if isinstance(error, FileExistsError) else set[str]()
    missing = {"NoSuchKey"} if isinstance(error, FileNotFoundError) else set[str]()
    return {str(response.get("Error", {}).get("Code", ""))} | existing | missing
