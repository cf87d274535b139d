"""Distances of outlines against MONAI, where that is installed; it needs PyTorch, so it is not in the locks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import ndimage

from unetseg.surface_distances import surface_distances

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed: pip install torch monai")

SPACINGS = ((1.0, 1.0), (0.5, 0.5), (2.0, 0.7))


def blob(random, shape):
    noise = ndimage.gaussian_filter(random.normal(size=shape), random.uniform(0.3, 4))
    return noise > np.quantile(noise, random.uniform(0.3, 0.99))


def monai(y_true, y_pred, spacing, tolerance):
    """Hausdorff-95 and surface Dice of one class by MONAI, which computes in float32."""
    import torch

    truth, predicted = (torch.from_numpy(mask[None, None].astype(np.uint8)) for mask in (y_true, y_pred))
    options = {"include_background": True, "spacing": spacing}
    distance = metrics.compute_hausdorff_distance(predicted, truth, percentile=95, **options)
    return distance.item(), metrics.compute_surface_dice(
        predicted, truth, class_thresholds=[tolerance], **options
    ).item()


@pytest.mark.filterwarnings("ignore")  # MONAI's own
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_both_numbers_are_those_of_monai(spacing):
    random = np.random.default_rng(0)
    for number in range(100):
        shape = tuple(random.integers(8, 60, 2))
        true = blob(random, shape)
        other = [blob(random, shape), np.roll(true, 2, axis=number % 2), true ^ (random.random(shape) < 0.02)]
        predicted, tolerance = other[number % 3], (0.0, 1.0, 2.5)[number // 3 % 3]
        found = surface_distances(true[..., None], predicted[..., None], spacing=spacing, tolerance=tolerance)[0]
        assert found == pytest.approx(monai(true, predicted, spacing, tolerance), rel=1e-5, abs=1e-5)
