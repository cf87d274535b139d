"""Distances of outlines against all pairs of outline pixels, and hand values."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unetseg.errors import UsageError
from unetseg.surface_distances import surface_distances


def one(y_true, y_pred, *, spacing=(1.0, 1.0), tolerance=1.0):
    """Both numbers of a single class."""
    true, predicted = np.asarray(y_true, np.int8)[..., None], np.asarray(y_pred, bool)[..., None]
    return surface_distances(true, predicted, spacing=spacing, tolerance=tolerance)[0].tolist()


def square(size, top, left, side):
    mask = np.zeros((size, size), np.int8)
    mask[top : top + side, left : left + side] = 1
    return mask


# --------------------------------------------------------------------------- slow second implementation


def outline(mask):
    """Pixels of which one of the four neighbours is no foreground, or lies outside."""
    height, width = mask.shape
    inside = {(y, x) for y, x in itertools.product(range(height), range(width)) if mask[y, x]}
    return [(y, x) for y, x in inside if not {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} <= inside]


def nearest(points, others, spacing):
    return [min(math.hypot((y - v) * spacing[0], (x - u) * spacing[1]) for v, u in others) for y, x in points]


def percentile_95(values):
    """Linear interpolation between the sorted values, as NumPy's default."""
    ordered = sorted(values)
    place = 0.95 * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def slow(y_true, y_pred, spacing, tolerance):
    known = y_true >= 0
    true, predicted = outline((y_true == 1) & known), outline(y_pred & known)
    if not true:
        return [math.nan, math.nan]
    if not predicted:
        return [math.hypot(y_true.shape[0] * spacing[0], y_true.shape[1] * spacing[1]), 0.0]
    there, back = nearest(true, predicted, spacing), nearest(predicted, true, spacing)
    within = [distance <= tolerance + 1e-6 for distance in there + back]
    return [max(percentile_95(there), percentile_95(back)), sum(within) / len(within)]


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(
    shapes.flatmap(lambda shape: arrays(np.int8, shape, elements=st.sampled_from([-1, 0, 0, 1, 1]))),
    st.integers(0, 2**31),
    st.sampled_from([(1.0, 1.0), (0.1, 0.1), (2.0, 0.5), (0.3, 0.7)]),
    st.sampled_from([0.0, 0.3, 1.0, 1.5]),
)
def test_both_numbers_equal_all_pairs_of_outline_pixels(y_true, seed, spacing, tolerance):
    random = np.random.default_rng(seed)
    y_pred = (y_true == 1) ^ (random.random(y_true.shape) < random.random())
    found = one(y_true, y_pred, spacing=spacing, tolerance=tolerance)
    np.testing.assert_allclose(found, slow(y_true, y_pred, spacing, tolerance), rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------- hand values


def test_equal_masks_are_perfect():
    assert one(square(9, 2, 2, 4), square(9, 2, 2, 4), tolerance=0) == [0, 1]


@pytest.mark.parametrize(("tolerance", "share"), [(0, 0.5), (0.999, 0.5), (1, 1)])
def test_a_square_moved_by_one_pixel(tolerance, share):
    # 12 outline pixels each; the three in the middle of top and bottom coincide, the others lie one pixel off.
    assert one(square(9, 2, 2, 4), square(9, 2, 3, 4), tolerance=tolerance) == [1, share]


@pytest.mark.parametrize(("spacing", "expected"), [((1, 1), 5), ((2, 1), 10), ((2, 3), 10)], ids=str)
def test_spacing_is_y_then_x(spacing, expected):
    true, predicted = np.zeros((9, 9)), np.zeros((9, 9))
    true[1, 4], predicted[6, 4] = 1, 1
    assert one(true, predicted, spacing=spacing)[0] == expected


def test_a_few_far_pixels_hardly_move_the_95th_percentile():
    predicted = square(60, 5, 5, 30)
    predicted[58, 58] = 1
    assert one(square(60, 5, 5, 30), predicted)[0] == 0


def test_the_worse_direction_counts():
    half = square(40, 5, 5, 10)
    both = half + square(40, 25, 25, 10)
    assert one(both, half)[0] == one(half, both)[0] > 20


@pytest.mark.parametrize("pixel", [0.1, 0.3, 0.7])
def test_rounding_does_not_miss_a_tolerance_of_whole_pixels(pixel):
    true, predicted = np.zeros((1, 9)), np.zeros((1, 9))
    true[0, 2], predicted[0, 5] = 1, 1
    assert one(true, predicted, spacing=(pixel, pixel), tolerance=3 * pixel)[1] == 1
    assert one(true, predicted, spacing=(pixel, pixel), tolerance=2.999 * pixel)[1] == 0


# --------------------------------------------------------------------------- conventions


@pytest.mark.parametrize("predicted", [0, 1], ids=["nothing-predicted", "something-predicted"])
def test_an_absent_class_is_not_measurable(predicted):
    assert np.isnan(one(np.zeros((4, 4)), np.full((4, 4), predicted))).all()


def test_a_wholly_ignored_scan_is_not_measurable():
    assert np.isnan(one(np.full((4, 4), -1), np.ones((4, 4)))).all()


def test_a_missed_class_is_the_diagonal_away():
    true = np.zeros((6, 8))
    true[2, 3] = 1
    assert one(true, np.zeros((6, 8)), spacing=(0.5, 0.5)) == [5, 0]


def test_what_is_predicted_on_ignored_pixels_alone_is_nothing():
    true = np.zeros((3, 4))
    true[0, 0], true[2] = 1, -1
    predicted = np.zeros((3, 4))
    predicted[2] = 1
    assert one(true, predicted) == [5, 0]


def test_objects_that_run_into_ignored_pixels_meet_there():
    true = square(12, 3, 3, 6)
    true[:, 7:] = -1
    further = np.zeros((12, 12))
    further[3:9, 3:11] = 1
    assert one(true, further, tolerance=0) == [0, 1]


def test_a_far_object_costs_no_more_than_its_box():
    true, predicted = np.zeros((2000, 2000, 1), np.int8), np.zeros((2000, 2000, 1), bool)
    true[1500:1510, 1500:1510], predicted[1501:1511, 1500:1510] = 1, True
    near = one(square(30, 5, 5, 10), np.roll(square(30, 5, 5, 10), 1, axis=0))
    assert surface_distances(true, predicted, tolerance=1.0)[0].tolist() == near


def test_classes_are_measured_one_by_one():
    random = np.random.default_rng(0)
    true, predicted = random.integers(-1, 2, (12, 14, 3)).astype(np.int8), random.random((12, 14, 3)) < 0.5
    together = surface_distances(true, predicted, spacing=(1, 2), tolerance=2)
    assert together.shape == (3, 2)
    for k in range(3):
        assert together[k].tolist() == one(true[..., k], predicted[..., k], spacing=(1, 2), tolerance=2)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8])
