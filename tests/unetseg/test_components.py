import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.morphology import remove_small_holes, remove_small_objects

from unetseg.component_bands import join, summary
from unetseg.components import clean, number
from unetseg.errors import DataError, UsageError
from unetseg.mask_runs import Runs, find_components, opposite

FEW = settings(max_examples=150, deadline=None)
CONNECTIVITY = pytest.mark.parametrize("connectivity", [1, 2], ids=["sides", "corners"])
LARGEST = 12  # hole or object that is filtered in the property tests, in pixels
SQUARE = {1: ndimage.generate_binary_structure(2, 1), 2: ndimage.generate_binary_structure(2, 2)}


def mask_of(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@st.composite
def masks_and_cuts(draw):
    """A mask, often dense or sparse, and the rows and columns where it is cut."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=12))
    mask = draw(arrays(bool, shape, elements=st.booleans(), fill=st.booleans()))
    cuts = (sorted(draw(st.sets(st.integers(1, side - 1)))) if side > 1 else [] for side in shape)
    return mask, *cuts


def in_strips(band, cuts, *, connectivity):
    """The components of a band, of which strips of columns are seen, from the right to the left."""
    runs = Runs(band.shape)
    for left, strip in reversed(list(zip([0, *cuts], np.split(band, cuts, axis=1), strict=True))):
        runs.add(left, strip)
    return runs.components(connectivity=connectivity)


def painted(found, values, cuts):
    """Strip by strip."""
    edges = [0, *cuts, found.shape[1]]
    return np.concatenate([found.painted(values, columns=columns) for columns in pairwise(edges)], axis=1)


def in_bands(mask, cuts, across=(), *, connectivity, min_pixels=0, max_hole_pixels=0):
    """The three passes, each band from its own rows alone: labels, mask, joined objects."""
    bands = np.split(mask, cuts)
    background = [in_strips(~band, across, connectivity=opposite(connectivity)) for band in bands]
    holes = join([summary(found) for found in background]).holes(max_hole_pixels).bands
    given = zip(bands, background, holes, strict=True)
    whole = [band | painted(found, numbers > 0, across) for band, found, numbers in given]
    parts = [in_strips(band, across, connectivity=connectivity) for band in whole]
    objects = join([pickle.loads(pickle.dumps(summary(found))) for found in parts]).at_least(min_pixels)
    pairs = list(zip(parts, objects.bands, strict=True))
    labels = np.concatenate([painted(found, numbers, across) for found, numbers in pairs])
    return labels, np.concatenate([painted(found, numbers > 0, across) for found, numbers in pairs]), objects


def slow(mask, *, connectivity, min_pixels, max_hole_pixels):
    """The whole mask through scikit-image, in a frame that makes background at the border larger than any hole."""
    framed = np.pad(mask, LARGEST)
    closed = remove_small_holes(framed, max_size=max_hole_pixels, connectivity=3 - connectivity)
    inner = closed[LARGEST:-LARGEST, LARGEST:-LARGEST]
    return remove_small_objects(inner, max_size=max(min_pixels - 1, 0), connectivity=connectivity)


def first_pixels(labels):
    """Where each label occurs first in raster order."""
    return [np.flatnonzero(labels == value)[0] for value in range(1, labels.max() + 1)]


@CONNECTIVITY
@FEW
@given(masks_and_cuts())
def test_any_cut_gives_the_labels_and_areas_of_the_whole_mask(connectivity, example):
    mask, cuts, across = example
    truth, count = ndimage.label(mask, SQUARE[connectivity])
    assert first_pixels(truth) == sorted(first_pixels(truth))  # SciPy numbers in raster order too

    labels, _, objects = in_bands(mask, cuts, across, connectivity=connectivity)

    np.testing.assert_array_equal(labels, truth)
    np.testing.assert_array_equal(objects.areas, np.bincount(truth.ravel(), minlength=count + 1)[1:])
    edge = np.unique(np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]]))
    np.testing.assert_array_equal(np.flatnonzero(objects.at_border) + 1, edge[edge > 0])


@CONNECTIVITY
@FEW
@given(masks_and_cuts(), st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_any_cut_filters_as_scikit_image_does_on_the_whole_mask(connectivity, example, min_pixels, max_hole_pixels):
    mask, cuts, across = example
    truth = slow(mask, connectivity=connectivity, min_pixels=min_pixels, max_hole_pixels=max_hole_pixels)
    wanted = {"connectivity": connectivity, "min_pixels": min_pixels, "max_hole_pixels": max_hole_pixels}

    labels, cleaned, objects = in_bands(mask, cuts, across, **wanted)

    np.testing.assert_array_equal(cleaned, truth)
    np.testing.assert_array_equal(labels, ndimage.label(truth, SQUARE[connectivity])[0])
    for result, expected in [(clean(mask, **wanted), cleaned), (number(mask.astype(np.uint8), **wanted), labels)]:
        np.testing.assert_array_equal(result[0], expected)
        np.testing.assert_array_equal(result[1], objects.areas)


@CONNECTIVITY
@FEW
@given(masks_and_cuts())
def test_without_a_limit_all_holes_are_filled_as_by_scipy(connectivity, example):
    mask, cuts, across = example
    truth = ndimage.binary_fill_holes(mask, SQUARE[3 - connectivity])
    cleaned = in_bands(mask, cuts, across, connectivity=connectivity, max_hole_pixels=mask.size)[1]
    np.testing.assert_array_equal(cleaned, truth)


def spiral(turns):
    """One line of one pixel, wound up with gaps of one pixel."""
    side = 4 * turns + 1
    mask = np.zeros((side, side), bool)
    for turn in range(turns):
        low, high = 2 * turn, side - 2 * turn
        mask[low, low:high] = mask[low:high, high - 1] = mask[high - 1, low:high] = mask[low + 2 : high, low] = True
        mask[low + 2, low : low + 3] = True
    return mask


CASES = {
    "empty": (mask_of("....", "....", "...."), []),
    "full": (mask_of("####", "####", "####"), [12]),
    "U joins two of the upper band": (mask_of("#.#", "#.#", "###"), [7]),
    "arch joins two of the lower band": (mask_of("###", "#.#", "#.#"), [7]),
    "diagonal over a border": (mask_of("#..", ".#.", "..#"), [3]),
    "second object begins left of the first's end": (mask_of("..#", "#.#", "#.#"), [3, 2]),
    "opposite corners of neighbouring rows do not meet": (mask_of("..#", "#..", "..."), [1, 1]),
    "spiral": (spiral(3), [spiral(3).sum()]),
}


@pytest.mark.parametrize(("mask", "areas"), CASES.values(), ids=CASES.keys())
def test_bands_of_one_row_find_the_objects_of_hand_made_masks(mask, areas):
    objects = in_bands(mask, list(range(1, len(mask))), connectivity=2)[2]
    assert objects.areas.tolist() == clean(mask)[1].tolist() == areas


def test_diagonal_pixels_are_objects_of_their_own_where_only_sides_connect():
    assert in_bands(mask_of("#..", ".#.", "..#"), [1, 2], connectivity=1)[2].areas.tolist() == [1, 1, 1]


@pytest.mark.parametrize("teeth", [255, 256, 257])
def test_two_components_are_one_however_often_they_meet(teeth):
    ladder = np.ones((3, 2 * teeth), bool)
    ladder[1, 1::2] = False
    assert in_bands(ladder, [2], connectivity=2)[2].areas.tolist() == [5 * teeth]


def test_a_hole_over_a_border_counts_as_one_and_background_at_the_scans_border_is_none():
    mask = mask_of(
        "######.",
        "#.##.#.",
        "#.####.",
        "######.",
    )
    assert in_bands(mask, [2], connectivity=2, max_hole_pixels=1)[2].areas.tolist() == [22]
    assert in_bands(mask, [2], connectivity=2, max_hole_pixels=2)[2].areas.tolist() == [24]
    assert in_bands(mask, [2], connectivity=2, max_hole_pixels=28)[1].tolist() == [[True] * 6 + [False]] * 4


def test_holes_are_filled_before_small_objects_are_dropped():
    ring = mask_of("###..", "#.#..", "###.#")
    cleaned, areas = clean(ring, min_pixels=9, max_hole_pixels=1)
    assert areas.tolist() == [9]
    assert cleaned.tolist() == mask_of("###..", "###..", "###..").tolist()


def test_numbers_are_closed_up_after_a_small_object_is_dropped():
    labels, areas = number(mask_of("##.#.##", "##...##"), min_pixels=2)
    assert labels.tolist() == [[1, 1, 0, 0, 0, 2, 2]] * 2
    assert labels.dtype == np.uint32
    assert areas.tolist() == [4, 4]


def test_any_value_but_0_is_foreground_and_a_mask_that_stays_is_not_copied():
    assert clean(np.array([[255, 0, 7]], np.uint8))[1].tolist() == [1, 1]
    mask = mask_of("#.#")
    assert clean(mask, min_pixels=1, max_hole_pixels=1)[0] is mask


def test_a_summary_is_as_small_as_two_rows_and_the_components():
    def size(height):
        band = np.zeros((height, 40), bool)
        band[:, ::2] = True
        return len(pickle.dumps(summary(find_components(band, connectivity=2))))

    assert size(4) == size(400)


@pytest.mark.parametrize(
    ("mask", "connectivity", "message"),
    [
        pytest.param(np.zeros((2, 2, 3), bool), 2, r"got an array of shape \(2, 2, 3\)", id="three axes"),
        pytest.param(np.zeros((2, 2)), 2, "type float64", id="probabilities"),
        pytest.param(np.zeros((0, 2), bool), 2, r"shape \(0, 2\)", id="no rows"),
        pytest.param(np.zeros((2, 2), bool), 8, "connectivity must be 1 .* got 8", id="neighbours instead of steps"),
    ],
)
@pytest.mark.parametrize("function", [clean, number, find_components], ids=lambda f: f.__name__)
def test_what_is_no_mask_is_refused(function, mask, connectivity, message):
    with pytest.raises(UsageError, match=message):
        function(mask, connectivity=connectivity)


def test_bands_of_different_scans_or_none_are_refused():
    with pytest.raises(UsageError, match=r"of one width.*width 2.*width 3"):
        join([summary(find_components(np.ones((1, width), bool), connectivity=2)) for width in (2, 3)])
    with pytest.raises(UsageError, match=r"connectivity 1.*connectivity 2"):
        join([summary(find_components(np.ones((1, 2), bool), connectivity=steps)) for steps in (1, 2)])
    with pytest.raises(UsageError, match="got none"):
        join([])


def test_a_mask_that_changed_between_the_passes_is_refused():
    objects = join([summary(find_components(mask_of("#.#"), connectivity=2))])
    with pytest.raises(DataError, match="components, 1, got 2"):
        find_components(mask_of("###"), connectivity=2).painted(objects.bands[0])


def test_components_of_runs_tell_sides_and_areas():
    found = find_components(mask_of("#.#.", "...#", ".#.."), connectivity=1)
    assert found.areas.tolist() == [1, 1, 1, 1]
    assert found.at_sides.tolist() == [True, False, True, False]
    assert found.painted(np.array([3, 5, 7, 9], np.int8)).tolist() == [[3, 0, 5, 0], [0, 0, 0, 7], [0, 9, 0, 0]]
