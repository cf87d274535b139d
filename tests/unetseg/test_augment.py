"""Augmentation: what moves together, what stays exact, and how far it goes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import EuclideanTransform, SimilarityTransform, warp

from unetseg.augment import augmented, flip_and_turn, vary_intensity
from unetseg.config import AugmentConfig
from unetseg.patch import Patch
from unetseg.warp import Warp, draw_warp

OFF = {"flips": False, "warped_fraction": 0.0, "contrast": 0.0, "brightness": 0.0, "noise": 0.0}
STILL = {"rotation": 0.0, "scale": 0.0, "elastic": 0.0}


def only(**settings) -> AugmentConfig:
    return AugmentConfig(**(OFF | STILL | settings))


def warped(**settings) -> AugmentConfig:
    return only(warped_fraction=1.0, **settings)


def window_of(scan: Patch):
    """Reads windows of a scan as the reader does: nothing but zeros, ignored, lies beyond it."""

    def read(top: int, left: int, shape: tuple[int, int]) -> Patch:
        margin = 2 * max(*scan.shape, *shape)
        sizes = (scan.shape[0] + 2 * margin, scan.shape[1] + 2 * margin)
        whole = scan.padded(margin, margin, sizes, ignore=128)
        rows, columns = slice(top + margin, top + margin + shape[0]), slice(left + margin, left + margin + shape[1])
        return whole.part(rows, columns)

    return read


def marked(height: int, width: int) -> Patch:
    """A patch whose planes all hold the number of each pixel, so that any of them tells where it went."""
    numbers = np.arange(height * width).reshape(height, width)
    return Patch(numbers[..., None].astype(np.float32), numbers[..., None].astype(np.uint8), numbers.astype(np.uint8))


def flat(value: float = 0.5, channels: int = 2, side: int = 60) -> Patch:
    ones = np.ones((side, side), np.uint8)
    return Patch(np.full((side, side, channels), value, np.float16), ones[..., None], ones)


def discs(side: int = 160) -> Patch:
    """Smooth discs; image, guide and class say the same: 1 inside."""
    noise = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((side, side)), 9)
    inside = (noise > 0).astype(np.uint8)
    return Patch(inside[..., None].astype(np.float16), inside[..., None], inside)


# --------------------------------------------------------------------------- flips and turns


def moved(patch: Patch, draws: int) -> set[bytes]:
    return {flip_and_turn(patch, np.random.default_rng(seed)).image.tobytes() for seed in range(draws)}


def test_a_square_patch_takes_all_eight_positions():
    image = marked(3, 3).image
    # the slow way: transposing and flipping either axis, or not
    expected = {
        np.ascontiguousarray(form[::rows, ::columns]).tobytes()
        for form in (image, image.transpose(1, 0, 2))
        for rows in (1, -1)
        for columns in (1, -1)
    }
    assert len(expected) == 8
    assert moved(marked(3, 3), 100) == expected


def test_an_oblong_patch_takes_four_positions_and_keeps_its_shape():
    patch = marked(2, 5)
    assert moved(patch, 60) == {
        np.ascontiguousarray(patch.image[::rows, ::columns]).tobytes() for rows in (1, -1) for columns in (1, -1)
    }
    assert flip_and_turn(patch, np.random.default_rng(0)).image.shape == (2, 5, 1)


@pytest.mark.parametrize("seed", range(6))
def test_image_guides_and_classes_are_flipped_together(seed: int):
    found = flip_and_turn(marked(4, 4), np.random.default_rng(seed))
    np.testing.assert_array_equal(found.image, found.guides)
    np.testing.assert_array_equal(found.image[..., 0], found.fields)
    assert (found.image.dtype, found.guides.dtype, found.fields.dtype) == (np.float32, np.uint8, np.uint8)


# --------------------------------------------------------------------------- warps


@pytest.mark.parametrize(
    "settings",
    [{"rotation": 180.0}, {"scale": 1.0}, {"elastic": 4.0}, {"rotation": 15.0, "scale": 0.2, "elastic": 2.0}],
    ids=["rotation", "scale", "elastic", "all"],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_warp_moves_image_guides_and_classes_together(settings: dict[str, float], seed: int):
    scan = discs()
    found = augmented(window_of(scan), (50, 40), (60, 80), warped(**settings), np.random.default_rng(seed))
    inside = found.fields == 1
    np.testing.assert_array_equal(found.guides[..., 0], inside)
    # Interpolated intensities say the same but next to the outline.
    border = ndimage.binary_dilation(inside, np.ones((3, 3))) ^ ndimage.binary_erosion(
        inside, np.ones((3, 3)), border_value=1
    )
    np.testing.assert_array_equal((found.image[..., 0] > 0.5)[~border], inside[~border])
    assert border.mean() < 0.3
    assert not np.array_equal(found.fields, scan.fields[50:110, 40:120])


@pytest.mark.parametrize(("angle", "enlarged"), [(30.0, 1.0), (0.0, 1.5), (-70.0, 0.8)])
def test_rotation_and_scale_are_those_of_scikit_image(angle: float, enlarged: float):
    image = ndimage.gaussian_filter(np.random.default_rng(1).random((101, 101)), 2)
    patch = Patch(image[..., None], np.zeros((101, 101, 0), np.uint8), (image > 0.5).astype(np.uint8))
    found = augmented(window_of(patch), (20, 25), (61, 51), warped(rotation=180, scale=1), _Fixed(angle, enlarged))
    # The same about the patch's centre, (column, row) = (50, 50): clockwise on the screen is positive there.
    there, back = SimilarityTransform(translation=(-50, -50)), SimilarityTransform(translation=(50, 50))
    turn = there + SimilarityTransform(scale=enlarged) + EuclideanTransform(rotation=-np.deg2rad(angle)) + back
    expected = warp(image, turn.inverse, order=1)
    np.testing.assert_allclose(found.image[..., 0], expected[20:81, 25:76], atol=1e-4)
    nearest = warp((image > 0.5).astype(np.float64), turn.inverse, order=0)[20:81, 25:76]
    assert np.mean(found.fields != nearest) < 0.002  # pixels halfway between two


class _Fixed:
    """Random numbers that draw a warp of a given angle in degrees and enlargement, of settings 180 and 1."""

    def __init__(self, angle: float, enlarged: float) -> None:
        self._draws = iter([angle, np.log2(enlarged)])

    def random(self) -> float:
        return 0.0

    def uniform(self, low: float, high: float) -> float:
        return float(next(self._draws))


def test_elastic_shifts_have_the_strength_as_deviation_and_never_fold():
    shape, strength = (64, 96), 3.0
    still = np.indices(shape)
    maps = [draw_warp(shape, warped(elastic=strength), np.random.default_rng(seed)).coordinates for seed in range(60)]
    shifts = np.array(maps) - still
    assert shifts.std() == pytest.approx(strength, rel=0.1)
    assert abs(shifts.mean()) < 0.4
    assert abs(np.corrcoef(shifts[:, 0].ravel(), shifts[:, 1].ravel())[0, 1]) < 0.15
    # Where the Jacobian of the map is positive no two pixels change sides.
    rows, columns = np.gradient(np.array(maps), axis=(2, 3))
    assert (rows[:, 0] * columns[:, 1] - rows[:, 1] * columns[:, 0]).min() > 0


def test_rotation_and_scale_stay_within_their_limits_and_reach_them():
    angles, sizes = [], []
    for seed in range(200):
        coordinates = draw_warp((32, 32), warped(rotation=20, scale=0.5), np.random.default_rng(seed)).coordinates
        down = coordinates[:, 31, 0] - coordinates[:, 0, 0]
        angles.append(np.rad2deg(np.arctan2(-down[1], down[0])))
        sizes.append(31 / np.hypot(*down))
    assert 19 < np.max(np.abs(angles)) < 20.01
    assert 1.45 < np.max(sizes) < 1.501
    assert 1 / 1.501 < np.min(sizes) < 1 / 1.45
    assert abs(np.mean(np.log(sizes))) < 0.05  # enlarged as often as shrunk


def test_a_rotated_patch_has_no_invented_corners():
    scan = discs()
    scan.image[...] += 1  # nothing in it is 0 or ignored
    found = augmented(window_of(scan), (50, 50), (60, 60), warped(rotation=45), np.random.default_rng(2))
    assert found.image.min() >= 1
    assert set(np.unique(found.fields)) <= {0, 1}


def test_what_lies_beyond_the_scan_is_zero_and_ignored():
    scan = flat(1.0, 1, side=40)
    found = augmented(window_of(scan), (0, 0), (40, 40), warped(rotation=45), _Fixed(45.0, 1.0))
    # A square turned by 45 degrees about its centre covers the diamond |row| + |column| < 40 / sqrt(2).
    rows, columns = np.abs(np.indices((40, 40)) - 19.5)
    np.testing.assert_array_equal(found.fields == 1, rows + columns < 40 / np.sqrt(2))
    assert (found.image[rows + columns > 30] == 0).all()


def test_a_warp_asks_for_no_more_of_the_scan_than_it_needs():
    found = Warp(np.array([[[-2.5, 1.0]], [[3.0, 7.25]]], np.float32))
    assert (found.corner, found.size) == ((-3, 3), (5, 6))


def test_the_share_of_warped_patches_is_the_setting():
    config = only(warped_fraction=0.3, rotation=10)
    drawn = [draw_warp((8, 8), config, np.random.default_rng(seed)) is not None for seed in range(500)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.07)


# --------------------------------------------------------------------------- intensities


def test_intensities_vary_and_guides_and_classes_do_not():
    patch = flat()
    found = vary_intensity(patch, only(brightness=0.2), np.random.default_rng(0))
    assert found.image.dtype == np.float32
    assert not np.allclose(found.image, patch.image, atol=0.01)
    assert found.guides is patch.guides
    assert found.fields is patch.fields


def test_brightness_varies_by_channel_with_the_strength_as_deviation():
    config = only(brightness=0.2)
    draws = np.array(
        [
            vary_intensity(flat(side=8), config, np.random.default_rng(seed)).image.mean(axis=(0, 1)) - 0.5
            for seed in range(200)
        ]
    )
    # 200 draws: the deviation is known to 5 %
    np.testing.assert_allclose(draws.std(axis=0), 0.2, rtol=0.2)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.3


def test_contrast_is_stretched_about_the_mean_by_a_log_normal_factor_per_channel():
    step = np.tile(np.array([0.0, 1.0], np.float32), (20, 10))
    patch = Patch(np.stack([step, 2 * step], axis=-1), np.zeros((20, 20, 0), np.uint8), np.zeros((20, 20), np.uint8))
    factors = []
    for seed in range(100):
        found = vary_intensity(patch, only(contrast=0.2), np.random.default_rng(seed)).image
        np.testing.assert_allclose(found.mean(axis=(0, 1)), [0.5, 1.0], atol=1e-5)
        factors.append((found[:, 1::2] - found[:, ::2]).mean(axis=(0, 1)) / [1, 2])
    np.testing.assert_allclose(np.std(np.log(factors), axis=0), 0.2, rtol=0.25)
    assert abs(np.mean(np.log(factors))) < 0.08
    assert abs(np.corrcoef(np.array(factors).T)[0, 1]) < 0.4


def test_noise_has_at_most_the_strength_as_deviation():
    noise = [
        vary_intensity(flat(), only(noise=0.05), np.random.default_rng(seed)).image.std(axis=(0, 1))
        for seed in range(50)
    ]
    assert 0.04 < np.max(noise) < 0.053
    assert np.min(noise) < 0.01


# --------------------------------------------------------------------------- all together


def test_without_strength_a_patch_is_what_was_read():
    patch = flat()
    assert augmented(lambda top, left, shape: patch, (0, 0), (60, 60), only(), np.random.default_rng(0)) is patch
    # A share of patches to warp, by nothing, and strengths of which no patch gets any, do nothing either.
    for config in (warped(), AugmentConfig(**OFF)):
        assert augmented(lambda top, left, shape: patch, (0, 0), (60, 60), config, np.random.default_rng(0)) is patch


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("flips", True),
        ("warped_fraction", 0.0),
        ("rotation", 30.0),
        ("scale", 0.5),
        ("elastic", 2.0),
        ("contrast", 0.5),
        ("brightness", 0.5),
        ("noise", 0.5),
    ],
)
def test_every_setting_reaches_the_patch(setting: str, value: float):
    base = {**OFF, "warped_fraction": 1.0, "rotation": 5.0, "scale": 0.1, "elastic": 1.0}
    assert set(base) == set(AugmentConfig.__dataclass_fields__)

    def patch(**settings) -> Patch:
        return augmented(window_of(discs(60)), (10, 10), (40, 40), AugmentConfig(**settings), np.random.default_rng(3))

    assert not np.array_equal(patch(**base).image, patch(**base | {setting: value}).image)


def test_the_same_random_numbers_give_the_same_patch_and_leave_the_scan():
    scan = discs()
    for planes in (scan.image, scan.guides, scan.fields):
        planes.setflags(write=False)
    config = AugmentConfig(warped_fraction=1, elastic=2)
    first, again = (augmented(window_of(scan), (5, 5), (32, 48), config, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.fields, again.fields)
    vary_intensity(scan, config, np.random.default_rng(0))  # would raise if it wrote to what it was given
