from dataclasses import fields, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from unetseg.config import IngestConfig
from unetseg.normalise import (
    METHODS,
    ChannelScale,
    denormalise,
    fit_scales,
    normalisation_rule,
    normalise,
    rule_in_words,
)

FEW = settings(max_examples=40, deadline=None)
small = array_shapes(min_dims=2, max_dims=2, max_side=12)


def scales_of(values, **config):
    return fit_scales(np.asarray(values)[..., None], IngestConfig(**config))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@FEW
@given(st.data())
def test_percentiles_are_those_of_numpy_without_interpolation(dtype, data):
    values = data.draw(arrays(dtype, small))
    low, high = data.draw(st.floats(0, 49.9)), data.draw(st.floats(50.1, 100))
    expected = np.percentile(values, [low, high], method="inverted_cdf").astype(float)
    (scale,) = scales_of(values, low_percentile=low, high_percentile=high)
    if expected[1] > expected[0]:
        assert scale == ChannelScale(expected[0], 1 / (expected[1] - expected[0]))


@pytest.mark.parametrize("percent", [0.5, 0.7, 7.0, 12.3, 28.0, 35.0, 49.9])
@pytest.mark.parametrize("size", [100, 125, 1000, 2000])
def test_percentiles_that_fall_on_a_rank_are_those_of_numpy(percent, size):
    values = np.random.default_rng(size).permutation(size).astype(np.uint16).reshape(1, -1)
    (scale,) = scales_of(values, low_percentile=percent, high_percentile=100)
    assert scale.offset == np.percentile(values, percent, method="inverted_cdf")


def test_minmax_puts_the_extremes_on_0_and_1():
    values = np.array([[-10.0, 0.0], [10.0, 30.0]], np.float32)[..., None]
    found = normalise(values, fit_scales(values, IngestConfig(normalisation="minmax")))
    np.testing.assert_allclose(found[..., 0], [[0, 0.25], [0.5, 1]], atol=1e-7)


def test_zscore_gives_mean_0_and_deviation_1():
    values = np.random.default_rng(0).integers(0, 60000, (50, 40, 2)).astype(np.uint16)
    found = normalise(values, fit_scales(values, IngestConfig(normalisation="zscore"))).astype(np.float64)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(0, 1)), 1, atol=1e-5)


def test_a_fixed_range_does_not_look_at_the_scan():
    assert scales_of([[7, 9]], normalisation="fixed", fixed_low=-100, fixed_high=300) == (
        ChannelScale(-100, 1 / 400, 65504),
    )


def test_none_leaves_intensities_that_float16_can_hold():
    values = np.array([[[-9.0], [0.5]], [[3.0], [70000.0]]], np.float32)
    found = normalise(values, fit_scales(values, IngestConfig(normalisation="none")))
    np.testing.assert_array_equal(found[..., 0], [[-9, 0.5], [3, 65504]])


def test_each_channel_has_its_own_scale():
    values = np.stack([np.arange(101).reshape(1, -1), 10 * np.arange(101).reshape(1, -1) + 5], axis=-1).astype(
        np.uint16
    )
    scales = fit_scales(values, IngestConfig(low_percentile=10, high_percentile=90))
    # ranks: ceil(10.1) = 11th and ceil(90.9) = 91st of 101 values
    assert scales == (ChannelScale(10, 1 / 80), ChannelScale(105, 1 / 800))


@pytest.mark.parametrize("method", ["percentile", "minmax", "zscore"])
@pytest.mark.parametrize("value", [np.uint8(7), np.float32(0.1), np.float64(1e5 / 3)])
def test_a_constant_channel_becomes_zero(method, value):
    values = np.full((9, 7, 1), value)
    assert not normalise(values, fit_scales(values, IngestConfig(normalisation=method))).any()


def test_a_few_bright_spots_on_black_are_not_lost():
    values = np.zeros((100, 100, 1), np.uint8)
    values[5, 5:15] = 200  # 0.1 % of the pixels: both percentiles are black
    found = normalise(values, fit_scales(values, IngestConfig()))
    assert found[5, 5, 0] == 1
    assert found.sum() == 10


@FEW
@given(arrays(np.uint16, array_shapes(min_dims=3, max_dims=3, max_side=8)))
def test_results_stay_within_the_clip_and_fit_float16(values):
    found = normalise(values, fit_scales(values, IngestConfig()), dtype="float16")
    assert found.dtype == np.float16
    assert found.shape == values.shape
    assert np.abs(found).max() <= 8


@FEW
@given(arrays(np.uint16, array_shapes(min_dims=3, max_dims=3, max_side=8)))
def test_denormalise_undoes_what_was_not_clipped(values):
    scales = fit_scales(values, IngestConfig(normalisation="minmax"))
    # float32 holds 24 bits: a few units in the last place of 65535
    np.testing.assert_allclose(denormalise(normalise(values, scales), scales), values, atol=0.05)


def test_the_scan_itself_is_not_changed():
    values = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    normalise(values, fit_scales(values, IngestConfig()))
    np.testing.assert_array_equal(values, np.arange(12).reshape(3, 4, 1))


