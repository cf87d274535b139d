"""Masks at smaller scales: by hand, against a loop over pixels, and for whole sets of outputs."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unetseg import scales
from unetseg.errors import UsageError
from unetseg.scales import masks_at_scale, scaled_targets


def slow(masks, factor):
    """The majority of each block, pixel by pixel."""
    height, width, classes = masks.shape
    smaller = np.full((-(-height // factor), -(-width // factor), classes), -1, "int8")
    for y, x, k in np.ndindex(*smaller.shape):
        block = masks[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor, k]
        inside, outside = sum(v > 0 for v in block.flat), sum(v == 0 for v in block.flat)
        if inside + outside:
            smaller[y, x, k] = inside >= outside
    return smaller


some_masks = st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 13), st.integers(1, 3)).flatmap(
    lambda shape: arrays("int8", shape, elements=st.integers(-1, 1))
)


@given(masks=some_masks, factor=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_any_mask_at_any_scale_equals_the_loop(masks, factor):
    got = masks_at_scale(masks, factor)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, np.stack([slow(sample, factor) for sample in masks]))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([1, 1, 1, 1], 1),
        ([1, 1, 0, 0], 1),
        ([1, 0, 0, 0], 0),
        ([1, 0, -1, -1], 1),
        ([1, 0, 0, -1], 0),
        ([0, -1, -1, -1], 0),
        ([-1, -1, -1, -1], -1),
    ],
    ids=["all", "tie", "minority", "tie-of-those-that-count", "minority-of-those-that-count", "one-counts", "none"],
)
def test_the_majority_of_the_pixels_that_count_decides(block, expected):
    assert masks_at_scale(np.array(block, "int8").reshape(2, 2, 1), 2).tolist() == [[[expected]]]


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("inside", [0, 1])
def test_sums_of_large_blocks_do_not_overflow(factor, inside):
    """Half of a block and one pixel more, which is the closest that a vote can be."""
    block = np.full(factor * factor, 1 - inside, "int8")
    block[: factor * factor // 2 + 1] = inside
    assert masks_at_scale(block.reshape(factor, factor, 1), factor).tolist() == [[[inside]]]
    full = np.full((factor, factor, 1), inside, "int8")
    assert masks_at_scale(full, factor).tolist() == [[[inside]]]


def test_the_last_blocks_cover_what_is_there():
    masks = np.zeros((3, 5, 1), "int8")
    masks[2, 4] = 1
    assert masks_at_scale(masks, 2)[..., 0].tolist() == [[0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_masks_without_ignored_pixels_may_be_of_other_types(dtype):
    masks = np.random.default_rng(0).integers(0, 2, (2, 7, 6, 2))
    got = masks_at_scale(masks.astype(dtype), 4)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, masks_at_scale(masks.astype("int8"), 4))


def test_targets_are_masks_by_output_and_the_input_is_left_alone():
    masks = np.random.default_rng(0).integers(-1, 2, (2, 8, 8, 3)).astype("int8")
    before = masks.copy()
    targets = scaled_targets(masks, {"probabilities": 1, "probabilities_2": 2, "probabilities_4": 4})
    assert list(targets) == ["probabilities", "probabilities_2", "probabilities_4"]
    np.testing.assert_array_equal(targets["probabilities"], masks)
    for name, factor in (("probabilities_2", 2), ("probabilities_4", 4)):
        # From the full masks: the majority of majorities can be another.
        np.testing.assert_array_equal(targets[name], np.stack([slow(sample, factor) for sample in masks]))
    np.testing.assert_array_equal(masks, before)


@pytest.mark.parametrize(
    ("masks", "factor", "message"),
    [
        (np.zeros((4, 4), "int8"), 2, r"masks must be \(H, W, K\) or \(N, H, W, K\), got \(4, 4\)"),
        (np.zeros((4, 4, 1)), 2, "masks must be int8, uint8 or bool, got float64"),
        (np.full((4, 4, 1), 255, "uint8"), 2, "masks must be 1, 0 or negative.*got 255; pass masks > 0"),
        (np.zeros((4, 4, 1), "int8"), 0, "factor must be at least 1, got 0"),
    ],
    ids=["no-classes", "floats", "white-is-255", "factor"],
)
def test_other_masks_and_factors_are_refused(masks, factor, message):
    with pytest.raises(UsageError, match=message):
        masks_at_scale(masks, factor)


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(scales).failed == 0
