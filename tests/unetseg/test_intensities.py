import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg import intensities
from unetseg.intensities import QUANTILES, collector

PERCENTS = (0.5, 50.0, 99.5)


def collected(values, bands):
    found = collector(values.dtype, *values.shape)
    for band in np.array_split(values, bands):
        found.add(band)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["u1", "u2", "i1", "i2", "u4", "i4", "f2", "f4", "f8"]),
    st.integers(0, 2**20),
    st.integers(1, 5),
)
def test_statistics_of_bands_are_those_of_the_whole(dtype, seed, bands):
    random = np.random.default_rng(seed)
    values = (random.normal(0, 30, (23, 17)) if dtype[0] != "u" else random.integers(0, 200, (23, 17))).astype(dtype)
    found = collected(values, bands)
    exact = values.astype(np.float64)
    assert found.extremes == (exact.min(), exact.max())
    assert found.percentiles(PERCENTS) == tuple(np.percentile(exact, PERCENTS, method="inverted_cdf"))
    told = found.describe()
    assert told.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9)
    assert told.deviation == pytest.approx(exact.std(), rel=1e-9)
    assert told.quantiles == tuple(np.percentile(exact, QUANTILES, method="inverted_cdf"))
    assert told.every == 1


@pytest.mark.parametrize("bands", [1, 4, 9])
def test_large_scans_that_cannot_be_counted_are_sampled_and_say_so(monkeypatch, bands):
    monkeypatch.setattr(intensities, "MOST_SAMPLES", 100)
    values = np.random.default_rng(0).normal(0, 1, (50, 8)).astype(np.float32)
    found = collected(values, bands)
    sample = values[::4].astype(np.float64)  # 400 pixels, of which 100 are kept
    assert found.describe().every == 4
    assert found.percentiles(PERCENTS) == tuple(np.percentile(sample, PERCENTS, method="inverted_cdf"))
    assert found.extremes == (values.min(), values.max())
    assert found.describe().mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-9)


def test_sixteen_bits_are_exact_however_large(monkeypatch):
    monkeypatch.setattr(intensities, "MOST_SAMPLES", 10)
    values = np.random.default_rng(0).integers(0, 65536, (50, 8)).astype(np.uint16)
    assert collected(values, 3).percentiles(PERCENTS) == tuple(np.percentile(values, PERCENTS, method="inverted_cdf"))


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("absurd", [1e300, -1e300])
def test_moments_stay_finite_whatever_a_pixel_holds(bands, absurd):
    values = np.random.default_rng(0).normal(0, 1, (30, 8))
    values[11, 3] = absurd
    found = collected(values, bands)
    told = found.describe()
    counted = np.clip(values, -1e140, 1e140)
    assert told.mean == pytest.approx(counted.mean(), rel=1e-9)
    assert told.deviation == pytest.approx(counted.std(), rel=1e-9)
    assert absurd in found.extremes
    assert told.quantiles == tuple(np.percentile(values, QUANTILES, method="inverted_cdf"))
