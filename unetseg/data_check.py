"""The data check: one self-contained HTML page about a dataset, to look at before anything is trained on it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetseg.class_pictures import class_pictures
from unetseg.class_statistics import ClassStatistics, class_statistics, statistics_by_split
from unetseg.config import LossConfig
from unetseg.cutouts import IGNORED_COLOUR, central_window, draw_cutout
from unetseg.dataset import Dataset
from unetseg.intensities import QUANTILES
from unetseg.intensity_check import CHART_SIZE, chart_of, intensity_histograms, intensity_rows
from unetseg.normalise import rule_in_words
from unetseg.ome import COLOURS
from unetseg.pages import render
from unetseg.scan_record import ScanRecord
from unetseg.splits import SPLITS
from unetseg.storage import write_bytes
from unetseg.words import first_of

__all__ = ["write_data_check"]

logger = logging.getLogger(__name__)

_THUMBNAILS, _THUMBNAIL = 12, 160  # how many, and their side in pixels
_LISTED = 200  # scans and files in each list; index.json and quarantine.json have all
_SIZES_NAMED = 5  # pixel sizes
_LINES = {"train": ("#0072B2", "none"), "validation": ("#D55E00", "7 3"), "test": ("#009E73", "2 3")}


@dataclass(frozen=True)
class _Suspicion:
    """What is odd about a scan, with a thumbnail where there is one."""

    scan: str
    split: str
    sentences: tuple[str, ...]
    thumbnail: str


@dataclass(frozen=True)
class _Some:
    """The first few of a list, and how many there are in all."""

    shown: Sequence[object]
    total: int

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


def write_data_check(dataset: Dataset, path: Path, *, config: LossConfig = LossConfig()) -> Path:
    """Write the page.

    Args:
        dataset: to look at; its scans are read in windows only.
        path: of the page.
        config: how classes are to be weighted.

    Returns:
        The path of the page.
    """
    index = dataset.index
    scans = [scan for split in SPLITS for scan in dataset.scans(split)]
    pictures, statistics = class_pictures(dataset, scans), _statistics(scans, index.classes, config)
    without = {name: statistics["all"].pixels[name] for name, found in pictures.items() if not found}
    html = render(
        "data_check.html",
        project=dataset.folder.parent.name,
        facts=_facts(dataset, scans),
        colours=_colours(index.classes),
        ignored=IGNORED_COLOUR if any(scan.ignored_pixels for scan in scans) else "",
        pictures=pictures,
        absent=[name for name, pixels in without.items() if not pixels],
        missed=[name for name, pixels in without.items() if pixels],
        charts=[chart_of(found) for found in intensity_histograms(dataset)],
        lines=_LINES,
        size=CHART_SIZE,
        percents=QUANTILES,
        intensities=intensity_rows(scans, index.channels) if scans else [],
        statistics=statistics,
        weights=config,
        suspicions=_some(list(_suspicions(dataset)), len(index.suspicions)),
        quarantine=_some(index.quarantine),
        unlabelled=_some(index.unlabelled),
        lost=_some([f"{name} ({index.scans[name].split})" for name in index.lost_masks]),
        vanished=_some(index.vanished),
    )
    write_bytes(path, html.encode())
    return path


def _some(items: Sequence[object], total: int | None = None) -> _Some:
    return _Some(items[:_LISTED], len(items) if total is None else total)


def _colours(classes: Sequence[str]) -> dict[str, str]:
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(classes)}


# --------------------------------------------------------------------------- what there is


def _facts(dataset: Dataset, scans: Sequence[ScanRecord]) -> list[tuple[str, str]]:
    """The dataset in a few lines: subject and finding."""
    index = dataset.index
    sizes = index.split_sizes()
    groups = {split: len({scan.group for scan in scans if scan.split == split}) for split in SPLITS}
    splits = ", ".join(f"{split} {sizes[split]} ({_count(groups[split], 'group')})" for split in SPLITS)
    return [
        ("scans", f"{_count(len(scans), 'scan')} of {_count(sum(groups.values()), 'group')}: {splits}"),
        ("channels", ", ".join(index.channels)),
        ("guides", ", ".join(index.guides) or "none"),
        ("size", _sizes(scans) if scans else "no scan"),
        ("pixel size", _pixel_sizes(scans) or "unknown"),
        ("normalisation", f"{rule_in_words(index.ingest)}, per scan and channel, stored as {index.ingest.dtype}"),
        ("fingerprint of the data", index.fingerprint[:12]),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]:,} × {shape[1]:,}"


def _sizes(scans: Sequence[ScanRecord]) -> str:
    """From the smallest scan to the largest, height first."""
    shapes = sorted({scan.shape for scan in scans}, key=lambda shape: shape[0] * shape[1])
    return " to ".join(dict.fromkeys(map(_size, shapes[:1] + shapes[-1:]))) + " pixels (height × width)"


def _pixel_sizes(scans: Sequence[ScanRecord]) -> str:
    """Each pixel size with its number of scans, the most frequent ones first."""
    known = Counter(scan.pixel_size for scan in scans)
    words = (
        (f"{size[0]:.4g} × {size[1]:.4g} µm" if size else "unknown") + f" ({_count(number, 'scan')})"
        for size, number in known.most_common()
    )
    return first_of(words, _SIZES_NAMED)


def _statistics(scans: Sequence[ScanRecord], classes: Sequence[str], config: LossConfig) -> dict[str, ClassStatistics]:
    """Class statistics of each split, and of all scans."""
    return statistics_by_split(scans, classes, config=config) | {"all": class_statistics(scans, classes, config=config)}


# --------------------------------------------------------------------------- what to look at


def _suspicions(dataset: Dataset) -> Iterator[_Suspicion]:
    """The scans to look at, the first ones with a thumbnail."""
    for number, (name, sentences) in enumerate(list(dataset.index.suspicions.items())[:_LISTED]):
        scan = dataset.index.scans[name]
        yield _Suspicion(name, scan.split, sentences, _thumbnail(dataset, scan) if number < _THUMBNAILS else "")


def _thumbnail(dataset: Dataset, scan: ScanRecord) -> str:
    try:
        return draw_cutout(dataset, scan, central_window(scan), side=_THUMBNAIL)
    except (OSError, ValueError) as error:
        logger.warning("no picture of %s: %s", scan.id, error)
        return ""
