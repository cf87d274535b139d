"""The index of the dataset: everything about it but its pixels, in the JSON files at its root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unetseg.config import IngestConfig, to_plain
from unetseg.errors import DamagedFileError, DataError
from unetseg.json_files import read_json, write_json
from unetseg.masks import class_names, guide_names
from unetseg.project import Project
from unetseg.readers import BadFile
from unetseg.scan_record import ScanRecord
from unetseg.splits import SPLITS
from unetseg.storage import text_hash

__all__ = [
    "SCHEMA_VERSION",
    "Index",
    "empty_index",
    "is_complete",
    "is_older",
    "is_torn",
    "known_splits",
    "mark_torn",
    "save_quarantine",
]

SCHEMA_VERSION = 3
_ALIKE = (2,)  # they only lack how volumes lie in space
_OLDER = (1,)
_TORN = ".torn"  # file that is there while the index may not describe the pixels


@dataclass(frozen=True)
class Index:
    """Everything about the dataset but its pixels.

    Attributes:
        classes: their names, in the order of the bits.
        guides: names of the guides.
        channels: names of the channels.
        ingest: the settings that it was made by.
        splits: of every group that was ever seen.
        scans: what is known of each scan that is in the store, by id.
        quarantine: files that could not be used.
        suspicions: sentences about scans that a person should look at, by id.
        unlabelled: scans that no class has a mask for, sorted.
    """

    classes: tuple[str, ...]
    guides: tuple[str, ...]
    channels: tuple[str, ...]
    ingest: IngestConfig
    splits: dict[str, str] = field(default_factory=dict)
    scans: dict[str, ScanRecord] = field(default_factory=dict)
    quarantine: tuple[BadFile, ...] = ()
    suspicions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Hash of what training would see: it changes if and only if that changes."""
        present = sorted(
            (scan.id, scan.split, scan.image.content, scan.masks.content, scan.guides.content)
            for scan in self.scans.values()
            if not scan.vanished
        )
        return text_hash(self.classes, self.guides, self.channels, present)

    @property
    def test_fingerprint(self) -> str:
        """Hash of what the test split is scored on: models whose scores have the same one can be compared.

        Unlike `fingerprint` it stays when training scans come or go. Groups count, since intervals depend on them, and
        pixel sizes, since distances do.
        """
        present = sorted(
            (scan.id, scan.group, scan.image.content, scan.masks.content, scan.guides.content, scan.pixel_size or ())
            for scan in self.scans.values()
            if scan.split == "test" and not scan.vanished
        )
        return text_hash(self.classes, self.guides, self.channels, present)

    @property
    def lost_masks(self) -> tuple[str, ...]:
        """Scans without masks that had some at an earlier ingest."""
        return tuple(name for name in self.unlabelled if name in self.scans)

    @property
    def vanished(self) -> tuple[str, ...]:
        """Scans that are not used any more for another reason than their masks, sorted."""
        lost = set(self.lost_masks)
        return tuple(sorted(name for name, scan in self.scans.items() if scan.vanished and name not in lost))

    def split_sizes(self) -> dict[str, int]:
        """Scans per split."""
        return {
            split: sum(scan.split == split and not scan.vanished for scan in self.scans.values()) for split in SPLITS
        }

    def header(self) -> dict[str, Any]:
        """The root attributes."""
        return {
            "schema_version": SCHEMA_VERSION,
            "classes": self.classes,
            "guides": self.guides,
            "channels": self.channels,
            "ingest": to_plain(self.ingest),
        }

    def save(self, folder: Path) -> None:
        """Replace ``index.json`` and the root attributes."""
        # Plain JSON, not zarr.create_group: that would empty the folder first.
        group = {"zarr_format": 3, "node_type": "group"}
        write_json(folder / "zarr.json", group | {"attributes": {"unetseg": self.header()}})
        write_json(folder / "scans" / "zarr.json", group | {"attributes": {}})
        body = {
            "fingerprint": self.fingerprint,
            "scans": [asdict(scan) for scan in self.scans.values()],
            "unlabelled": self.unlabelled,
            "suspicions": self.suspicions,
        }
        write_json(folder / "splits.json", self.splits)
        save_quarantine(folder, self.quarantine)
        write_json(folder / "index.json", self.header() | body)
        (folder / _TORN).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Index | None:
        """The index of a dataset, or None where there is none yet.

        Raises:
            DataError: the dataset is damaged, or was written by another schema version.
        """
        path = folder / "index.json"
        if not path.exists():
            return None
        splits, quarantine = known_splits(folder), _load_quarantine(folder)
        try:
            plain = read_json(path)
            _check_schema(folder, plain["schema_version"])
            return cls._from_plain(plain, splits, quarantine)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError) and not isinstance(error, DamagedFileError):  # of another schema version
                raise
            raise DataError(
                f"{path}: damaged ({type(error).__name__}); delete index.json and run ingest again: scans and splits "
                "that are stored are taken over"
            ) from error

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], splits: dict[str, str], quarantine: tuple[BadFile, ...]) -> Index:
        return cls(
            classes=tuple(plain["classes"]),
            guides=tuple(plain["guides"]),
            channels=tuple(plain["channels"]),
            ingest=IngestConfig(**plain["ingest"]),
            splits=splits,
            scans={item["id"]: ScanRecord.from_plain(item) for item in plain["scans"]},
            quarantine=quarantine,
            unlabelled=tuple(plain.get("unlabelled", ())),  # older versions did not list them
            suspicions={name: tuple(found) for name, found in plain["suspicions"].items()},
        )


