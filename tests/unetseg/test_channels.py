from pathlib import Path

import numpy as np
import pytest

from unetseg.channels import ChannelFacts, channel_numbers, pick_channels, to_channels
from unetseg.errors import BadFileError

PATH = Path("a.png")
NOISE = np.random.default_rng(0).integers(0, 255, (8, 5, 3), np.uint8)
GREY = np.repeat(NOISE[..., :1], 3, axis=-1)


def with_alpha(pixels, value=255):
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), value, np.uint8)], axis=-1)


CASES = {
    "grey": (NOISE[..., :1], 1, NOISE[..., :1]),
    "grey to colour": (NOISE[..., :1], 3, GREY),
    "equal colours": (GREY, 1, NOISE[..., :1]),
    "opaque alpha": (with_alpha(NOISE), 3, NOISE),
    "opaque alpha on grey": (with_alpha(GREY), 1, NOISE[..., :1]),
    "grey with alpha": (with_alpha(NOISE[..., :1]), 1, NOISE[..., :1]),
    "grey with alpha to colour": (with_alpha(NOISE[..., :1]), 3, GREY),
    "four channels": (with_alpha(NOISE), 4, with_alpha(NOISE)),
    "bilevel": (NOISE[..., :1] > 99, 1, (NOISE[..., :1] > 99).astype(np.uint8)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_bands_are_brought_to_the_channels_that_the_whole_is(case, rows):
    pixels, channels, expected = CASES[case]
    facts = ChannelFacts()
    bands = [pixels[start : start + rows] for start in range(0, 8, rows)]
    for band in bands:
        facts.add(band)
    numbers = channel_numbers(pixels.shape[-1], channels, facts, PATH)
    found = np.concatenate([pick_channels(band, numbers) for band in bands])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(to_channels(pixels, channels, PATH), expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("last", [0, 7])
def test_a_fact_holds_of_all_rows_or_not_at_all(last):
    """The last row alone has a colour, and an alpha that varies."""
    pixels = with_alpha(GREY)
    pixels[last, 2] = (1, 2, 3, 4)
    facts = ChannelFacts()
    for row in range(8):
        facts.add(pixels[row : row + 1])
    assert not facts.equal
    with pytest.raises(BadFileError, match=r"a\.png: has 4 channels where 1 are expected; convert the file, or name 4"):
        channel_numbers(4, 1, facts, PATH)


@pytest.mark.parametrize(("found", "wanted"), [(3, 1), (2, 1), (4, 3), (5, 3), (3, 4)])
def test_other_channels_are_refused_with_a_way_out(found, wanted):
    pixels = np.arange(2 * 2 * found, dtype=np.uint8).reshape(2, 2, found)
    with pytest.raises(BadFileError, match=rf"some\.tif: has {found} channels where {wanted}.*scans\.channels"):
        to_channels(pixels, wanted, Path("some.tif"))
