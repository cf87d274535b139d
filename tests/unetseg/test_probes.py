"""Scores of fixed patches while training."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from unetseg.config import TrainConfig
from unetseg.dataset import Planes
from unetseg.probes import Probe


def patches(image: np.ndarray, masks: np.ndarray) -> list[Planes]:
    """Each row of pixels is a patch of its own; the image is what the network below says."""
    guides = np.zeros((1, image.shape[1], 0), np.uint8)
    return [Planes(image[i : i + 1], guides, masks[i : i + 1]) for i in range(len(image))]


@pytest.fixture
def copying() -> keras.Model:
    """A network whose probabilities are its input."""
    image = keras.Input((None, None, 2), name="image")
    return keras.Model([image], keras.layers.Identity(name="probabilities")(image))


IMAGE = np.array([[[0.9, 0.1], [0.8, 0.1]], [[0.7, 0.2], [0.2, 0.1]], [[0.1, 0.9], [0.6, 0.1]]], np.float32)
MASKS = np.array([[[1, 0], [1, 0]], [[0, 0], [0, 0]], [[1, -1], [-1, 0]]], np.int8)


def test_dice_is_at_the_best_threshold_of_each_class_over_all_patches(copying: keras.Model):
    scores = Probe(copying, TrainConfig(batch=2))(patches(IMAGE, MASKS))
    # Class 0, by hand: at 0.8 two hits, none invented, one missed: 2 * 2 / (2 * 2 + 0 + 1). At 0.1: 6 / (6 + 2).
    assert scores.dice[0] == pytest.approx(0.8)
    assert math.isnan(scores.dice[1])  # its only pixel is ignored
    assert scores.monitored == pytest.approx(0.8)


@pytest.mark.parametrize(("precision", "recall"), [(0.9, 2 / 3), (0.6, 1.0)])
def test_recall_at_a_precision(copying: keras.Model, precision: float, recall: float):
    config = TrainConfig(batch=3, monitor="recall_at_precision", monitor_precision=precision)
    assert Probe(copying, config)(patches(IMAGE, MASKS)).monitored == pytest.approx(recall)


def test_a_precision_that_no_threshold_gives_is_no_recall(copying: keras.Model):
    config = TrainConfig(batch=3, monitor="recall_at_precision", monitor_precision=0.9)
    turned = np.where(MASKS < 0, MASKS, 1 - MASKS)  # class 0: the highest two are wrong; class 1: all there is
    assert Probe(copying, config)(patches(IMAGE, turned)).monitored == pytest.approx((0 + 1) / 2)


def test_what_is_no_number_has_no_score(copying: keras.Model):
    scores = Probe(copying, TrainConfig(batch=3))(patches(np.where(IMAGE > 0.8, np.nan, IMAGE), MASKS))
    assert math.isnan(scores.monitored)
    assert all(map(math.isnan, scores.dice))