@pytest.mark.parametrize("method", ["none", "fixed"])
def test_given_scales_do_not_cut_ordinary_intensities(method):
    pixels = np.linspace(0, 60000, 1000).reshape(25, 40, 1).astype(np.uint16)
    config = IngestConfig(normalisation=method, fixed_low=0, fixed_high=255)
    found = normalise(pixels, fit_scales(pixels, config), dtype="float16")
    expected = pixels.astype(np.float64) / (255 if method == "fixed" else 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("method", ["minmax", "percentile", "zscore"])
@pytest.mark.parametrize(("dtype", "offset"), [("uint32", 4e9), ("int32", -2e9), ("int64", 4e12), ("float64", 4e9)])
def test_a_narrow_range_far_from_0_is_kept(method, dtype, offset):
    steps = np.arange(256 * 3).reshape(-1, 4, 3) % 256  # more rows than are scaled at once
    config = IngestConfig(normalisation=method)
    pixels = (steps + int(offset)).astype(dtype)
    expected = normalise(steps.astype(np.uint8), fit_scales(steps.astype(np.uint8), config))
    scales = fit_scales(pixels, config)
    found = normalise(pixels, scales)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(denormalise(found, scales), pixels, atol=0.01, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float32])
@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_ordinary_types_are_scaled_in_float32(dtype, stored):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 1)).astype(dtype)
    (scale,) = scales = fit_scales(pixels, IngestConfig(normalisation="zscore"))
    expected = (pixels.astype(np.float32) - np.float32(scale.offset)) * np.float32(scale.scale)
    np.testing.assert_array_equal(normalise(pixels, scales, dtype=stored), expected.astype(stored))


def test_a_range_that_float32_hardly_holds_is_scaled_nonetheless():
    pixels = (np.arange(5) * 1e-40).astype(np.float32).reshape(1, 5, 1)
    found = normalise(pixels, fit_scales(pixels, IngestConfig(normalisation="minmax")))
    np.testing.assert_allclose(found.ravel(), [0, 0.25, 0.5, 0.75, 1], atol=1e-4)


@pytest.mark.parametrize("method", ["minmax", "percentile", "zscore"])
@pytest.mark.parametrize("values", [[0.0, 5e-324], [-1.7e308, 1.7e308]], ids=["too narrow", "too wide"])
def test_a_range_without_a_finite_reciprocal_stays_finite(method, values):
    pixels = np.array(values).reshape(1, 2, 1)
    found = normalise(pixels, fit_scales(pixels, IngestConfig(normalisation=method)))
    assert not found.any() or (method == "zscore" and np.abs(found).max() <= 8)


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_the_widest_range_of_float32(value):
    pixels = np.array([-value, 0, value], np.float32).reshape(1, 3, 1)
    found = normalise(pixels, fit_scales(pixels, IngestConfig(normalisation="minmax")))
    np.testing.assert_allclose(np.sort(found.ravel()), [0, 0.5, 1])


@pytest.mark.parametrize("method", ["minmax", "percentile", "zscore"])
def test_one_absurd_pixel_does_not_stop_a_scan(method):
    pixels = np.random.default_rng(0).normal(100, 5, (100, 100, 1))
    pixels[3, 4] = 1e300
    found = normalise(pixels, fit_scales(pixels, IngestConfig(normalisation=method)))
    assert np.isfinite(found).all()
    assert found[3, 4, 0] == (1 if method == "minmax" else 8)
    assert (found[50:].std() > 0.1) == (method == "percentile")


# --------------------------------------------------------------------------- methods


def other(value):
    """Another value of a setting, which is as valid."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "float32"
    return value + 1 if isinstance(value, int) else 0.9 * value + 0.001


def test_the_settings_know_the_methods_that_there_are():
    kind = get_type_hints(IngestConfig)["normalisation"]
    assert set(METHODS) == set(get_args(kind))


@pytest.mark.parametrize("name", [item.name for item in fields(IngestConfig) if item.name != "normalisation"])
@pytest.mark.parametrize("method", METHODS)
def test_the_rule_tells_of_each_setting_that_moves_the_scale_and_of_no_other(method, name):
    config = IngestConfig(normalisation=method)
    values = np.random.default_rng(0).gamma(2.0, 30.0, (60, 50)).astype(np.float32)
    changed = replace(config, **{name: other(getattr(config, name))})
    moves = fit_scales(values[..., None], config) != fit_scales(values[..., None], changed)
    assert (normalisation_rule(config) != normalisation_rule(changed)) == moves


@pytest.mark.parametrize("method", METHODS)
def test_the_words_of_a_method_tell_its_settings(method):
    config = IngestConfig(normalisation=method, low_percentile=1.25, high_percentile=97.5, fixed_low=3.5, fixed_high=77)
    words, rule = rule_in_words(config), normalisation_rule(config)
    assert all(f"{rule[name]:g}" in words for name in METHODS[method].settings)
    assert "{" not in words
