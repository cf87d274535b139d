"""The learning rate over a training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from unetseg.config import TrainConfig
from unetseg.schedules import halvings, learning_rate

STEPS = np.linspace(0, 1, 101)


def test_cosine_rises_then_falls_to_a_hundredth():
    rates = [learning_rate(progress, TrainConfig(learning_rate=0.1)) for progress in STEPS]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1)
    assert np.argmax(rates) == 5
    assert rates[-1] == pytest.approx(0.001)
    assert all(a > b for a, b in pairwise(rates[5:]))


def test_a_constant_rate_only_warms_up():
    rates = [learning_rate(progress, TrainConfig(learning_rate=0.1, schedule="constant")) for progress in STEPS]
    assert rates[0] < rates[3] < 0.1
    assert set(rates[5:]) == {0.1}


def test_plateaus_halve_the_rate():
    config = TrainConfig(learning_rate=0.1, schedule="plateau", patience=9)  # a plateau is 3 epochs
    assert learning_rate(0.5, config, [0.1, 0.2, 0.3]) == 0.1
    assert learning_rate(0.5, config, [0.3, 0.2, 0.2, 0.2]) == 0.05
    assert learning_rate(0.5, config, [0.3, *[0.2] * 6]) == 0.025


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], 0), ([0.5], 0), ([0.5, 0.5, 0.5], 1), ([0.5, 0.4, 0.6, 0.5, 0.6], 1), ([1, 0, 0, 0, 0], 2)],
)
def test_halvings_are_counted_by_hand(scores: list[float], expected: int):
    assert halvings(scores, 2) == expected
