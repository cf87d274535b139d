"""Segment one scan: at once, unless it is so large that its bands are units of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.blending import BLENDED, blended_bands
from unetseg.bundle import BundleInfo
from unetseg.components import clean, number
from unetseg.config import PredictConfig
from unetseg.near_threshold import near_threshold
from unetseg.object_table import object_rows
from unetseg.output_zarr import CHUNK
from unetseg.outputs import FORMATS, LABELS, MASKS, OBJECTS, PROBABILITIES, Kind
from unetseg.pixel_size import Size, check_pixel_size
from unetseg.predict_job import Job
from unetseg.predict_marker import Marker, Segmented
from unetseg.readers import ScanRef
from unetseg.scan_rows import ScanRows, open_rows, prepare
from unetseg.segment import Segmentation
from unetseg.sources import SourceFile
from unetseg.survey import Preparation
from unetseg.tile_size import band_height
from unetseg.tiling import Span, bands_of, padded_size

__all__ = ["LargeScan", "mask_kind", "output_kinds", "output_name", "output_names", "segment_scan", "wanted_bands"]

Areas = NDArray[np.int64]

_TILES_A_BAND = 2  # sides of overlapping tiles: then half as much again is computed, since neighbours need it too


@dataclass(frozen=True)
class LargeScan:
    """A scan that is segmented in bands.

    Attributes:
        ref: the scan.
        shape: height and width in pixels.
        pixel_size: ``(y, x)`` in micrometres, or None.
        preparation: how its rows become the network's input.
        sources: the files, as they were when it was looked at.
        note: what is odd about it, or nothing.
    """

    ref: ScanRef
    shape: tuple[int, int]
    pixel_size: Size | None
    preparation: Preparation
    sources: tuple[SourceFile, ...]
    note: str


def segment_scan(job: Job, ref: ScanRef) -> Segmented | LargeScan:
    """Segment one scan, unless its output is up to date or it is a large one, which is only looked at.

    Raises:
        BadFileError: it, or a guide, cannot be used.
    """
    marker = Marker(job, ref)
    if done := marker.done():
        marker.drop_parts()
        return done
    sources = marker.sources()
    with open_rows(job, ref) as rows:
        size = rows.plane.header.pixel_size
        zoom, note = check_pixel_size(job.info.pixel_size, size, job.config, ref.path)
        note = "; ".join(filter(None, [note, _blending_note(job, rows.shape, zoom)]))
        preparation = prepare(job, ref, rows)
        if rows.plane.streamed and not zoom:
            return LargeScan(ref, rows.shape, size, preparation, tuple(sources), note)
        found = _segmented(job, rows, preparation, zoom)
    marker.begin(output_names(job.config, ref))
    outputs, areas = _write(job, ref, found, size)
    near = near_threshold(found.levels, job.decision)
    table = object_rows(ref.id, areas, rows.shape, job.info.classes, near, size)
    return marker.finish(sources, outputs, table, note, {ref.id: preparation.profiles})


def _blending_note(job: Job, shape: tuple[int, int], zoom: Size | None) -> str:
    """Says that a scan is not segmented as in one piece, or nothing."""
    sides = (side * factor for side, factor in zip(shape, zoom or (1, 1), strict=True))
    return BLENDED if not job.info.exact and max(sides) > job.config.tile else ""


def wanted_bands(info: BundleInfo, tile: int, height: int) -> list[Span]:
    """How a scan of that height is cut for tiles of that side: not at all where a tile is as high."""
    multiple = int(np.lcm(CHUNK, info.stride))
    if not info.exact:
        rows = band_height(_TILES_A_BAND * tile, halo=0, multiple=multiple)
        return blended_bands(height, rows=rows, tile=tile, halo=info.halo, stride=info.stride)
    rows = band_height(tile, halo=info.halo, multiple=multiple)
    if height <= tile:
        rows = padded_size(height, info.stride)
    return bands_of(height, rows=rows, halo=info.halo, stride=info.stride)


def mask_kind(config: PredictConfig) -> Kind:
    """What the values of the masks mean."""
    return LABELS if config.masks == "labels" else MASKS


def output_kinds(config: PredictConfig) -> list[Kind]:
    """What is written of each scan."""
    more = {OBJECTS: config.objects, PROBABILITIES: config.probabilities}
    return [mask_kind(config), *(kind for kind, wanted in more.items() if wanted)]


def output_name(config: PredictConfig, ref: ScanRef, kind: Kind) -> str:
    """The file of an output, relative to the folder of the outputs."""
    middle = "" if kind in (MASKS, LABELS) else f".{kind.name}"
    return f"{ref.id}{middle}{FORMATS[config.format].suffix}"


def output_names(config: PredictConfig, ref: ScanRef) -> list[str]:
    """All that is written of a scan, relative to the folder of the outputs."""
    return [output_name(config, ref, kind) for kind in output_kinds(config)]


def _segmented(job: Job, rows: ScanRows, preparation: Preparation, zoom: Size | None) -> Segmentation:
    """A scan in memory, band after band, so that normalised intensities are never those of all of a large one."""
    run, keep, height = job.segmenter(), job.config.probabilities, rows.shape[0]
    if zoom:
        return run(*rows.read(0, height, preparation), probabilities=keep, zoom=zoom)
    bands = [
        run.band(*rows.read(span.outer[0], min(span.outer[1], height), preparation), span, probabilities=keep)
        for span in wanted_bands(run.info, run.tile, height)
    ]
    if len(bands) == 1:
        return bands[0]
    kept = [band.probabilities for band in bands if band.probabilities is not None]
    return Segmentation(
        masks=np.concatenate([band.masks for band in bands], axis=1),
        probabilities=np.concatenate(kept, axis=1) if kept else None,
        levels=np.sum([band.levels for band in bands], axis=0),
    )


def _write(job: Job, ref: ScanRef, found: Segmentation, size: Size | None) -> tuple[list[str], list[Areas]]:
    """Write what is asked for, and measure the objects of each class."""
    config = job.config
    measure: Callable[..., tuple[NDArray[Any], Areas]] = number if config.objects else clean
    limits = {"min_pixels": config.min_object, "max_hole_pixels": config.fill_holes}
    measured = [measure(mask.view(bool), **limits) for mask in found.masks]
    marked = np.stack([plane for plane, _ in measured])
    masks = marked > 0 if config.objects else marked
    planes: dict[Kind, NDArray[Any]] = {mask_kind(config): masks.view(np.uint8)}
    if config.objects:
        planes[OBJECTS] = marked
    if found.probabilities is not None:
        planes[PROBABILITIES] = found.probabilities
    outputs = {kind: output_name(config, ref, kind) for kind in planes}
    for kind, name in outputs.items():
        FORMATS[config.format].write(job.out / name, planes[kind], job.info.classes, size, kind=kind)
    return list(outputs.values()), [areas for _, areas in measured]
