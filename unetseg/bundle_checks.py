"""What makes a bundle refused before anything in it is used: damage, additions, and what a newer unetseg wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unetseg.errors import BundleError, DamagedFileError
from unetseg.records import read_record
from unetseg.storage import file_hash

__all__ = ["check_file", "check_files", "check_schema", "checked_record"]

_OF_A_NETWORK = ("openvino.xml", "openvino.bin", "replay.npz")
"""Files that are used where they are there, so that none may be added to a bundle that has none."""


def checked_record(path: Path, since: int, way_out: str) -> dict[str, Any]:
    """A record of a bundle, its digest checked.

    Args:
        path: of the file.
        since: the schema version of the first ones with a digest.
        way_out: what to do where it is damaged.
    """
    try:
        return read_record(path, since=since)
    except DamagedFileError as error:
        raise BundleError(f"{error}; or {way_out}") from None


def check_schema(path: Path, plain: Mapping[str, Any], newest: int) -> None:
    """Refuse what a newer unetseg wrote, or none."""
    found, software = plain.get("schema_version"), plain.get("software")
    if not isinstance(found, int) or found < 1:
        raise BundleError(f"{path}: names no schema version, found {found!r}; copy it again, or use another version")
    if found > newest:
        writer = software.get("unetseg") if isinstance(software, dict) else None
        wanted = f"unetseg {writer}, which wrote it, or a newer one" if writer else "the unetseg that wrote it"
        raise BundleError(
            f"{path}: schema {found} is newer than this unetseg knows, which reads 1 to {newest}; use {wanted}, or "
            "another version of the model"
        )


def check_files(folder: Path, files: object) -> None:
    """Refuse a bundle whose files are not those that its bundle.json lists, by name and SHA-256."""
    if not isinstance(files, dict) or "model.keras" not in files:
        raise BundleError(f"{folder}: bundle.json lists no model.keras; use another version or train again")
    for name, digest in files.items():
        check_file(folder, name, digest, "use another version")
    for name in _OF_A_NETWORK:
        if name not in files and (folder / name).exists():
            raise BundleError(f"{folder}: {name} was added, bundle.json does not list it; remove it")


def check_file(folder: Path, name: str, digest: str, way_out: str) -> None:
    """Refuse a file that is missing or has another SHA-256."""
    if Path(name).name != name or not (folder / name).is_file():
        raise BundleError(f"{folder}: {name} is missing; copy the bundle again, or {way_out}")
    if file_hash(folder / name) != digest:
        raise BundleError(
            f"{folder}: {name} was changed or damaged (its SHA-256 differs); copy the bundle again, or {way_out}"
        )
