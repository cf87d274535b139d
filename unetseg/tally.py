"""Counting pixels per class, truth and bin of probability: the inner loop of `Histograms`.

Arrays are read once, in blocks that fit a processor's cache, on several threads; Dask arrays block by block, by Dask's
scheduler. Each thread has counts of its own, so an error anywhere leaves nothing half counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from fast_histogram import histogram1d
from numpy.typing import NDArray

from unetseg.curves import BINS, Counts
from unetseg.errors import UsageError
from unetseg.share import cores

__all__ = ["blocks", "check_block", "is_dask", "tally", "tally_dask"]

_BLOCK = 1 << 20  # values handled at once: enough to outweigh clearing the bins
_LAST = (BINS - 1) / BINS  # where the last bin begins; it holds probability 1 as well
_PER_THREAD = 1 << 22  # values that are worth a thread
_CLASSES = 64  # of all threads' counts together: at most about 100 MB
_MERGED = 8  # counts of Dask blocks added up at once

Masks = NDArray[Any]
Probabilities = NDArray[np.floating]


def tally(y_true: Masks, y_pred: Probabilities, *, workers: int = 0) -> Counts:
    """Background and foreground pixels per class and bin, ``(K, 2, BINS)``.

    Args:
        y_true: masks, ``(..., K)`` int8, uint8 or bool; negative is ignored.
        y_pred: probabilities of the same shape, floats in [0, 1].
        workers: threads; 0: as many as there are cores and the size is worth.

    Raises:
        UsageError: for masks above 1 and probabilities outside [0, 1].
    """
    classes = y_true.shape[-1]
    count = workers or max(1, min(cores(), y_true.size // _PER_THREAD, _CLASSES // max(1, classes)))
    if count == 1:
        return _count(blocks(y_true, y_pred), classes)
    with ThreadPoolExecutor(count, thread_name_prefix="unetseg") as executor:
        shares = (islice(blocks(y_true, y_pred), start, None, count) for start in range(count))
        found = executor.map(lambda share: _count(share, classes), shares)
        return sum(found, np.zeros((), np.int64))


def tally_dask(y_true: Any, y_pred: Any) -> Counts:  # noqa: ANN401 (Dask arrays; one of them may be a NumPy array)
    """`tally` of Dask arrays, chunked in any way; what is in memory at once is what Dask's workers hold."""
    import dask.array as da
    from dask.delayed import delayed

    y_pred = da.asarray(y_pred).rechunk({-1: -1})  # type: ignore[no-untyped-call]
    y_true = da.asarray(y_true).rechunk(y_pred.chunks)  # type: ignore[no-untyped-call]
    count = delayed(tally, pure=False)
    pairs = zip(y_true.to_delayed().ravel(), y_pred.to_delayed().ravel(), strict=True)
    parts = [count(truth, probabilities, workers=1) for truth, probabilities in pairs]
    while len(parts) > 1:  # a tree, so that counts are added, and forgotten, as they come
        parts = [delayed(_total)(parts[start : start + _MERGED]) for start in range(0, len(parts), _MERGED)]
    found: Counts = parts[0].compute()
    return found


def is_dask(array: Any) -> bool:  # noqa: ANN401 (any array)
    """Whether an array is Dask's; Dask is not imported to find out."""
    return hasattr(array, "__dask_graph__")


def blocks(y_true: Masks, y_pred: Probabilities) -> Iterator[tuple[Masks, Probabilities]]:
    """Cut along the first axes, as views: a reshape would load the whole of a memory-mapped array."""
    y_true, y_pred = np.atleast_2d(y_true), np.atleast_2d(y_pred)
    if y_pred.size == 0:
        return
    row = y_pred[0].size
    if row > _BLOCK and y_pred.ndim > 2:
        for truth, probabilities in zip(y_true, y_pred, strict=True):
            yield from blocks(truth, probabilities)
        return
    step = max(1, _BLOCK // row)
    for start in range(0, len(y_pred), step):
        yield y_true[start : start + step], y_pred[start : start + step]


def check_block(y_true: Masks) -> None:
    """Refuse masks above 1."""
    if (highest := int(y_true.max())) > 1:
        raise UsageError(f"y_true must be 1 (foreground), 0 or negative (ignored), got {highest}; pass y_true > 0")


def _in_bins(y_pred: Probabilities) -> Probabilities:
    """Probabilities below 1 that fall into the same bins, and that a double can hold 1 more of."""
    if _surely_below_last(y_pred):
        return y_pred
    lowest, highest = float(y_pred.min()), float(y_pred.max())
    for value in (lowest, highest):
        if not 0 <= value <= 1:  # written so that not-a-number fails as well
            raise UsageError(
                f"y_pred must lie in [0, 1], got {value}; apply the sigmoid to logits, and look for "
                "not-a-number in the scan or the weights"
            )
    if y_pred.dtype != np.float32:  # a double has no bits to spare for 1 more, a half too few for the last bin
        y_pred = (np.floor(np.multiply(y_pred, BINS, dtype=np.float64)) / BINS).astype(np.float32)
    return np.minimum(y_pred, np.float32(_LAST)) if highest > _LAST else y_pred


def _surely_below_last(y_pred: Probabilities) -> bool:
    """Whether all are in [0, _LAST], found in one pass: as bits, only what is negative or no number lies above."""
    if y_pred.dtype != np.float32:
        return False
    return bool(y_pred.view(np.uint32).max() <= np.float32(_LAST).view(np.uint32))


def _count(some: Iterator[tuple[Masks, Probabilities]], classes: int) -> Counts:
    """Background and foreground pixels per class and bin, ``(K, 2, BINS)``."""
    counts = np.zeros((classes, 2 * BINS))
    space = np.empty(0)  # one for all blocks: asking the system for fresh memory costs as much as the counting
    for truth, probabilities in some:
        check_block(truth)
        probabilities = _in_bins(probabilities)
        space = space if space.size >= truth.size else np.empty(truth.size)
        places = space[: truth.size].reshape(-1, classes)
        # What is ignored comes to lie below 0, where nothing is counted. Doubles hold these sums exactly.
        np.copyto(places, probabilities.reshape(places.shape))
        places += truth.view(np.int8).reshape(places.shape)
        for k in range(classes):
            counts[k] += histogram1d(places[:, k], bins=2 * BINS, range=(0, 2))
    return counts.astype(np.int64).reshape(classes, 2, BINS)


def _total(parts: Sequence[Counts]) -> Counts:
    return sum(parts[1:], parts[0])
