"""Training patches from a dataset, drawn by seed, as a Keras data source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from unetseg.augment import augmented
from unetseg.bit_fields import unpack
from unetseg.config import AugmentConfig, TrainConfig
from unetseg.dataset import Planes
from unetseg.patch import Patch
from unetseg.patch_centres import PatchCentres
from unetseg.patch_reader import PatchReader
from unetseg.prefetch import Prefetch
from unetseg.scales import scaled_targets
from unetseg.scan_record import ScanRecord
from unetseg.share import cores

__all__ = ["Batch", "PatchBatches", "grid_patches", "stack_batch"]

_MOST_WORKERS: Final = 8  # threads that prepare batches: more than keep a large GPU fed
_BATCHES_AHEAD: Final = 2  # besides one per worker
_GRID_PATCHES: Final = 64  # enough for a steady score; more would cost as much as training on small sets

_Place: TypeAlias = tuple[ScanRecord, int, int]  # scan, top, left
Batch: TypeAlias = tuple[dict[str, NDArray[Any]], NDArray[np.int8] | dict[str, NDArray[Any]]]
"""Inputs by name, and masks: one array, or one per output of a multi-scale network."""


class PatchBatches(keras.utils.PyDataset):  # type: ignore[misc]  # keras publishes no types
    """Batches of random patches for ``model.fit``; each depends on seed, epoch and number alone.

    Threads prepare the next batches, those of the next epoch too. Whoever calls ``fit`` sets ``epoch`` before each one
    and passes ``shuffle=False``: Keras' own ``on_epoch_end`` is also called after the batches that it peeks at, and its
    shuffling is not seeded by the settings. Everything but ``epoch`` stays as it was given.

    The first error of a batch is kept in ``error``, since a backend may pass on another.

    Args:
        reader: of the scans.
        config: seed, share of foreground patches, patches per batch and batches per epoch; without gaps.
        augment: how patches are varied.
        shape: height and width of a patch in pixels.
        scales: factor of each output by its name, for a network with more than one.
        epoch: the first one.
    """

    def __init__(
        self,
        reader: PatchReader,
        config: TrainConfig,
        augment: AugmentConfig,
        shape: tuple[int, int],
        *,
        scales: Mapping[str, int] | None = None,
        epoch: int = 0,
    ) -> None:
        super().__init__()
        self.reader, self.config, self.augment, self.shape = reader, config, augment, shape
        self.scales, self.epoch = dict(scales or {}), epoch
        self._centres = PatchCentres(reader, config.foreground_fraction, config.seed)
        workers = min(max(cores() // 2, 1), _MOST_WORKERS)
        self._ahead = workers + _BATCHES_AHEAD
        self._prefetch = Prefetch(self._make, workers=workers)
        self.error: Exception | None = None

    def __len__(self) -> int:
        return self.config.steps_per_epoch

    def __getitem__(self, index: int) -> Batch:
        following = (divmod(index + ahead, len(self)) for ahead in range(1, self._ahead + 1))
        epoch = self.epoch
        try:
            return self._prefetch.get((epoch, index), [(epoch + later, number) for later, number in following])
        except Exception as error:
            self.error = self.error or error
            raise

    def close(self) -> None:
        """End the threads and let go of the scans: Keras keeps a data source long after its last batch."""
        self._prefetch.close()
        self.reader.release()

    def scans_of(self, index: int) -> list[str]:
        """Ids of the scans that a batch of this epoch is cut from, one per patch; nothing is read for it."""
        draws = [self._centres.draw(self._random(self.epoch, index, number)) for number in range(self.config.batch)]
        return [self.reader.scans[scan].id for scan, _ in draws]

    def _make(self, place: tuple[int, int]) -> Batch:
        patches = [self._patch(self._random(*place, number)) for number in range(self.config.batch)]
        masks = unpack(np.stack([patch.fields for patch in patches]), len(self.reader.dataset.index.classes))
        inputs = _inputs(patches)
        if len(self.scales) < 2:
            return inputs, masks
        return inputs, scaled_targets(masks, self.scales)

    def _patch(self, random: np.random.Generator) -> Patch:
        draw = self._centres.draw(random)
        corner = self._centres.corner(draw, self.shape, random)
        read = partial(self.reader.read, self.reader.scans[draw[0]])
        return augmented(read, corner, self.shape, self.augment, random)

    def _random(self, epoch: int, index: int, number: int) -> np.random.Generator:
        """Random numbers of one patch; the first ones draw its scan, which `scans_of` relies on."""
        return np.random.default_rng([self.config.seed, epoch, index, number])


def grid_patches(reader: PatchReader, shape: tuple[int, int], limit: int = _GRID_PATCHES) -> list[Planes]:
    """Patches as they are, the same ones each time: a grid over the scans.

    Where there are more than the limit, half of it is spread evenly over all, and half over those that hold each class:
    a class in one patch of two hundred would else be missing from the score.

    Args:
        reader: of the scans; validation's, or training's to see how well its own scans are known.
        shape: height and width of a patch in pixels.
        limit: about so many at most.
    """
    places = [
        (scan, top, left)
        for scan in reader.scans
        for top in range(0, scan.shape[0], shape[0])
        for left in range(0, scan.shape[1], shape[1])
    ]
    classes = len(reader.dataset.index.classes)
    if len(places) > limit:
        places = [places[number] for number in _thinned(_held(reader, places, shape), limit)]
    return [reader.read(scan, top, left, shape).planes(classes) for scan, top, left in places]


def _held(reader: PatchReader, places: Sequence[_Place], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which patch holds some pixel of which class, ``(P, K)``."""
    bits = np.arange(len(reader.dataset.index.classes))
    found = []
    for (_, top), group in groupby(places, key=lambda place: (place[0].id, place[1])):
        row = list(group)
        fields = np.bitwise_or.reduce(reader.fields(row[0][0], slice(top, top + shape[0])), axis=0)
        found += [int(np.bitwise_or.reduce(fields[left : left + shape[1]])) >> bits & 1 for _, _, left in row]
    return np.array(found, dtype=bool)


def _thinned(held: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """Numbers of the patches that stay, in order."""
    patches, classes = held.shape
    each = max(limit // 2 // classes, 1)
    by_class = [_evenly(np.flatnonzero(held[:, k]), each) for k in range(classes)]
    chosen = np.unique(np.concatenate([_evenly(np.arange(patches), limit // 2), *by_class]))
    left = np.setdiff1d(np.arange(patches), chosen)
    return np.union1d(chosen, _evenly(left, max(limit - len(chosen), 0)))


def _evenly(numbers: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """At most so many of them, evenly apart."""
    count = min(len(numbers), count)
    chosen = ((np.arange(count) + 0.5) * len(numbers) / max(count, 1)).astype(int)
    found: NDArray[np.intp] = numbers[chosen]
    return found


def stack_batch(patches: Sequence[Planes]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int8]]:
    """Inputs by name and masks, as the network takes them: ``(N, H, W, C)``, ``(N, H, W, G)``, ``(N, H, W, K)``."""
    return _inputs(patches), np.stack([patch.masks for patch in patches])


def _inputs(patches: Sequence[Patch | Planes]) -> dict[str, NDArray[Any]]:
    inputs: dict[str, NDArray[Any]] = {"image": np.stack([patch.image for patch in patches], dtype=np.float32)}
    if patches[0].guides.shape[-1]:
        inputs["guides"] = np.stack([patch.guides for patch in patches], dtype=np.float32)
    return inputs
