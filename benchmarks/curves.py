"""Streaming precision-recall curves against scikit-learn's, and thresholds chosen together."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from benchmarks.timing import median_ratio
from unetseg.config import EvaluateConfig
from unetseg.histograms import Histograms
from unetseg.thresholds import choose_thresholds

_PIXELS = 100_000_000
_CLASSES = 4
_PART = 10_000_000
_SPEED = 100
_MEGABYTES = 300

Row = tuple[str, float, str, str, bool | None]


def measure(folder: Path) -> Iterator[Row]:
    """A hundred million pixels of four classes, and the average precision of a part of them."""
    truth, probabilities = _pixels(_PIXELS)
    yield from _speed(truth, probabilities)
    yield from _agreement(truth[:_PART, 0], probabilities[:_PART, 0])
    yield from _thresholds(truth[:_PART], probabilities[:_PART])
    yield _peak(truth, probabilities)


def _pixels(count: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """One foreground pixel in ten, and a network that mostly tells them apart; made in parts, to save memory."""
    random = np.random.default_rng(0)
    truth = np.empty((count, _CLASSES), bool)
    probabilities = np.empty((count, _CLASSES), np.float32)
    step = 1_000_000
    for start in range(0, count, step):
        part = slice(start, start + step)
        found = random.standard_normal(truth[part].shape, np.float32)
        truth[part] = random.random(found.shape, np.float32) < 0.1
        probabilities[part] = np.clip(0.15 * found + 0.3 + np.float32(0.3) * truth[part], 0, 1)
    return truth, probabilities


def _speed(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Iterator[Row]:
    """All classes here; there one class, times four."""

    def ours() -> None:
        found = Histograms.empty(_CLASSES)
        found.add(truth, probabilities)
        for k in range(_CLASSES):
            found.curve(k).average_precision  # noqa: B018 (a property that computes)

    def theirs() -> object:
        return precision_recall_curve(truth[:, 0], probabilities[:, 0])

    ratio = median_ratio(ours, theirs, rounds=3) * _CLASSES
    name = "precision-recall curves of 100 M pixels, 4 classes, times as fast as scikit-learn (its time for one, x 4)"
    yield name, ratio, "x", f">= {_SPEED}", ratio >= _SPEED


def _agreement(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Iterator[Row]:
    found = Histograms.empty(1)
    found.add(truth[:, None], probabilities[:, None])
    difference = abs(found.curve(0).average_precision - average_precision_score(truth, probabilities))
    yield "average precision, difference to scikit-learn", difference, "", "<= 1.5e-5 (one bin)", difference <= 1.5e-5


def _thresholds(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Iterator[Row]:
    found = Histograms.empty(_CLASSES)
    found.add(truth, probabilities)
    for average in ("micro", "macro"):
        config = EvaluateConfig(criterion="recall_at_precision", average=average)
        started = time.perf_counter()
        choose_thresholds(found, "abcd", config)
        seconds = time.perf_counter() - started
        yield f"thresholds of 4 classes chosen together, {average} average", seconds, "s", "< 10", seconds < 10


def _peak(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Row:
    """Of all pixels; NumPy reports what it allocates."""
    tracemalloc.start()
    found = Histograms.empty(_CLASSES)
    found.add(truth, probabilities)
    for k in range(_CLASSES):
        found.curve(k).average_precision  # noqa: B018 (a property that computes)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    name = "precision-recall curves of 100 M pixels, 4 classes, peak memory above the input"
    return name, peak, "MB", f"< {_MEGABYTES}", peak < _MEGABYTES