def test_masks_without_ignored_pixels_may_be_unsigned(dtype):
    true = square(9, 2, 2, 4)
    found = surface_distances(true[..., None].astype(dtype), np.roll(true, 1)[..., None].astype(bool), tolerance=0.5)
    assert found[0].tolist() == one(true, np.roll(true, 1), tolerance=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": np.zeros((4, 4), np.int8), "y_pred": np.zeros((4, 4), bool)}, r"\(H, W, classes\), got \(4, 4\)"),
        ({"y_pred": np.zeros((4, 4, 1), np.float32)}, "got float32; pass y_pred >= thresholds"),
        ({"y_pred": np.zeros((4, 5, 1), bool)}, r"got \(4, 4, 1\) and \(4, 5, 1\)"),
        ({"spacing": (1.0, 0.0)}, r"above 0, got \(1.0, 0.0\)"),
        ({"spacing": (1.0, 1.0, 1.0)}, "the two sides"),
        ({"spacing": (1.0, math.inf)}, "above 0"),
        ({"tolerance": -1.0}, "got -1.0"),
        ({"tolerance": math.nan}, "got nan"),
    ],
    ids=["no-class-axis", "probabilities", "shapes", "spacing-0", "spacing-3", "spacing-inf", "negative", "nan"],
)
def test_what_cannot_be_measured_is_refused(change, message):
    arguments = {"y_true": np.zeros((4, 4, 1), np.int8), "y_pred": np.zeros((4, 4, 1), bool), "tolerance": 1.0}
    with pytest.raises(UsageError, match=message):
        surface_distances(**arguments | change)
