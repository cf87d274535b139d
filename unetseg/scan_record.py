"""What the dataset knows of one scan: what it was made from, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from unetseg.intensities import ChannelIntensities
from unetseg.normalise import ChannelScale
from unetseg.sources import SourceFile

__all__ = ["Part", "ScanRecord"]


@dataclass(frozen=True)
class Part:
    """The image, the masks or the guides of a stored scan: what they were made from, and what they are.

    Attributes:
        sources: the files.
        rule: hash of the settings that the stored values depend on, and of which file serves what.
        content: hash of the stored values.
        orientations: axis codes of each source, empty for one that says none. None at all where no mask or guide of
            the scan says any, and in what earlier versions stored.
    """

    sources: tuple[SourceFile, ...] = ()
    rule: str = ""
    content: str = ""
    orientations: tuple[str, ...] = ()

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Part:
        """Build a part from its JSON form."""
        sources = tuple(SourceFile(**item) for item in plain["sources"])
        return cls(**plain | {"sources": sources, "orientations": tuple(plain.get("orientations", ()))})


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
        vanished: its files or all its masks are gone, or can no longer be used; the scan is kept but not used.
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
        """Build a record from its JSON form.

        Raises:
            KeyError, TypeError, ValueError: it is another form.
        """
        names = (plain["id"], plain["key"], plain["group"], plain.get("split", ""))
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name that is no text")
        key = PurePath(plain["key"])
        if key.is_absolute() or ".." in key.parts or not key.parts or "\0" in plain["key"]:
            raise ValueError(f"key {plain['key']!r} leads to another folder")
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
