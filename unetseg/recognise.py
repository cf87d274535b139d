"""What the numbers in mask files mean, worked out from a sample of them.

Tells apart: colours, one class in black and white (with soft edges or not), labels (a number per class) and instances
(a number per object). Whether a scan has several files or pages is seen before (`unetseg.mask_sets`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.config import MaskEncoding
from unetseg.encodings import pixel_codes
from unetseg.errors import UsageError
from unetseg.masks import BACKGROUND, IGNORE

__all__ = [
    "UNNAMED",
    "FoundClass",
    "FoundMasks",
    "class_name",
    "recognise_masks",
    "recognise_objects",
    "recognise_pages",
    "valid_name",
]

COLOUR_NAMES = {
    "#ff0000": "red",
    "#00ff00": "green",
    "#0000ff": "blue",
    "#ffff00": "yellow",
    "#ff00ff": "magenta",
    "#00ffff": "cyan",
    "#ffffff": "white",
    "#ffa500": "orange",
    "#800080": "purple",
    "#808080": "grey",
    "#800000": "maroon",
    "#008000": "dark green",
    "#000080": "navy",
    "#808000": "olive",
    "#008080": "teal",
    "#ffc0cb": "pink",
    "#a52a2a": "brown",
}
_GENERIC = re.compile(
    "(masks?|labels?|annotations?|gt|ground|truth|groundtruth|seg|segmentations?|targets?|objects?|instances?|"
    "per|train|training|test|val|validation|data|datasets?|images?|stacks?|tiff?|png|.)"
)  # words that name no class
_SINGULAR = {"nuclei": "nucleus", "mitochondria": "mitochondrion", "bacteria": "bacterium", "axis": "axis"}
_MOST_VALUES = 32  # more classes than that are soft edges, objects or a photograph
_LARGEST_SIDE = 4096  # pixels looked at of a larger mask
_FLAT = 0.5  # share of pixels equal to their right neighbour: masks have 0.9 and more, scans 0.1
_EXTREMES = 0.9  # share of pixels that are black or white in a mask with soft edges
_SOLID = 0.1  # share of a value's pixels inside areas of that value; soft edges have nearly none
_PIECES = 1.5  # connected pieces per value: objects have about one each


@dataclass(frozen=True)
class FoundClass:
    """A class seen in masks: its name, the values that mean it, and its share of the sampled pixels."""

    name: str
    values: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class FoundMasks:
    """What a set of mask files holds.

    Attributes:
        encoding: How classes are written.
        classes: The classes, in order.
        why: What it was told by.
        warnings: What a person should check.
    """

    encoding: MaskEncoding
    classes: tuple[FoundClass, ...]
    why: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sample:
    """One mask: its values, how many pixels each has, and how many of those have equal right and lower neighbours."""

    counts: Counter[int]
    solid: Counter[int]
    pieces: int
    flat: float

    @property
    def objects(self) -> frozenset[int]:
        return frozenset(self.counts) - {0}


def recognise_masks(masks: Sequence[tuple[Path, NDArray[Any]]], folders: Sequence[str]) -> FoundMasks:
    """Work out what masks of one source mean.

    Args:
        masks: Files with their pixels ``(H, W, C)``.
        folders: Names of the folder that holds them and of the folder above, after which a single class is named.

    Raises:
        UsageError: when they do not look like masks.
    """
    path = masks[0][0]
    coloured = any((pixels != pixels[..., :1]).any() for _, pixels in masks)
    samples = [_sample(pixels, "colours" if coloured else "labels", file) for file, pixels in masks]
    if np.median([sample.flat for sample in samples]) < _FLAT:
        raise UsageError(
            f"{path}: looks like a scan, not a mask: neighbouring pixels differ; give the folder of scans first, then "
            "that of masks"
        )
    return _colours(samples, path) if coloured else _numbers(samples, path, folders)


def recognise_objects(masks: Sequence[tuple[Path, NDArray[Any]]], folders: Sequence[str]) -> FoundMasks:
    """Check that files that seem to hold an object each do so, and name their class.

    Args:
        masks: Some files with their pixels ``(H, W, C)``.
        folders: Names of the folders that hold them, from the inmost, after which the class is named.

    Returns:
        One class whose share is that of one object.

    Raises:
        UsageError: when they hold several values.
    """
    found = recognise_masks(masks, folders)
    if found.encoding not in ("binary", "instances"):
        raise UsageError(
            f"{masks[0][0]}: a scan has several mask files, which then hold one object each in black and white, but "
            f"they hold {found.encoding}: {found.why}; keep one file per scan"
        )
    share = found.classes[0].share
    name = class_name(folders, one_object=True)
    return FoundMasks("objects", (FoundClass(name, (), share),), "a folder per scan with a binary file per object")


def recognise_pages(pages: Sequence[Sequence[tuple[Path, NDArray[Any]]]]) -> FoundMasks:
    """Check that the pages of a scan's mask file are binary: a class each.

    Args:
        pages: For each page, some files with its pixels ``(H, W, C)``.

    Raises:
        UsageError: when a page is not binary.
    """
    classes = []
    for number, masks in enumerate(pages):
        found = recognise_masks(masks, [])
        if found.encoding != "binary":
            raise UsageError(
                f"{masks[0][0]}: has {len(pages)} pages for one scan, which then hold one class each in black and "
                f"white, but page {number} holds {found.encoding}: {found.why}; split the file, one per scan"
            )
        classes.append(FoundClass(f"class{number}", (str(number),), found.classes[0].share))
    warning = _without_names("pages", classes)
    return FoundMasks("pages", tuple(classes), f"{len(pages)} binary pages for each scan", (warning,))


# --------------------------------------------------------------------------- counting


def _sample(pixels: NDArray[Any], encoding: MaskEncoding, path: Path) -> _Sample:
    pixels = pixels[:_LARGEST_SIDE, :_LARGEST_SIDE]
    if pixels.dtype == np.bool_:  # bilevel files lie beside grey ones of the same class: white is white
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    codes = pixel_codes(pixels, encoding, path)
    inner = codes[:-1, :-1]
    right = inner == codes[:-1, 1:]
    return _Sample(
        counts=_counted(codes),
        solid=_counted(inner[right & (inner == codes[1:, :-1])]),
        pieces=0 if encoding == "colours" else _pieces(codes),
        flat=float(right.mean()) if right.size else 1.0,
    )


def _counted(codes: NDArray[np.integer[Any]]) -> Counter[int]:
    values, counts = np.unique(codes, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _pieces(codes: NDArray[np.integer[Any]]) -> int:
    from skimage.measure import label

    return int(label(codes.astype(np.int64), background=0, connectivity=2, return_num=True)[1])


def _total(counters: Sequence[Counter[int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for counter in counters:
        total.update(counter)
    return total


# --------------------------------------------------------------------------- deciding


def _colours(samples: Sequence[_Sample], path: Path) -> FoundMasks:
    counts = _total([sample.counts for sample in samples])
    if len(counts) > _MOST_VALUES:
        raise UsageError(
            f"{path}: the masks have {len(counts)} colours, more than {_MOST_VALUES}: soft edges, JPEG "
            "or a photograph; save them without interpolation as PNG"
        )
    names = {f"#{value:06x}": count for value, count in sorted(counts.items()) if value != 0}
    classes = tuple(
        FoundClass(COLOUR_NAMES.get(colour, f"colour_{colour[1:]}"), (colour,), count / counts.total())
        for colour, count in names.items()
    )
    return FoundMasks("colours", classes, f"{len(classes)} colours besides black, the same in all masks")


def _numbers(samples: Sequence[_Sample], path: Path, folders: Sequence[str]) -> FoundMasks:
    counts, solid = (_total([getattr(sample, kind) for sample in samples]) for kind in ("counts", "solid"))
    values = sorted(set(counts) - {0})
    single = class_name(folders)
    if (why := _why_binary(samples, counts, solid, path)) is not None:
        share = sum(count for value, count in counts.items() if value > max(values, default=0) / 2) / counts.total()
        return FoundMasks("binary", (FoundClass(single, (), share),), why)
    if (why := _why_instances(samples, values)) is not None:
        name = class_name(folders, one_object=True)
        share = 1 - counts[0] / counts.total()
        return FoundMasks("instances", (FoundClass(name, (), share),), why)
    if len(values) > _MOST_VALUES:
        raise UsageError(
            f"{path}: the masks have {len(values)} values in many pieces each, neither classes nor objects; "
            "save them without interpolation as PNG"
        )
    classes = tuple(FoundClass(f"class_{value}", (str(value),), counts[value] / counts.total()) for value in values)
    warnings = (*_doubts(values), _without_names("values", classes))
    return FoundMasks("labels", classes, f"{len(values)} values besides 0", warnings)


def _why_binary(samples: Sequence[_Sample], counts: Counter[int], solid: Counter[int], path: Path) -> str | None:
    values = set(counts) - {0}
    if len(values) <= 1:
        return f"only 0 and {max(values, default=255)}"
    if values <= {1, 255, 65535} and all(len(sample.objects) <= 1 for sample in samples):
        return "0 and one other value in each mask"
    white = max(values)
    if white not in (255, 65535):
        return None
    greys = values - {white}
    if path.suffix.lower() in (".jpg", ".jpeg"):
        extremes = sum(count for value, count in counts.items() if not 0.1 * white < value < 0.9 * white)
        return f"black and white with JPEG noise, {len(greys)} greys" if extremes > _EXTREMES * counts.total() else None
    extremes = counts[0] + counts[white]
    flat = sum(solid[grey] for grey in greys) > _SOLID * sum(counts[grey] for grey in greys)
    if extremes > _EXTREMES * counts.total() and not flat:
        return f"black and white with soft edges, {len(greys)} greys"
    return None


def _why_instances(samples: Sequence[_Sample], values: Sequence[int]) -> str | None:
    """Objects: about one connected piece per number, and other numbers in each mask."""
    filled = [sample for sample in samples if sample.objects]
    ratio = sum(sample.pieces for sample in filled) / sum(len(sample.objects) for sample in filled)
    if ratio > _PIECES:
        return None
    sets = {sample.objects for sample in filled}
    varies = len(sets) >= max(3, len(filled) / 2)
    if varies or len(values) > _MOST_VALUES or (len(filled) == 1 and len(values) >= 8):
        return f"{len(values)} values, {ratio:.2f} connected pieces each, other values in other masks"
    return None


def _doubts(values: Sequence[int]) -> list[str]:
    if len(values) > 2 and values[-1] == 255 and values[-2] < 128:
        return [f"value 255 beside {values[0]}..{values[-2]} often means 'do not count': rename class_255 to {IGNORE}"]
    return []


# --------------------------------------------------------------------------- naming


def _without_names(what: str, classes: Sequence[FoundClass]) -> str:
    """That classes are called after numbers, while renaming them costs no training yet."""
    ends = f"{classes[0].name}{' and ' if len(classes) == 2 else ' to '}{classes[-1].name}"
    return f"the {what} of a mask have no names: rename the classes {ends} in unetseg.yaml before you train"


UNNAMED: Final = ("foreground", "object")
"""Names of a class whose masks' folders say nothing; the other one is of masks that number objects."""


