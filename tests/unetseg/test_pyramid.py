import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import block_reduce

from unetseg.pyramid import Reduced, halve, level_count, pick_level

FEW = settings(max_examples=50, deadline=None)
PLANES = arrays(st.sampled_from([np.uint8, np.uint16, np.uint32]), array_shapes(min_dims=3, max_dims=3, max_side=9))


@FEW
@given(PLANES)
def test_a_halved_image_is_scikit_image_s_largest_of_blocks(planes):
    found = halve(planes)
    np.testing.assert_array_equal(found, block_reduce(planes, (1, 2, 2), np.max))
    assert found.dtype == planes.dtype


def test_a_thread_of_one_pixel_stays_a_thread():
    diagonal = np.eye(64, dtype=np.uint8)[None]
    for _ in range(4):
        diagonal = halve(diagonal)
    np.testing.assert_array_equal(diagonal[0], np.eye(4))


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [(1, 1, 1), (1024, 1024, 1), (1025, 3, 2), (3, 2048, 2), (2049, 2048, 3), (32768, 32768, 6), (100_000, 10, 8)],
)
def test_levels_are_halved_until_the_larger_side_is_at_most_1024(height, width, levels):
    assert level_count(height, width) == levels
    sides = [max(height, width)]
    while sides[-1] > 1024:
        sides.append((sides[-1] + 1) // 2)
    assert len(sides) == levels


@FEW
@given(arrays(np.uint8, (2, 37, 11)), st.integers(1, 4), st.integers(0, 37), st.integers(0, 37), st.integers(1, 20))
def test_a_level_of_what_is_not_in_memory_is_that_level(planes, level, start, stop, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unetseg.pyramid._READ_ROWS", rows)
        reduced = Reduced(planes, level)
        found = reduced[1:, start:stop]
    expected = block_reduce(planes, (1, 2**level, 2**level), np.max)
    assert reduced.shape == expected.shape
    np.testing.assert_array_equal(found, expected[1:, start:stop])


@pytest.mark.parametrize(("step", "level"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (1000, 3)])
def test_the_level_that_is_read_is_no_coarser_than_what_is_wanted(step, level):
    assert pick_level(step, 4) == level
    assert pick_level(step, 1) == 0
