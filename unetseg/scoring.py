"""Run a model over scans with masks: counts, histograms and distances of outlines, one pass and bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle
from unetseg.config import PredictConfig
from unetseg.dataset import Dataset
from unetseg.decisions import Decision
from unetseg.engines import Engine, engine_for
from unetseg.errors import DataError
from unetseg.histograms import Histograms
from unetseg.inference import Window, predict_tiles
from unetseg.normalise import denormalise, fit_scales, normalisation_rule, normalise
from unetseg.parallel import Progress, run_units, silent
from unetseg.scan_record import ScanRecord
from unetseg.scores import count
from unetseg.surface_distances import surface_distances
from unetseg.tile_size import tile_side

__all__ = ["LARGEST_OUTLINED", "SplitScores", "marked_by", "model_image", "scan_probabilities", "score_split"]

LARGEST_OUTLINED = 1 << 26
"""Pixels of the largest scan with distances: dense membranes then take 1.2 GiB and half a minute per class."""
_OUTLINED_ALONE = 1 << 24  # pixels: of larger scans one at a time, since each takes that memory


@dataclass(frozen=True)
class SplitScores:
    """What one model makes of one split.

    Attributes:
        scans: the scans, in order.
        counts: true and false positives and negatives, ``(S, K, 4)``.
        surfaces: Hausdorff-95, in micrometres or pixels, and surface Dice, ``(S, K, 2)``; nan: not measurable.
        histograms: of the probabilities.
        unit: of Hausdorff-95: ``µm`` where the pixel size of every scan is known, else ``pixels``.
        not_outlined: names of scans that are too large for distances, which they lack.
    """

    scans: tuple[ScanRecord, ...]
    counts: NDArray[np.int64]
    surfaces: NDArray[np.float64]
    histograms: Histograms
    unit: str
    not_outlined: tuple[str, ...] = ()


def score_split(
    bundle: Bundle,
    dataset: Dataset,
    split: str,
    config: PredictConfig,
    *,
    decision: Decision | None = None,
    tolerance: float | None = None,
    progress: Progress = silent,
) -> SplitScores:
    """Run a bundle over one split.

    Args:
        bundle: to score.
        dataset: whose scans are scored.
        split: ``train``, ``validation`` or ``test``.
        config: engine, precision, flips and tile.
        decision: what a pixel is; None: as the bundle decides.
        tolerance: of surface Dice, in pixels; None: outlines are not compared, which saves time.
        progress: told about every scan.

    Raises:
        DataError: the bundle's classes, channels or guides are not the dataset's.
    """
    _check_match(bundle, dataset)
    scans = dataset.scans(split)
    physical = all(scan.pixel_size for scan in scans)
    job = _Job(
        engine=engine_for(bundle.folder, config),
        bundle=bundle,
        dataset=dataset,
        tile=config.tile,
        decision=decision or bundle.decision,
        tolerance=tolerance,
        physical=physical,
        histograms=Histograms.empty(len(bundle.info.classes)),
    )
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for done, (scan, outcome) in enumerate(run_units(job.score, scans), start=1):
        if isinstance(outcome, Exception):
            raise outcome
        found[scan.id] = outcome
        progress(done, len(scans), f"{split} {scan.id}")
    return SplitScores(
        scans=tuple(scans),
        counts=np.stack([found[scan.id][0] for scan in scans]),
        surfaces=np.stack([found[scan.id][1] for scan in scans]),
        histograms=job.histograms,
        unit="µm" if physical else "pixels",
        not_outlined=tuple(scan.id for scan in scans if tolerance is not None and not _is_small(scan)),
    )


def marked_by(
    engine: Engine, bundle: Bundle, dataset: Dataset, scan: ScanRecord, decision: Decision, *, tile: int
) -> NDArray[np.bool_]:
    """What a model marks in one scan, ``(H, W, K)``."""
    marked = np.zeros((*scan.shape, len(bundle.info.classes)), bool)
    for window, probabilities in scan_probabilities(engine, bundle, dataset, scan, tile):
        marked[window] = decision(probabilities)
    return marked


def model_image(bundle: Bundle, dataset: Dataset, scan: ScanRecord) -> NDArray[np.floating]:
    """A scan as the bundle was trained to see it, also where the dataset is normalised in another way by now."""
    image, rule = dataset.image(scan), bundle.info.settings.ingest
    if normalisation_rule(rule) == normalisation_rule(dataset.index.ingest):
        return image
    raw = denormalise(image, scan.scales)
    return normalise(raw, fit_scales(raw, rule))


# --------------------------------------------------------------------------- one scan


@dataclass(frozen=True, eq=False)
class _Job:
    """Scores one scan after another, from several threads; the histograms are shared."""

    engine: Engine
    bundle: Bundle
    dataset: Dataset
    tile: int
    decision: Decision
    tolerance: float | None
    physical: bool
    histograms: Histograms
    adding: Any = field(default_factory=threading.Lock)
    outlining: Any = field(default_factory=threading.Lock)

    def score(self, scan: ScanRecord) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Counts ``(K, 4)`` and distances ``(K, 2)``; the histograms grow."""
        classes = len(self.bundle.info.classes)
        counts, masks = np.zeros((classes, 4), np.int64), self.dataset.masks(scan)
        marked = np.zeros(masks.shape, bool) if self._outlines(scan) else None
        for window, probabilities in scan_probabilities(self.engine, self.bundle, self.dataset, scan, self.tile):
            decided = self.decision(probabilities)
            counts += count(masks[window], decided)
            if marked is not None:
                marked[window] = decided
            with self.adding:
                self.histograms.add(masks[window], probabilities)
        return counts, self._surfaces(scan, masks, marked)

    def _outlines(self, scan: ScanRecord) -> bool:
        return self.tolerance is not None and _is_small(scan)

    def _surfaces(
        self, scan: ScanRecord, masks: NDArray[np.int8], marked: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        if marked is None or self.tolerance is None:
            return np.full((masks.shape[-1], 2), np.nan)
        spacing = scan.pixel_size if self.physical and scan.pixel_size else (1.0, 1.0)
        tolerance = self.tolerance * float(np.sqrt(spacing[0] * spacing[1]))  # pixels need not be square
        with self.outlining if masks[..., 0].size > _OUTLINED_ALONE else nullcontext():
            return surface_distances(masks, marked, spacing=spacing, tolerance=tolerance)


def _is_small(scan: ScanRecord) -> bool:
    return scan.shape[0] * scan.shape[1] <= LARGEST_OUTLINED


def scan_probabilities(
    engine: Engine, bundle: Bundle, dataset: Dataset, scan: ScanRecord, tile: int
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """What a model makes of one scan: windows that cover it once, with their probabilities ``(h, w, K)``.

    Args:
        engine: runs its network.
        bundle: the model.
        dataset: that has the scan.
        scan: one of its scans.
        tile: side of a tile in pixels; 0: chosen (`unetseg.tile_size`).
    """
    image, info = model_image(bundle, dataset, scan), bundle.info
    return predict_tiles(engine, info, image, dataset.guides(scan), tile=tile_side(info, tile))


def _check_match(bundle: Bundle, dataset: Dataset) -> None:
    for what in ("classes", "channels", "guides"):
        have, want = getattr(dataset.index, what), getattr(bundle.info, what)
        if have != want:
            raise DataError(
                f"evaluate: {what} of model {bundle.version} are {list(want)}, the dataset's are {list(have)}; "
                "train again, or ingest as the model was trained"
            )
