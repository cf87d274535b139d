"""Profiles of intensities and their distances, against SciPy and NumPy on all pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from unetseg.intensity_distance import KNOTS, PERCENTS, distance, even, pooled, profile
from unetseg.normalise import ChannelScale

numbers = st.lists(st.floats(-8, 8), min_size=len(KNOTS), max_size=len(KNOTS)).map(sorted).map(tuple)


def profile_of(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.percentile(values, KNOTS).tolist())


@given(numbers, st.lists(numbers, min_size=1, max_size=4))
def test_distance_is_scipys_wasserstein_distance_of_the_percentiles(own: tuple, others: list):
    all_together = pooled(others)
    expected = wasserstein_distance(even([own])[0], all_together)
    assert distance(own, all_together) == pytest.approx(expected, abs=1e-12)


def test_a_shift_is_its_own_distance_and_equal_scans_have_none():
    values = np.random.default_rng(0).random(1000)
    one = pooled([profile_of(values)])
    assert distance(profile_of(values), one) == pytest.approx(0, abs=1e-12)
    assert distance(profile_of(values + 0.25), one) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", ["normal", "two peaks", "skewed"])
def test_seven_percentiles_tell_nearly_what_all_pixels_tell(shape: str):
    random = np.random.default_rng(0)
    values = {
        "normal": random.normal(0.6, 0.1, 50_000),
        "two peaks": np.concatenate([random.normal(0.2, 0.05, 30_000), random.normal(0.9, 0.05, 20_000)]),
        "skewed": random.gamma(2, 0.2, 50_000),
    }[shape]
    other = random.random(50_000)
    exact = wasserstein_distance(values, other)
    assert distance(profile_of(values), pooled([profile_of(other)])) == pytest.approx(exact, abs=0.03)


def test_scans_are_pooled_as_if_each_had_as_many_pixels():
    random = np.random.default_rng(1)
    scans = [random.uniform(low, high, 20_000) for low, high in ((0, 1), (0.5, 0.7), (0.6, 3))]
    found = pooled([profile_of(values) for values in scans])
    assert found == pytest.approx(np.percentile(np.concatenate(scans), PERCENTS), abs=0.03)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (ChannelScale(100.0, 0.01), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 8.0)),  # clipped as the pixels are
        (ChannelScale(0.0, 1.0, 65504.0), (100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 5000.0)),
        (ChannelScale(100.0, 0.0), (0.0,) * 7),
    ],
    ids=["percentile", "none", "constant"],
)
def test_profiles_are_the_normalised_intensities(scale: ChannelScale, expected: tuple[float, ...]):
    assert profile((100, 110, 120, 130, 140, 150, 5000), scale) == pytest.approx(expected)
