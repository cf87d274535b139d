"""Scans whose masks or pixels do not look like those of the others: a list for a person to go through.

Nothing is dropped for it: an empty mask can be right. Scans whose sources have vanished are left out. Time grows with
the number of scans, and a sentence names only a few others, however many there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.class_statistics import CountedScan, PixelCounts, count_pixels
from unetseg.orientations import lie_alike, turned_sentence
from unetseg.scan_record import Part
from unetseg.words import percent

__all__ = ["FEWEST_SCANS", "USUAL_SHARE", "SuspectScan", "find_suspicions", "usual_range"]

Found = Iterator[tuple[str, str]]
"""Ids of scans, each with a sentence about it."""

FEWEST_SCANS = 10
"""With fewer scans that have the class there is no telling what is usual."""

USUAL_SHARE = 0.9
"""A class that so many scans have is expected in every scan."""

_SPREADS = 5.0
"""Areas further off than this are suspicious. In a normal distribution that is one scan in 1.7 million."""

_MAD_TO_DEVIATION = 1.4826
"""The median absolute deviation of a normal distribution, times this, is its standard deviation."""

_HARMLESS_FACTOR = 2.0
"""A smaller difference of area is not suspicious, even where the other scans are all alike (deviation 0)."""

_TWINS_NAMED = 2
"""Equal scans that a sentence names, per split: a thousand black scans must not make a million names."""

_USES = {"train": "trains", "validation": "validates", "test": "tests"}


class SuspectScan(CountedScan, Protocol):
    """What is needed of a scan's record, besides what `CountedScan` names.

    Attributes:
        id: the scan's id.
        content: hash of the stored pixels of the image; empty: unknown.
        soft_masks: classes whose mask was grey or anti-aliased and was cut at half.
        image: what it was made from, and how that lies in space.
        masks: the same of its masks.
        guides: the same of its guides.
    """

    @property
    def id(self) -> str: ...  # noqa: D102 (above)
    @property
    def content(self) -> str: ...  # noqa: D102 (above)
    @property
    def soft_masks(self) -> tuple[str, ...]: ...  # noqa: D102 (above)
    @property
    def image(self) -> Part: ...  # noqa: D102 (above)
    @property
    def masks(self) -> Part: ...  # noqa: D102 (above)
    @property
    def guides(self) -> Part: ...  # noqa: D102 (above)


def find_suspicions(records: Iterable[SuspectScan], classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Say what is odd about which scan: value found, what is expected, what to do.

    Args:
        records: the scans, of all splits, in any order.
        classes: names of the K classes, in the order of the bits.

    Returns:
        Sentences by scan id; scans about which there is nothing to say are left out. First come those with a sentence
        about whole volumes, whose many empty pages must not hide it; all in order of the ids.
    """
    scans = sorted((record for record in records if not record.vanished), key=lambda record: record.id)
    found = defaultdict(list)
    for scan_id, sentence in _turned(scans):
        found[scan_id].append(sentence)
    first = set(found)
    for scan_id, sentence in _all_rules(scans, classes):
        found[scan_id].append(sentence)
    return {name: tuple(found[name]) for name in sorted(found, key=lambda name: (name not in first, name))}


def _all_rules(scans: Sequence[SuspectScan], classes: Sequence[str]) -> Found:
    counts = count_pixels(scans, classes)
    ids = [scan.id for scan in scans]
    yield from _all_ignored(ids, counts)
    yield from _without_any_class(ids, counts)
    for k, name in enumerate(classes):
        for rule in (_lacking, _covered, _of_odd_area):
            yield from rule(ids, counts, k, name)
    yield from _cut_at_half(scans)
    yield from _twins(scans)


# --------------------------------------------------------------------------- volumes


def _turned(scans: Sequence[SuspectScan]) -> Found:
    """Masks and guides that lie otherwise in space than their scan; said once of all that do so in the same way."""
    found: dict[tuple[str, str, str], dict[str, list[SuspectScan]]] = defaultdict(lambda: defaultdict(list))
    for scan in scans:
        own = "".join(scan.image.orientations)  # of one file
        for kind, part in (("mask", scan.masks), ("guide", scan.guides)):
            for file, codes in zip(part.sources, part.orientations, strict=False):  # none where no file says any
                if not lie_alike(codes, own):
                    found[kind, codes, own][file.path].append(scan)
    for (kind, codes, own), files in found.items():
        yield max(next(iter(files.values())), key=_marked).id, turned_sentence(kind, files, codes, own)


def _marked(scan: SuspectScan) -> int:
    """Pixels with any class: the page of a volume where one sees best how they lie."""
    return sum(pixels for field, pixels in scan.combinations if field)


# --------------------------------------------------------------------------- masks


def _all_ignored(ids: Sequence[str], counts: PixelCounts) -> Found:
    for i in _where(counts.counted == 0):
        yield (
            ids[i],
            f"all {_pixels(counts.ignored[i])} are ignored (expected: some that count), so that the scan neither "
            "trains nor is scored; check which values of its mask mean ignore, or remove the scan",
        )


def _without_any_class(ids: Sequence[str], counts: PixelCounts) -> Found:
    empty = _is_empty(counts)
    for i in _where(empty):
        yield (
            ids[i],
            f"no class has a pixel, as in {_of_scans(empty.sum(), counts)} (expected: at least one class); check that "
            "its masks are the right ones and complete; if nothing is there to mark, leave it",
        )


