"""Pictures of errors."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from unetseg.pictures import INVENTED, MISSED, RIGHT, error_picture, overlay


def colour(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(name))


def errors() -> np.ndarray:
    """Columns of a grey picture: found (0-5), missed (6-11), invented (12-17), ignored (18-20), background (21-23)."""
    truth, marked = np.zeros((24, 24), np.int8), np.zeros((24, 24), bool)
    truth[:, :12], truth[:, 18:21] = 1, -1
    marked[:, :6], marked[:, 12:21] = True, True
    return error_picture(np.full((24, 24, 3), 100, np.uint8), truth, marked)


def test_each_kind_of_error_has_its_colour_on_a_darker_scan():
    picture = errors()
    assert {tuple(pixel) for pixel in picture[:, 12:18].reshape(-1, 3)} == {colour(INVENTED)}
    assert {tuple(pixel) for pixel in picture[:, 6:12].reshape(-1, 3)} == {colour(MISSED), (0, 0, 0)}
    assert {tuple(pixel) for pixel in picture[:, 18:].reshape(-1, 3)} == {(60, 60, 60)}
    found = [0.65 * 60 + 0.35 * value for value in colour(RIGHT)]
    np.testing.assert_allclose(picture[3, 3].astype(float), found, atol=1)


def test_what_was_missed_is_striped_so_that_a_third_is_black():
    black = (errors()[:, 6:12] == 0).all(axis=-1)
    assert 0.25 < black.mean() < 0.45


def test_colours_of_errors_differ_in_grey_print():
    # Grey values after ITU-R BT.601, of 255.
    greys = [np.dot(colour(name), (0.299, 0.587, 0.114)) for name in (RIGHT, MISSED, INVENTED)]
    assert all(abs(one - other) > 30 for one, other in combinations(greys, 2))


@pytest.mark.parametrize("shape", [(17, 23), (1, 9), (9, 1), (1, 1)], ids=str)
def test_outlines_are_the_pixels_that_an_erosion_takes(shape: tuple[int, int]):
    mask = np.random.default_rng(7).random(shape) < 0.8
    picture = overlay(np.zeros((*shape, 3), np.uint8), mask[..., None], ("FFFFFF",))[..., 0]
    np.testing.assert_array_equal(picture == 255, mask & ~ndimage.binary_erosion(mask))
    np.testing.assert_array_equal(picture > 0, mask)
