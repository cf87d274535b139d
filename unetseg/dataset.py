"""The dataset: the Zarr store that ingest leaves and that train and evaluate read.

::

    dataset.zarr/
      zarr.json            schema version; names of classes, guides and channels; ingest settings
      splits.json          the split of every group ever seen
      index.json           one record per scan: sources and their hashes, split, group, pixel counts; suspicions
      quarantine.json      files that could not be used, with reasons
      scans/<key>/         an OME-Zarr 0.5 image, normalised, (c, y, x)
        labels/classes/    one OME-Zarr label image, (y, x): bit k is class k, the bit after the last means "ignore"
        guides             (g, y, x), 0 or 1

A scan is 7 files, 9 with guides, however many classes there are (docs/adr/0009). Schema version 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from unetseg.bit_fields import unpack
from unetseg.config import IngestConfig, to_plain
from unetseg.errors import DamagedFileError, DataError, UsageError
from unetseg.intensities import ChannelIntensities
from unetseg.normalise import ChannelScale
from unetseg.ome import read_window
from unetseg.readers import BadFile
from unetseg.sources import SourceFile
from unetseg.splits import SPLITS
from unetseg.storage import read_json, text_hash, write_json

__all__ = [
    "GUIDES",
    "IMAGE",
    "MASKS",
    "SCHEMA_VERSION",
    "Dataset",
    "Index",
    "Part",
    "Planes",
    "ScanRecord",
    "is_complete",
    "is_older",
    "is_torn",
    "known_splits",
    "mark_torn",
    "open_dataset",
    "save_quarantine",
]

SCHEMA_VERSION = 2
_OLDER = (1,)
IMAGE, MASKS, GUIDES = "0", "labels/classes/0", "guides"
"""Arrays of a scan, below its folder."""

_TORN = ".torn"  # file that is there while the index may not describe the pixels


@dataclass(frozen=True)
class Part:
    """The image, the masks or the guides of a stored scan: what they were made from, and what they are.

    Attributes:
        sources: the files.
        rule: hash of the settings that the stored values depend on, and of which file serves what.
        content: hash of the stored values.
    """

    sources: tuple[SourceFile, ...] = ()
    rule: str = ""
    content: str = ""

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Part:
        """Build a part from its JSON form."""
        return cls(**plain | {"sources": tuple(SourceFile(**item) for item in plain["sources"])})


@dataclass(frozen=True)
class ScanRecord:
    """What the dataset knows of one scan.

    Attributes:
        id: the scan's path below the folder of scans, without suffix.
        key: name of its group below ``scans/``.
        group: the patient, slide or scan that is never torn between splits.
        shape: height and width in pixels.
        chunk: side of its chunks in pixels.
        image: its normalised intensities.
        masks: its classes.
        guides: its guides.
        scales: the normalisation that was applied, per channel.
        intensities: how the intensities of the file are distributed, per channel.
        combinations: every bit field that occurs in the masks, 0 included, and in how many pixels.
        class_pixels: foreground pixels per class.
        ignored_pixels: pixels that count nowhere.
        soft_masks: binary classes whose mask has greys, which were cut at half.
        pixel_size: ``(y, x)`` in micrometres, where the file says so.
        split: ``train``, ``validation`` or ``test``; empty until ingest has decided.
        vanished: its files are gone or can no longer be used; the scan is kept but not used.
    """

    id: str
    key: str
    group: str
    shape: tuple[int, int]
    chunk: int
    image: Part
    masks: Part
    guides: Part
    scales: tuple[ChannelScale, ...]
    intensities: tuple[ChannelIntensities, ...]
    combinations: tuple[tuple[int, int], ...]
    class_pixels: dict[str, int]
    ignored_pixels: int = 0
    soft_masks: tuple[str, ...] = ()
    pixel_size: tuple[float, float] | None = None
    split: str = ""
    vanished: bool = False

    @property
    def content(self) -> str:
        """Hash of the stored image: equal for equal pictures."""
        return self.image.content

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """All files that it was made from."""
        return (*self.image.sources, *self.masks.sources, *self.guides.sources)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> ScanRecord:
        """Build a record from its JSON form."""
        return cls(
            **plain
            | {
                "shape": tuple(plain["shape"]),
                "scales": tuple(ChannelScale(**item) for item in plain["scales"]),
                "intensities": tuple(
                    ChannelIntensities(**item | {"quantiles": tuple(item["quantiles"])})
                    for item in plain["intensities"]
                ),
                "combinations": tuple((field, pixels) for field, pixels in plain["combinations"]),
                "soft_masks": tuple(plain["soft_masks"]),
                "pixel_size": tuple(plain["pixel_size"]) if plain["pixel_size"] else None,
            }
            | {name: Part.from_plain(plain[name]) for name in ("image", "masks", "guides")}
        )


@dataclass(frozen=True)
class Index:
    """Everything about the dataset but its pixels."""

    classes: tuple[str, ...]
    guides: tuple[str, ...]
    channels: tuple[str, ...]
    ingest: IngestConfig
    splits: dict[str, str] = field(default_factory=dict)
    scans: dict[str, ScanRecord] = field(default_factory=dict)
    quarantine: tuple[BadFile, ...] = ()
    suspicions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of what training would see: it changes if and only if that changes."""
        present = sorted(
            (scan.id, scan.split, scan.image.content, scan.masks.content, scan.guides.content)
            for scan in self.scans.values()
            if not scan.vanished
        )
        return text_hash(self.classes, self.guides, self.channels, present)

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
        except (KeyError, TypeError, AttributeError, DamagedFileError, ValidationError) as error:
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
            suspicions={name: tuple(found) for name, found in plain["suspicions"].items()},
        )


