"""What pieces tell of what is marked in outputs, by hand values."""

from __future__ import annotations

import numpy as np
import pytest

from unetseg.content_trial import Content
from unetseg.disk_usage import Disk
from unetseg.output_layout import Layout, Part

BLOCKS = Disk(4096, 4096)


def content(*levels: list[float], pixels: float = 1000.0) -> Content:
    """Pieces of a thousand pixels, which took so many bytes at each level."""
    taken = np.array(levels, np.float64)
    sizes = np.full(taken.shape, pixels) / 4.0 ** np.arange(len(levels))[:, None]
    return Content(taken, sizes)


def test_a_file_as_large_as_a_piece_is_as_one_of_them():
    layout = Layout((Part(10, 52, {0: 1000.0}, ((3, 1),), sparse=True),), folders=2, files=(600, 700))
    # Of ten files five are there: half of these take one block, the others two; and three folders each.
    found = content([0, 0, 2000, 6000]).bytes_of(layout, BLOCKS)
    assert found == 4 * 4096 + 10 * (0 + 0 + 4096 + 8192) / 4 + 3 * 0.5 * 4096


def test_no_file_is_there_where_no_piece_has_anything():
    layout = Layout((Part(4, 52, {0: 9000.0}, ((1, 4), (2, 2)), sparse=True),), folders=2, files=(600,))
    assert content([0, 0, 0]).bytes_of(layout, BLOCKS) == 3 * 4096
    dense = Layout((Part(1, 5000, {0: 9000.0}),))
    assert content([0, 0, 0]).bytes_of(dense, Disk()) == pytest.approx(5000, abs=1)


def test_a_file_as_large_as_many_pieces_has_the_mean_of_them():
    layout = Layout((Part(2, 100, {0: 50_000.0}, ((1, 2),), sparse=True),))
    # Half a byte per pixel; half of a file's last block is free.
    assert content([500, 400, 600]).bytes_of(layout, BLOCKS) == 2 * (100 + 25_000 + 2048) + 4096


def test_a_file_is_left_out_where_all_its_pieces_are_empty():
    layout = Layout((Part(1, 100, {0: 2000.0}, ((1, 1),), sparse=True),))
    # Two pieces, each of which is empty in one of two cases.
    expected = 0.75 * (100 + 2048) + 1000 + 0.75 * 4096
    assert content([0, 1000]).bytes_of(layout, BLOCKS) == pytest.approx(expected)


def test_pieces_of_about_the_same_size_count_most():
    layout = Layout((Part(1, 0, {0: 1000.0}),))
    taken, pixels = np.array([[100.0, 4000.0]]), np.array([[1000.0, 4000.0]])
    # Per thousand pixels 100 and 1000 bytes; the second has four times the pixels.
    assert Content(taken, pixels).bytes_of(layout, Disk()) == pytest.approx((100 + 1000 / 4) / 1.25)


def test_each_level_is_as_its_own_bytes_tell_and_further_ones_shrink_as_the_last_one_did():
    found = content([4000, 4000], [1600, 1600])
    pixels = {level: 100_000 / 4**level for level in range(4)}
    expected = 100 * (4000 + 1600 + 1600 * 0.4 + 1600 * 0.4**2)
    assert found.bytes_of(Layout((Part(1, 0, pixels),)), Disk()) == pytest.approx(expected, rel=1e-5)
