"""Streaming precision-recall curves against scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve

from benchmarks.timing import median_ratio
from unetseg.curves import Histograms

_PIXELS = 10_000_000
_TARGET = 100


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """One class, ten million pixels; the average precisions must agree as well."""
    random = np.random.default_rng(0)
    truth = random.random((_PIXELS, 1)) < 0.1
    probabilities = np.clip(random.normal(0.3 + 0.3 * truth, 0.15), 0, 1).astype(np.float32)

    def ours() -> Histograms:
        found = Histograms.empty(1)
        found.add(truth, probabilities)
        found.curve(0).average_precision  # noqa: B018 (a property that computes)
        return found

    def theirs() -> object:
        return precision_recall_curve(truth[:, 0], probabilities[:, 0])

    ratio = median_ratio(ours, theirs, rounds=3)
    yield (
        "precision-recall curve of 10 M pixels, times as fast as scikit-learn",
        ratio,
        "x",
        f">= {_TARGET}",
        ratio >= _TARGET,
    )
    expected = average_precision_score(truth[:, 0], probabilities[:, 0])
    difference = abs(ours().curve(0).average_precision - expected)
    yield "average precision, difference to scikit-learn", difference, "", "<= 1.5e-5 (one bin)", difference <= 1.5e-5
