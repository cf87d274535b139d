"""Training patches from a dataset: drawn by seed, held in memory where the scans fit, as a Keras data source."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from unetseg.augment import flip_and_turn, vary_intensity
from unetseg.config import TrainConfig
from unetseg.dataset import Dataset, Planes
from unetseg.scan_record import ScanRecord
from unetseg.tiling import padded_size

__all__ = ["PatchBatches", "PatchReader", "grid_patches", "patch_shape", "stack_batch"]

logger = logging.getLogger(__name__)

_MEMORY_SHARE = 0.3  # of the machine's memory that cached scans may take
_POINTS = 4096  # foreground pixels kept per scan and class to centre patches on
_VALIDATION_PATCHES = 64  # enough for a steady score; more would cost as much as training on small sets


def patch_shape(scans: Sequence[ScanRecord], patch: int, stride: int) -> tuple[int, int]:
    """Height and width of patches: at most ``patch``, no larger than the median scan, multiples of the stride."""
    sides = [int(np.median([scan.shape[axis] for scan in scans])) for axis in (0, 1)]
    largest = max(patch // stride * stride, stride)
    height, width = (min(largest, padded_size(side, stride)) for side in sides)
    return height, width


class PatchReader:
    """Windows of scans, padded where they stick out: the image with zeros, the masks with "ignore"."""

    def __init__(self, dataset: Dataset, scans: Sequence[ScanRecord]) -> None:
        self.dataset = dataset
        self.scans = list(scans)
        self._cache: dict[str, Planes] = {}
        self._cached = _bytes(dataset, self.scans) < _MEMORY_SHARE * _memory()
        held = "in memory" if self._cached else "from disk, patch by patch: they take too much memory"
        logger.info("%d scans are read %s", len(self.scans), held)

    def read(self, scan: ScanRecord, top: int, left: int, shape: tuple[int, int]) -> Planes:
        """The window of a scan whose corner is at ``(top, left)``, which may lie outside."""
        window = _inside(top, shape[0], scan.shape[0]), _inside(left, shape[1], scan.shape[1])
        part = self._window(scan, window)
        before = window[0].start - top, window[1].start - left
        margins = [(low, size - low - have) for low, size, have in zip(before, shape, part.masks.shape, strict=False)]
        pad = partial(np.pad, pad_width=[*margins, (0, 0)])
        if not np.any(margins):
            return part
        return Planes(pad(part.image), pad(part.guides), pad(part.masks, constant_values=-1))

    def _window(self, scan: ScanRecord, window: tuple[slice, slice]) -> Planes:
        if not self._cached:
            return self._load(scan, window)
        if scan.id not in self._cache:
            self._cache[scan.id] = self._load(scan, (slice(None), slice(None)))
        whole = self._cache[scan.id]
        return Planes(whole.image[window].astype(np.float32), whole.guides[window], whole.masks[window])

    def _load(self, scan: ScanRecord, window: tuple[slice, slice]) -> Planes:
        planes = self.dataset.read(scan, window)
        return planes if self._cached else replace(planes, image=planes.image.astype(np.float32))


@dataclass(frozen=True)
class _Points:
    """Foreground pixels of one scan: ``(n, 2)`` rows and columns per class that it holds."""

    per_class: dict[int, NDArray[np.int32]]


class PatchBatches(keras.utils.PyDataset):  # type: ignore[misc]  # keras publishes no types
    """Batches of random patches for ``model.fit``; each depends on seed, epoch and number alone.

    Whoever calls ``fit`` sets ``epoch`` before each one and passes ``shuffle=False``: Keras' own ``on_epoch_end`` is
    also called after the batches that it peeks at, and its shuffling is not seeded by the settings.
    """

    def __init__(
        self, reader: PatchReader, config: TrainConfig, shape: tuple[int, int], *, steps: int, epoch: int = 0
    ) -> None:
        super().__init__(workers=1, max_queue_size=8)
        self.reader, self.config, self.shape = reader, config, shape
        self.steps, self.epoch = steps, epoch
        self._points = [_foreground(reader.dataset, scan, config.seed) for scan in reader.scans]

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int8]]:
        random = np.random.default_rng([self.config.seed, self.epoch, index])
        return stack_batch([self._draw(random) for _ in range(self.config.batch)])

    def _draw(self, random: np.random.Generator) -> Planes:
        number = int(random.integers(len(self.reader.scans)))
        scan, points = self.reader.scans[number], self._points[number].per_class
        if points and random.random() < self.config.foreground_fraction:
            corner = self._around(points, scan, random)
        else:
            corner = [_anywhere(size, side, random) for size, side in zip(scan.shape, self.shape, strict=True)]
        patch = self.reader.read(scan, corner[0], corner[1], self.shape)
        if self.config.flips:
            patch = flip_and_turn(patch, random)
        return vary_intensity(patch, self.config.intensity, random) if self.config.intensity else patch

    def _around(self, points: dict[int, NDArray[np.int32]], scan: ScanRecord, random: np.random.Generator) -> list[int]:
        """A corner that puts some pixel of a class, each class alike, anywhere within the middle half of the patch."""
        chosen = points[list(points)[int(random.integers(len(points)))]]
        point = chosen[int(random.integers(len(chosen)))]
        corner = []
        for centre, size, side in zip(point, scan.shape, self.shape, strict=True):
            start = int(centre) - side // 4 - int(random.integers(max(side // 2, 1)))
            corner.append(min(max(start, min(0, size - side)), max(size - side, 0)))
        return corner


def grid_patches(reader: PatchReader, shape: tuple[int, int]) -> list[Planes]:
    """The patches that validation looks at after every epoch: a grid over the scans, thinned evenly to at most 64."""
    places = [
        (scan, top, left)
        for scan in reader.scans
        for top in range(0, scan.shape[0], shape[0])
        for left in range(0, scan.shape[1], shape[1])
    ]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(len(places), _VALIDATION_PATCHES)).astype(int))
    return [reader.read(scan, top, left, shape) for scan, top, left in (places[number] for number in chosen)]


def stack_batch(patches: Sequence[Planes]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int8]]:
    """Inputs by name and masks, as the network takes them: ``(N, H, W, C)``, ``(N, H, W, G)``, ``(N, H, W, K)``."""
    inputs: dict[str, NDArray[Any]] = {"image": np.stack([patch.image for patch in patches])}
    if patches[0].guides.shape[-1]:
        inputs["guides"] = np.stack([patch.guides for patch in patches]).astype(np.float32)
    return inputs, np.stack([patch.masks for patch in patches])


def _foreground(dataset: Dataset, scan: ScanRecord, seed: int) -> _Points:
    """Some foreground pixels of every class of a scan, the same ones for the same seed."""
    if not any(scan.class_pixels.values()):
        return _Points({})
    random = np.random.default_rng([seed, len(scan.id), *scan.id.encode()])
    masks = dataset.masks(scan)
    found = {}
    for k in range(masks.shape[-1]):
        points = np.argwhere(masks[..., k] == 1).astype(np.int32)
        if len(points):
            found[k] = random.permutation(points)[:_POINTS]
    return _Points(found)


def _inside(start: int, length: int, size: int) -> slice:
    return slice(min(max(start, 0), size), min(max(start + length, 0), size))


def _anywhere(size: int, side: int, random: np.random.Generator) -> int:
    """A random corner; a scan smaller than the patch may lie anywhere in it."""
    low, high = min(0, size - side), max(0, size - side)
    return int(random.integers(low, high + 1))


def _bytes(dataset: Dataset, scans: Sequence[ScanRecord]) -> int:
    index = dataset.index
    per_pixel = len(index.channels) * np.dtype(index.ingest.dtype).itemsize + len(index.classes) + len(index.guides)
    return sum(scan.shape[0] * scan.shape[1] for scan in scans) * per_pixel


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