def _check_schema(folder: Path, found: object) -> None:
    if found in _OLDER:
        raise DataError(
            f"{folder}: schema version {found}, from an earlier unetseg; run ingest, which keeps the splits"
        )
    if found not in (*_ALIKE, SCHEMA_VERSION):
        raise DataError(
            f"{folder}: schema version {found}, this version of unetseg reads {SCHEMA_VERSION}; update unetseg, or "
            "delete the folder and run ingest again (the splits are then decided anew)"
        )


def known_splits(folder: Path) -> dict[str, str]:
    """The splits that were decided, which outlive a lost index; without their file, those that the index tells of.

    Raises:
        DamagedFileError: the file holds something else.
    """
    path = folder / "splits.json"
    try:
        splits = read_json(path)
    except FileNotFoundError:
        return _splits_of_index(folder)
    if not (isinstance(splits, dict) and all(split in SPLITS for split in splits.values())):
        raise DamagedFileError(
            f"{path}: damaged, must give each group {', '.join(SPLITS)}; remove it, it is made anew from index.json"
        )
    return splits


def _splits_of_index(folder: Path) -> dict[str, str]:
    """The splits in an index of this schema version or an earlier one; none where there is no such index."""
    try:
        plain = read_json(folder / "index.json")
        scans = {item["group"]: item["split"] for item in plain["scans"] if item.get("split")}
        return scans | dict(plain.get("splits", {}))
    except (FileNotFoundError, DamagedFileError, KeyError, TypeError, AttributeError):
        return {}


def is_older(folder: Path) -> bool:
    """Whether an earlier schema version left the dataset; of it, ingest takes over the splits."""
    try:
        return read_json(folder / "index.json")["schema_version"] in _OLDER
    except (FileNotFoundError, DamagedFileError, KeyError, TypeError):
        return False


def save_quarantine(folder: Path, files: Sequence[BadFile]) -> None:
    """Replace ``quarantine.json``: files that could not be used, with reasons."""
    write_json(folder / "quarantine.json", [asdict(item) for item in files])


def _load_quarantine(folder: Path) -> tuple[BadFile, ...]:
    try:
        return tuple(BadFile(**item) for item in read_json(folder / "quarantine.json"))
    except (FileNotFoundError, DamagedFileError, TypeError, AttributeError):
        return ()  # nothing depends on it, and each ingest writes it


def empty_index(project: Project) -> Index:
    """What is true of a dataset of this project before any scan is in it."""
    return Index(
        classes=class_names(project.sources.classes),
        guides=guide_names(project.sources.guides),
        channels=project.sources.scans.channels,
        ingest=project.settings.ingest,
    )


def is_torn(folder: Path) -> bool:
    """Whether scans were replaced and the index does not tell of it yet."""
    return (folder / _TORN).exists()


def is_complete(folder: Path) -> bool:
    """Whether all that saving the index writes is there, and tells of the pixels."""
    files = ("index.json", "splits.json", "zarr.json", "scans/zarr.json")
    return all((folder / name).exists() for name in files) and not is_torn(folder)


def mark_torn(folder: Path) -> None:
    """Note that scans are being replaced that the index describes; saving the index takes the note away."""
    (folder / _TORN).touch()
