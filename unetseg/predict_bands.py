"""Segment a large scan in bands of rows: units of work that any process can do, and that a killed run has not lost.

::

    OUT/.unfinished/<scan>/<hash>/masks/     what the network marked (unetseg.output_bands)
    OUT/.unfinished/<scan>/<hash>/<kind>/    further outputs, and masks whose objects were filtered

The hash is of all that a band depends on: content of the scan, model, settings, tile. So what is there is of this run,
even when a worker of a killed one goes on for a while. All of it goes when the scan's commit marker is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.component_bands import BandComponents, BorderRow, join, summary
from unetseg.config import PredictConfig
from unetseg.filtered_bands import filtered
from unetseg.mask_runs import Runs
from unetseg.near_threshold import near_threshold
from unetseg.object_table import object_rows
from unetseg.output_bands import Bands
from unetseg.outputs import FORMATS, MASKS, OBJECTS, PROBABILITIES, Kind
from unetseg.parallel import Workers, open_workers
from unetseg.predict_job import Job, claim_scratch
from unetseg.predict_marker import Marker, Segmented
from unetseg.predict_scan import LargeScan, mask_kind, output_name, output_names, wanted_bands
from unetseg.readers import ScanRef
from unetseg.scan_rows import open_rows
from unetseg.scratch import keep_only
from unetseg.segment import Segmentation
from unetseg.sources import hashes
from unetseg.tiling import Span

__all__ = ["segment_large", "segment_large_scans"]

_SIDES = ("top", "bottom")


@dataclass(frozen=True)
class _Found:
    """What is noted of a band, as arrays: as lists, millions of objects take ten times the memory."""

    levels: NDArray[np.int64]
    components: tuple[BandComponents, ...]


def segment_large_scans(
    job: Job, scans: Sequence[LargeScan], workers: Workers
) -> Iterator[tuple[ScanRef, Segmented | Exception]]:
    """Segment large scans, each by all workers; where those share no folder, each by one, on its own disk.

    Args:
        job: of the prediction.
        scans: as `unetseg.predict_scan.segment_scan` looked at them.
        workers: that segment their bands.
    """
    if workers.elsewhere and not job.shared:
        for scan, outcome in workers.run(partial(_segment_alone, job), scans):
            yield scan.ref, outcome
        return
    for scan in scans:
        try:
            found: Segmented | Exception = segment_large(job, scan, workers)
        except Exception as error:  # one scan's error is its result, as of a unit
            found = error
        yield scan.ref, found


def _segment_alone(job: Job, scan: LargeScan) -> Segmented:
    """All of a scan, by one of many workers that share no folder."""
    with open_workers(workers=1) as own:
        return segment_large(job, scan, own)


def segment_large(job: Job, scan: LargeScan, workers: Workers) -> Segmented:
    """Segment the bands of a scan that are missing, and make its outputs of all of them.

    Args:
        job: of the prediction.
        scan: as `unetseg.predict_scan.segment_scan` looked at it.
        workers: that segment its bands.

    Raises:
        BadFileError: it cannot be used.
    """
    marker, spans = Marker(job, scan.ref), wanted_bands(job.info, job.config.tile, scan.shape[0])
    folder = job.parts(scan.ref.id, hashes(scan.sources), job.config.tile)
    raw = _bands(job, scan, spans, folder, MASKS)
    kinds = [raw, _bands(job, scan, spans, folder, PROBABILITIES)] if job.config.probabilities else [raw]
    claim_scratch(job)
    keep_only(folder)
    for bands in kinds:
        bands.begin()
    missing = set(raw.missing())
    todo = [span for span in spans if span.inner[0] in missing]
    unit = partial(_segment_band, job, scan, kinds)
    for _, outcome in workers.run(unit, todo):
        if isinstance(outcome, Exception):
            raise outcome
    marker.begin(output_names(job.config, scan.ref))
    found = [_from_plain(note) for _, note in raw.written()]
    outputs, areas = _outputs(job, scan, kinds, found)
    near = near_threshold(np.sum([band.levels for band in found], axis=0), job.decision)
    table = object_rows(scan.ref.id, areas, scan.shape, job.info.classes, near, scan.pixel_size)
    return marker.finish(scan.sources, outputs, table, scan.note, {scan.ref.id: scan.preparation.profiles})


def _bands(job: Job, scan: LargeScan, spans: list[Span], folder: Path, kind: Kind) -> Bands:
    """An output in the making."""
    names = job.info.classes
    return Bands(
        folder=folder / kind.name,
        shape=(len(names), *scan.shape),
        names=names,
        pixel_size=scan.pixel_size,
        rows=spans[0].inner[1] if len(spans) > 1 else spans[0].outer[1],
        kind=kind,
    )


def _segment_band(job: Job, scan: LargeScan, kinds: list[Bands], span: Span) -> None:
    """One unit: the masks are committed last, since their note says that the band is done."""
    start, levels = span.inner[0], np.zeros((), np.int64)
    objects = [Runs((span.inner[1] - start, scan.shape[1])) for _ in job.info.classes]
    for left, found in _strips(job, scan, span, kinds):
        kinds[0].write(start, left, found.masks)
        if found.probabilities is not None:
            kinds[1].write(start, left, found.probabilities)
        for runs, mask in zip(objects, found.masks, strict=True):
            runs.add(left, mask)
        levels = levels + found.levels
    parts = [_to_plain(summary(runs.components())) for runs in objects]  # the pixels are let go of here
    for bands in kinds[1:]:
        bands.commit(start)
    kinds[0].commit(start, {"levels": levels.tolist(), "components": parts})


def _strips(job: Job, scan: LargeScan, span: Span, kinds: list[Bands]) -> Iterator[tuple[int, Segmentation]]:
    """Read a band and segment it, as many columns at a time as are written into a file."""
    with open_rows(job, scan.ref) as rows:
        image, guides = rows.band(span.outer[0], min(span.outer[1], scan.shape[0]), scan.preparation)
    yield from job.segmenter().strips(image, guides, span, columns=kinds[0].columns, probabilities=len(kinds) > 1)


# --------------------------------------------------------------------------- outputs


def _outputs(
    job: Job, scan: LargeScan, kinds: list[Bands], found: Sequence[_Found]
) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Make the outputs, and measure the objects of each class."""
    raw, config = kinds[0], job.config
    finished, areas = [*kinds], _areas(found)
    if mask_kind(config) is not MASKS or _filters(config):
        wanted = [mask_kind(config), OBJECTS] if config.objects else [mask_kind(config)]
        made = [_like(raw, kind) for kind in wanted]
        areas = filtered(raw, made, min_pixels=config.min_object, max_hole_pixels=config.fill_holes)
        finished = [*made, *kinds[1:]]
    outputs = []
    for bands in finished:
        name = output_name(config, scan.ref, bands.kind)
        bands.finish(job.out / name, FORMATS[config.format])
        outputs.append(name)
    return outputs, areas


