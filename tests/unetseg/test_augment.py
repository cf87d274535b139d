import numpy as np
import pytest

from unetseg.augment import flip_and_turn, vary_intensity
from unetseg.dataset import Planes


def marked(height, width):
    """A patch whose planes all hold the number of each pixel, so that any of them tells where it went."""
    numbers = np.arange(height * width).reshape(height, width, 1)
    return Planes(numbers.astype(np.float32), numbers.astype(np.uint8), numbers.astype(np.int8))


def moved(patch, draws):
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
def test_image_guides_and_masks_move_together(seed):
    found = flip_and_turn(marked(4, 4), np.random.default_rng(seed))
    np.testing.assert_array_equal(found.image, found.guides)
    np.testing.assert_array_equal(found.image, found.masks)
    assert (found.image.dtype, found.guides.dtype, found.masks.dtype) == (np.float32, np.uint8, np.int8)


def test_ignored_pixels_stay_ignored():
    patch = Planes(np.zeros((4, 4, 1), np.float32), np.zeros((4, 4, 0), np.uint8), np.zeros((4, 4, 2), np.int8))
    patch.masks[0, 1] = -1
    found = flip_and_turn(patch, np.random.default_rng(3))
    assert (found.masks == -1).sum() == 2
    assert found.guides.shape == (4, 4, 0)


def flat(value=0.5, channels=2):
    return Planes(
        np.full((60, 60, channels), value, np.float16), np.ones((60, 60, 1), np.uint8), np.ones((60, 60, 1), np.int8)
    )


def test_no_strength_changes_nothing():
    patch = Planes(np.random.default_rng(0).random((8, 8, 2)).astype(np.float32), *[np.zeros((8, 8, 0))] * 2)
    found = vary_intensity(patch, 0.0, np.random.default_rng(0)).image
    np.testing.assert_allclose(found, patch.image, atol=1e-6)


def test_intensities_vary_and_guides_and_masks_do_not():
    patch = flat()
    found = vary_intensity(patch, 0.2, np.random.default_rng(0))
    assert found.image.dtype == np.float32
    assert not np.allclose(found.image, patch.image, atol=0.01)
    np.testing.assert_array_equal(found.guides, patch.guides)
    np.testing.assert_array_equal(found.masks, patch.masks)


def test_brightness_varies_by_channel_with_the_strength_as_deviation():
    draws = np.array(
        [vary_intensity(flat(), 0.2, np.random.default_rng(seed)).image.mean(axis=(0, 1)) - 0.5 for seed in range(200)]
    )
    # 200 draws: the deviation is known to 5 %
    np.testing.assert_allclose(draws.std(axis=0), 0.2, rtol=0.2)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.3


def test_contrast_is_stretched_about_the_mean_by_a_log_normal_factor():
    step = np.tile(np.array([0.0, 1.0], np.float32), (200, 100))[..., None]
    patch = Planes(step, np.zeros((200, 200, 0), np.uint8), np.zeros((200, 200, 1), np.int8))
    factors = []
    for seed in range(100):
        found = vary_intensity(patch, 0.2, np.random.default_rng(seed)).image[..., 0]
        factors.append(found[:, 1::2].mean() - found[:, ::2].mean())
    np.testing.assert_allclose(np.std(np.log(factors)), 0.2, rtol=0.25)
    assert abs(np.mean(np.log(factors))) < 0.08


def test_noise_is_at_most_a_quarter_of_the_strength():
    noise = [vary_intensity(flat(), 0.2, np.random.default_rng(seed)).image.std(axis=(0, 1)) for seed in range(50)]
    assert 0.04 < np.max(noise) < 0.053
    assert np.min(noise) < 0.01


def test_the_same_random_numbers_give_the_same_patch_and_leave_the_old_one():
    patch = marked(5, 5)
    kept = patch.image.copy()
    twice = [vary_intensity(flip_and_turn(patch, source), 0.3, source) for source in map(np.random.default_rng, (1, 1))]
    np.testing.assert_array_equal(twice[0].image, twice[1].image)
    np.testing.assert_array_equal(patch.image, kept)
