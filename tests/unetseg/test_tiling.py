import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg.errors import UsageError
from unetseg.tiling import Span, bands_of, padded_size, tiles_of

FEW = settings(max_examples=60, deadline=None)


@st.composite
def cuts(draw):
    """A scan and a way to cut it, also with a halo that is no multiple of the stride."""
    stride = draw(st.sampled_from([1, 2, 4, 8]))
    halo = draw(st.integers(0, 11))
    least = 2 * padded_size(halo, stride) + stride
    tile = draw(st.integers(least, least + 20))
    shape = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    return shape, tile, halo, stride


def spans(tiles):
    return [span for tile in tiles for span in (tile.rows, tile.columns)]


@FEW
@given(cuts())
def test_inner_parts_cover_every_pixel_exactly_once(cut):
    shape, tile, halo, stride = cut
    seen = np.zeros(shape, int)
    for item in tiles_of(shape, tile=tile, halo=halo, stride=stride):
        # the plain indices, so that a part that hangs over the border is an error
        rows, columns = np.arange(*item.rows.inner), np.arange(*item.columns.inner)
        seen[np.ix_(rows, columns)] += 1
    assert (seen == 1).all()


@FEW
@given(cuts())
def test_outer_parts_are_aligned_to_the_stride_and_inside_the_padded_scan(cut):
    shape, tile, halo, stride = cut
    for item in tiles_of(shape, tile=tile, halo=halo, stride=stride):
        for span, size in ((item.rows, shape[0]), (item.columns, shape[1])):
            start, stop = span.outer
            assert start % stride == stop % stride == 0
            assert 0 <= start < stop <= padded_size(size, stride)


@FEW
@given(cuts())
def test_the_halo_is_kept_on_both_sides_but_at_borders(cut):
    shape, tile, halo, stride = cut
    for item in tiles_of(shape, tile=tile, halo=halo, stride=stride):
        for span, size in ((item.rows, shape[0]), (item.columns, shape[1])):
            assert span.inner[0] - span.outer[0] >= halo or span.outer[0] == 0
            assert span.outer[1] - span.inner[1] >= halo or span.outer[1] == padded_size(size, stride)


@FEW
@given(cuts())
def test_no_tile_is_larger_than_asked_for(cut):
    shape, tile, halo, stride = cut
    for span in spans(tiles_of(shape, tile=tile, halo=halo, stride=stride)):
        assert span.outer[1] - span.outer[0] <= padded_size(tile, stride)


@FEW
@given(cuts())
def test_all_tiles_have_one_size(cut):
    shape, tile, halo, stride = cut
    for axis in ("rows", "columns"):
        spanned = [getattr(item, axis).outer for item in tiles_of(shape, tile=tile, halo=halo, stride=stride)]
        assert len({stop - start for start, stop in spanned}) == 1


@FEW
@given(cuts(), st.integers(1, 5))
def test_bands_cover_the_rows_once_begin_at_multiples_and_keep_their_halo(cut, strides):
    (height, _), _, halo, stride = cut
    bands = bands_of(height, rows=strides * stride, halo=halo, stride=stride)
    assert [row for band in bands for row in range(*band.inner)] == list(range(height))
    assert len({band.outer[1] - band.outer[0] for band in bands}) == 1
    for band in bands:
        assert band.inner[0] % (strides * stride) == band.outer[0] % stride == band.outer[1] % stride == 0
        assert band.inner[0] - band.outer[0] >= halo or band.outer[0] == 0
        assert band.outer[1] - band.inner[1] >= halo or band.outer[1] == padded_size(height, stride)


@FEW
@given(cuts())
def test_what_is_kept_of_a_tile_is_its_part_of_the_scan(cut):
    shape, tile, halo, stride = cut
    padded = np.arange(padded_size(shape[0], stride))
    for item in tiles_of(shape, tile=tile, halo=halo, stride=stride):
        np.testing.assert_array_equal(padded[slice(*item.rows.outer)][item.rows.kept], np.arange(*item.rows.inner))


def test_tiles_by_hand():
    tiles = list(tiles_of((20, 10), tile=16, halo=4, stride=2))
    assert [tile.rows for tile in tiles] == [Span((0, 10), (0, 14)), Span((10, 20), (6, 20))]
    assert {tile.columns for tile in tiles} == {Span((0, 10), (0, 10))}


def test_a_scan_that_fits_is_one_tile_padded_to_the_stride():
    (tile,) = tiles_of((30, 16), tile=30, halo=100, stride=16)
    assert (tile.rows, tile.columns) == (Span((0, 30), (0, 32)), Span((0, 16), (0, 16)))


@pytest.mark.parametrize(("tile", "halo", "stride", "least"), [(20, 8, 8, 24), (14, 5, 4, 20), (19, 9, 2, 22)])
def test_a_tile_of_which_nothing_would_be_kept_is_refused_with_the_least_that_works(tile, halo, stride, least):
    with pytest.raises(UsageError, match=rf"predict\.tile: .*found {tile}; use at least {least}"):
        list(tiles_of((100, 100), tile=tile, halo=halo, stride=stride))
    inside = padded_size(100, stride) - 2 * padded_size(halo, stride)  # what no border keeps anyway
    assert len(list(tiles_of((100, 10), tile=least, halo=halo, stride=stride))) == inside // stride


@pytest.mark.parametrize(("size", "stride", "padded"), [(1, 1, 1), (1, 16, 16), (16, 16, 16), (17, 16, 32)])
def test_padding_is_to_the_next_multiple(size, stride, padded):
    assert padded_size(size, stride) == padded