def _filters(config: PredictConfig) -> bool:
    return bool(config.objects or config.min_object > 1 or config.fill_holes)


def _like(raw: Bands, kind: Kind) -> Bands:
    return Bands(raw.folder.with_name(f"final_{kind.name}"), raw.shape, raw.names, raw.pixel_size, raw.rows, kind)


def _areas(found: Sequence[_Found]) -> list[NDArray[np.int64]]:
    """Areas of the objects of each class, which may span bands."""
    return [join(bands).areas for bands in zip(*(band.components for band in found), strict=True)]


def _to_plain(found: BandComponents) -> dict[str, Any]:
    return asdict(found, dict_factory=lambda items: {name: _listed(value) for name, value in items})


def _listed(value: Any) -> Any:  # noqa: ANN401 (JSON)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _from_plain(note: dict[str, Any]) -> _Found:
    return _Found(np.array(note["levels"], np.int64), tuple(map(_components, note["components"])))


def _components(plain: dict[str, Any]) -> BandComponents:
    top, bottom = (BorderRow(**{name: _array(values) for name, values in plain[side].items()}) for side in _SIDES)
    at_sides = np.array(plain["at_sides"], bool)
    return BandComponents(_array(plain["areas"]), at_sides, top, bottom, plain["width"], plain["connectivity"])


def _array(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)
