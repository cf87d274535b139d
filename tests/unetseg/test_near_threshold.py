import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetseg.decisions import Decision
from unetseg.near_threshold import near_threshold


def levels_of(steps):
    return np.bincount(steps, minlength=256)[np.newaxis]


@pytest.mark.parametrize(
    ("threshold", "steps", "expected"),
    [
        (0.5, [0, 255, 255], 0.0),
        (0.5, [0, 63, 64, 191, 192, 255], 2 / 4),  # near: 0.25 to 0.75, that is 64 to 191
        (0.8, [0, 101, 102, 229, 230, 255], 2 / 4),  # near: 0.4 to 0.9, that is 102 to 229
        (0.02, [2, 3, 130, 131, 255], 2 / 4),  # near: 0.01 to 0.51, that is 3 to 130
        (1.0, [127, 128, 255], 2 / 2),
        (0.0, [0, 127, 128], 2 / 3),
    ],
)
def test_by_hand(threshold, steps, expected):
    assert near_threshold(levels_of(steps), Decision("thresholds", (threshold,))).tolist() == [pytest.approx(expected)]


def test_each_class_has_its_threshold_and_argmax_has_one_half():
    levels = np.concatenate([levels_of([0, 60, 255]), levels_of([0, 60, 255])])
    assert near_threshold(levels, Decision("thresholds", (0.5, 0.25))).tolist() == [0.0, 0.5]
    assert near_threshold(levels, Decision("argmax", (0.5, 0.25))).tolist() == [0.0, 0.0]


def test_a_few_pixels_of_a_class_that_is_not_there_count_little():
    steps = [0] * 99_997 + [128] * 3
    assert near_threshold(levels_of(steps), Decision("thresholds", (0.5,)))[0] == pytest.approx(3 / 100)
    assert near_threshold(levels_of([0] * 1000), Decision("thresholds", (0.5,)))[0] == 0


@given(st.lists(st.integers(0, 255), min_size=1, max_size=900), st.floats(0, 1))
def test_it_is_what_counting_the_pixels_gives(steps, threshold):
    p = np.array(steps) / 255
    may_be = p >= threshold / 2
    near = may_be & (p <= (1 + threshold) / 2)
    expected = near.sum() / may_be.sum() if may_be.any() else 0
    found = near_threshold(levels_of(steps), Decision("thresholds", (threshold,)))[0]
    assert found == pytest.approx(expected)
    assert 0 <= found <= 1