def _check_schema(folder: Path, found: object) -> None:
    if found in _OLDER:
        raise DataError(
            f"{folder}: schema version {found}, from an earlier unetseg; run ingest, which keeps the splits"
        )
    if found != SCHEMA_VERSION:
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
    if not (isinstance(splits, dict) and set(splits.values()) <= set(SPLITS)):
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
    except (FileNotFoundError, DamagedFileError, TypeError):
        return ()  # nothing depends on it, and each ingest writes it


@dataclass(frozen=True)
class Planes:
    """The pixels of a scan, or of a window of it.

    Attributes:
        image: normalised intensities, ``(H, W, C)``.
        guides: guide masks, ``(H, W, G)`` uint8; G may be 0.
        masks: classes, ``(H, W, K)`` int8: 1, 0, -1 to ignore.
    """

    image: NDArray[np.floating]
    guides: NDArray[np.uint8]
    masks: NDArray[np.int8]


@dataclass(frozen=True)
class Dataset:
    """An ingested dataset, opened for reading."""

    folder: Path
    index: Index

    def scans(self, split: str) -> list[ScanRecord]:
        """The scans of one split whose sources still exist, by id."""
        found = [scan for scan in self.index.scans.values() if scan.split == split and not scan.vanished]
        return sorted(found, key=lambda scan: scan.id)

    def image(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.floating]:
        """Normalised intensities of a window, ``(H, W, C)`` in the stored dtype."""
        planes = self._read(scan, IMAGE, (slice(None), *window))
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))

    def masks(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.int8]:
        """Classes of a window, ``(H, W, K)`` int8: 1, 0, and -1 where pixels are ignored."""
        return unpack(self.fields(scan, window), len(self.index.classes))

    def fields(
        self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))
    ) -> NDArray[np.unsignedinteger[Any]]:
        """Classes of a window as stored, ``(H, W)``: bit k is class k, the bit after the last one means "ignore"."""
        return self._read(scan, MASKS, window)

    def guides(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> NDArray[np.uint8]:
        """Guide masks of a window, ``(H, W, G)`` uint8; G may be 0."""
        if not self.index.guides:
            rows, columns = (range(*part.indices(size)) for part, size in zip(window, scan.shape, strict=True))
            return np.zeros((len(rows), len(columns), 0), np.uint8)
        planes = self._read(scan, GUIDES, (slice(None), *window))
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))

    def read(self, scan: ScanRecord, window: tuple[slice, slice] = (slice(None), slice(None))) -> Planes:
        """Image, guides and masks of a window."""
        return Planes(self.image(scan, window), self.guides(scan, window), self.masks(scan, window))

    def class_fractions(self, split: str = "train") -> NDArray[np.float64]:
        """Share of the counted pixels that each class covers, ``(K,)``."""
        total: Counter[str] = Counter()
        pixels = 0
        for scan in self.scans(split):
            total.update(scan.class_pixels)
            pixels += scan.shape[0] * scan.shape[1] - scan.ignored_pixels
        return np.array([total[name] / max(pixels, 1) for name in self.index.classes])

    def _read(self, scan: ScanRecord, name: str, window: tuple[slice, ...]) -> NDArray[Any]:
        return read_window(self.folder / "scans" / scan.key / name, window)


def open_dataset(folder: Path) -> Dataset:
    """Open the dataset that ingest left.

    Raises:
        UsageError: there is none.
        DataError: it is damaged, or the last ingest was cut short while it replaced scans.
    """
    index = Index.load(folder)
    if index is None:
        raise UsageError(f"{folder}: no dataset yet; run ingest first")
    if is_torn(folder):
        raise DataError(f"{folder}: an ingest that replaced scans did not end; run ingest again")
    return Dataset(folder, index)


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