def _lacking(ids: Sequence[str], counts: PixelCounts, k: int, name: str) -> Found:
    """Scans without a class that nearly all have; those without any class have a sentence of their own."""
    has, counts_at_all = counts.classes[:, k] > 0, counts.counted > 0
    present = int(has.sum())
    if present < max(FEWEST_SCANS, USUAL_SHARE * counts_at_all.sum()):
        return
    for i in _where(counts_at_all & ~has & ~_is_empty(counts)):
        yield (
            ids[i],
            f"{name}: covers 0 pixels (expected: at least 1, as in {_of_scans(present, counts)}); check that its mask "
            "is complete and belongs to this scan",
        )


def _covered(ids: Sequence[str], counts: PixelCounts, k: int, name: str) -> Found:
    for i in _where(_is_full(counts, k)):
        yield (
            ids[i],
            f"{name}: covers all {_pixels(counts.counted[i])} that count (expected: fewer); check whether its mask is "
            "inverted, or read with the wrong encoding",
        )


def _of_odd_area(ids: Sequence[str], counts: PixelCounts, k: int, name: str) -> Found:
    """Scans where a class is far smaller or larger than in the others.

    *Formula*: ``|log(area) - median| > 5 * 1.4826 * MAD`` over the scans that have the class; MAD is the median
    absolute deviation, the robust counterpart of the standard deviation (doi:10.1016/j.jesp.2013.03.013).
    """
    has = counts.classes[:, k] > 0
    if (present := int(has.sum())) < FEWEST_SCANS:
        return
    areas = counts.classes[:, k] / np.maximum(counts.counted, 1)
    low, high = usual_range(areas[has])
    odd = has & ((areas < low) | (areas > high)) & ~_is_full(counts, k)  # what is full has its sentence
    for i in _where(odd):
        yield (
            ids[i],
            f"{name}: covers {percent(areas[i])} of the pixels (expected: {percent(low)} to "
            f"{percent(min(high, 1.0))}, by the {present:,} scans that have it); check that mask and scan belong "
            "together and that the mask is complete",
        )


def usual_range(areas: NDArray[np.float64]) -> tuple[float, float]:
    """Least and largest area, as shares in (0, 1], that is not suspicious among ``(N,)`` areas."""
    logs = np.log(areas)
    middle = float(np.median(logs))
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(logs - middle)))
    reach = max(_SPREADS * deviation, math.log(_HARMLESS_FACTOR))
    return math.exp(middle - reach), math.exp(middle + reach)


def _is_empty(counts: PixelCounts) -> NDArray[np.bool_]:
    """Which scans have pixels that count, and none of them in any class, ``(N,)``."""
    empty: NDArray[np.bool_] = (counts.counted > 0) & (counts.classes == 0).all(axis=1)
    return empty


def _is_full(counts: PixelCounts, k: int) -> NDArray[np.bool_]:
    """Which scans have no counted pixel outside of class k, ``(N,)``."""
    full: NDArray[np.bool_] = (counts.counted > 0) & (counts.classes[:, k] == counts.counted)
    return full


def _where(flags: NDArray[np.bool_]) -> list[int]:
    """Places of the scans that are flagged, ``(N,)``."""
    places: list[int] = np.flatnonzero(flags).tolist()
    return places


def _cut_at_half(scans: Sequence[SuspectScan]) -> Found:
    """Said once per class, of the first such scan: thousands of scans would say the same."""
    soft = defaultdict(list)
    for scan in scans:
        for name in dict.fromkeys(scan.soft_masks):
            soft[name].append(scan.id)
    for name, ids in soft.items():
        yield (
            ids[0],
            f"{name}: the masks of this and {len(ids) - 1} other scans are grey or have soft edges and were cut at "
            "half (expected: two values); if their border matters, export them again without smoothing or compression",
        )


# --------------------------------------------------------------------------- scans


def _twins(scans: Sequence[SuspectScan]) -> Found:
    """Scans with the very same pixels."""
    same = defaultdict(list)
    for scan in scans:
        if scan.content:
            same[scan.content].append(scan)
    for twins in same.values():
        if len(twins) > 1:
            yield from _twin_sentences(twins)


def _twin_sentences(twins: Sequence[SuspectScan]) -> Found:
    named, splits = _first_of_each_split(twins)
    uses = [use for split, use in _USES.items() if split in splits]
    for scan in twins:
        others = [other for other in named if other.id != scan.id]
        more = len(twins) - 1 - len(others)
        listed = ", ".join(f"{other.id} ({other.split})" if other.split else other.id for other in others)
        equal = f"its pixels equal those of {listed}" + (f" and {more:,} more" if more else "")
        if len(uses) > 1:
            yield scan.id, _across(equal, uses, scan.split)
        else:
            yield scan.id, f"{equal} (expected: each picture once); remove all but one, or check the export"


def _across(equal: str, uses: Sequence[str], split: str) -> str:
    return (
        f"the same picture {' and '.join(uses)}, so that scores are too good: {equal}, while this one is in {split} "
        "(expected: one split for all that are equal); remove all but one, or give them one group"
    )


def _first_of_each_split(twins: Sequence[SuspectScan]) -> tuple[list[SuspectScan], set[str]]:
    """The few scans to name, in the order given, and all splits that occur."""
    named: list[SuspectScan] = []
    per_split: dict[str, int] = defaultdict(int)
    for scan in twins:
        per_split[scan.split] += 1
        if per_split[scan.split] <= _TWINS_NAMED:
            named.append(scan)
    return named, set(per_split)


# --------------------------------------------------------------------------- words


def _pixels(number: np.int64) -> str:
    return f"{number:,} pixel{'s' if number != 1 else ''}"


def _of_scans(number: int | np.int64, counts: PixelCounts) -> str:
    """``3 of 40 scans``, out of those with a pixel that counts."""
    return f"{number:,} of {(counts.counted > 0).sum():,} scans"
