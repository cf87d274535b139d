from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from unetseg.counting import count_small, count_values, is_small

TYPES = st.sampled_from(["?", "u1", "u2", "i1", "i2", "u4", "i8", "f4"])
SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12)


@given(st.data(), TYPES, SHAPES, st.integers(1, 4))
def test_values_are_counted_over_all_parts(data, dtype, shape, parts):
    elements = st.integers(0, 1).map(bool) if dtype == "?" else st.integers(0, 3) | st.sampled_from([0, 100, 127])
    if dtype == "f4":
        elements = st.sampled_from([0.0, 0.5, -2.0])
    found = [data.draw(arrays(dtype, shape, elements=elements)) for _ in range(parts)]
    values, counts = count_values(found)
    expected = Counter(item for part in found for item in part.ravel().tolist())
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == expected
    assert values.tolist() == sorted(values.tolist())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("values", [[0, 255, 0], [1, 2, 3], [15, 0, 15], [16, 17, 200], [7, 7, 7]])
def test_counts_are_those_of_a_loop(dtype, values):
    counts = count_small(np.array([values], dtype))
    assert counts.shape == (1 << 8 * np.dtype(dtype).itemsize,)
    assert {value: int(counts[value]) for value in np.flatnonzero(counts)} == Counter(values)


def test_rows_that_are_no_block_of_memory_are_counted():
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(count_small(noise[::2, :, 1]), np.bincount(noise[::2, :, 1].ravel(), minlength=256))


@pytest.mark.parametrize(("dtype", "small"), [("?", True), ("u1", True), ("u2", True), ("u4", False), ("i1", False)])
def test_what_is_small(dtype, small):
    assert is_small(np.dtype(dtype)) == small
