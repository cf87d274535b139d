import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unetseg.bit_fields import MOST_CLASSES, count_fields, field_dtype, pack, unpack, unpack_guides
from unetseg.errors import UsageError

MASKS = st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 33, 63]))


@settings(max_examples=60, deadline=None)
@given(st.data(), MASKS)
def test_any_masks_come_back(data, shape):
    masks = data.draw(arrays(np.int8, shape, elements=st.integers(0, 1)))
    masks[data.draw(arrays(np.bool_, shape[:2]))] = -1
    fields = pack(masks)
    assert fields.dtype == field_dtype(shape[-1])
    np.testing.assert_array_equal(unpack(fields, shape[-1]), masks)


@pytest.mark.parametrize(("classes", "dtype"), [(1, "u1"), (7, "u1"), (8, "u2"), (15, "u2"), (16, "u4"), (63, "u8")])
def test_a_field_is_as_small_as_the_classes_allow(classes, dtype):
    assert field_dtype(classes) == np.dtype(dtype)


def test_more_classes_than_bits_are_refused():
    with pytest.raises(UsageError, match="at most 63 can be stored, found 64; merge some"):
        field_dtype(MOST_CLASSES + 1)


def test_bits_stand_for_classes_and_the_next_one_for_ignore():
    masks = np.array([[[0, 0], [1, 0], [0, 1], [1, 1], [-1, -1]]], np.int8)
    assert pack(masks).tolist() == [[0, 1, 2, 3, 4]]


def test_guides_are_zero_and_one():
    found = unpack_guides(np.array([[0, 1, 3]], np.uint8), 2)
    assert found.dtype == np.uint8
    assert found.tolist() == [[[0, 0], [1, 0], [1, 1]]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
def test_every_field_that_occurs_is_counted(dtype):
    fields = np.array([[0, 3, 3], [200, 0, 3]], dtype)
    assert count_fields(fields) == {0: 2, 3: 3, 200: 1}
