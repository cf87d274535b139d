"""JSON files with a digest of themselves, and JSON files that several processes change."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from unetseg.errors import DamagedFileError
from unetseg.json_files import as_json, parse_json
from unetseg.storage import read_bytes, update_bytes, write_bytes

__all__ = ["read_record", "update_json", "write_record"]

_SEAL = "sha256"  # the key of a record's digest
_NO_DIGEST = "0" * 64  # stands in its place while the digest is made


def read_record(path: Path, *, since: int) -> dict[str, Any]:
    """A record that `write_record` wrote, with its digest under ``sha256``.

    Args:
        path: of the file.
        since: the ``schema_version`` of the first records with a digest; older ones are read without.

    Raises:
        DamagedFileError: it is no JSON object, or not byte for byte what was written.
    """
    data = read_bytes(path)
    plain = parse_json(path, data)
    if not isinstance(plain, dict):
        raise DamagedFileError(f"{path}: damaged, holds no JSON object; restore it from a copy")
    schema, digest = plain.get("schema_version"), plain.get(_SEAL)
    if digest is None and isinstance(schema, int) and schema < since:
        return plain
    if not isinstance(digest, str):
        raise DamagedFileError(
            f"{path}: was changed or damaged (it names no SHA-256 of itself); restore it from a copy"
        )
    if sha256(data.replace(digest.encode(errors="replace"), _NO_DIGEST.encode(), 1)).hexdigest() != digest:
        raise DamagedFileError(f"{path}: was changed or damaged (its SHA-256 differs); restore it from a copy")
    return plain


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON object at once, with a digest by which `read_record` knows each changed byte.

    ``sha256``, the first key, is the SHA-256 of the file with 64 zeros in the digest's place. It tells of damage and of
    edits by hand; whoever wants to deceive can make a new one.
    """
    data = as_json({_SEAL: _NO_DIGEST, **{key: item for key, item in value.items() if key != _SEAL}})
    write_bytes(path, data.replace(_NO_DIGEST.encode(), sha256(data).hexdigest().encode(), 1))


def update_json(path: Path, change: Callable[[Any], Any], *, default: Any) -> Any:  # noqa: ANN401 (JSON)
    """Change a JSON file so that, of several processes that do so at once, each builds on what the others left.

    How: see `unetseg.storage.update_bytes`.

    Args:
        path: of the file.
        change: makes the new value of the old one; called once for each attempt, so it must do nothing else. Where it
            raises, or gives back what it got, nothing is written.
        default: the old value where there is no file.

    Returns:
        The new value.

    Raises:
        DamagedFileError: what is there is no JSON.
        OSError: others changed it at each of many attempts.
    """
    made: list[Any] = []

    def renewed(data: bytes | None) -> bytes | None:
        before = default if data is None else parse_json(path, data)
        made[:] = [change(copy.deepcopy(before))]
        new = as_json(made[0])
        return None if new == as_json(before) else new

    update_bytes(path, renewed)
    return made[0]