def class_name(folders: Sequence[str], *, one_object: bool = False) -> str:
    """A class named after the folder of its masks, or where that says nothing (``masks``) after the folder above.

    >>> class_name(["masks", "nuclei"], one_object=True), class_name(["masks", "nuclei"]), class_name(["iris"])
    ('nucleus', 'foreground', 'iris')
    >>> class_name(["nuclei_per_object"], one_object=True)
    'nucleus'
    """
    for folder in folders if one_object else folders[:1]:
        words = [word for word in re.split(r"[\W\d_]+", folder) if word]
        telling = [word for word in words if not _GENERIC.fullmatch(word.lower())]
        if telling and not one_object:
            return valid_name(folder)
        if telling:
            return valid_name(_singular(folder if telling == words else "_".join(telling)))
    return UNNAMED[one_object]


def valid_name(text: str) -> str:
    """A name that the settings accept.

    >>> valid_name("Zähne/links"), valid_name("ignore")
    ('Zähne_links', 'ignore_class')
    """
    name = re.sub(r"[^\w .-]", "_", text).lstrip(" _.-")[:64] or "foreground"
    return f"{name}_class" if name in (BACKGROUND, IGNORE, "micro", "macro", "weighted") else name


def _singular(word: str) -> str:
    if word.lower() in _SINGULAR:
        return _SINGULAR[word.lower()]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
