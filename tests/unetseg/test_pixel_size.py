"""Scans of another pixel size than the model's: ignored, told of, refused or rescaled, as the setting says."""

from __future__ import annotations

from pathlib import Path

import pytest

from unetseg.config import PredictConfig
from unetseg.errors import BadFileError
from unetseg.pixel_size import check_pixel_size, zoom_to

SCAN = Path("scan.tif")


@pytest.mark.parametrize(
    ("trained", "have", "zoom"),
    [
        pytest.param((0.5, 0.5), (0.25, 0.25), (0.5, 0.5), id="finer_pixels_shrink_the_scan"),
        pytest.param((0.5, 0.25), (1.0, 1.0), (2.0, 4.0), id="each_side_by_its_own"),
        pytest.param((0.5, 0.5), (0.51, 0.49), None, id="rounding_is_no_difference"),
        pytest.param(None, (0.5, 0.5), None, id="model_of_unknown_size"),
        pytest.param((0.5, 0.5), None, None, id="scan_of_unknown_size"),
    ],
)
def test_zoom_brings_a_scan_to_the_model_s_pixels(trained, have, zoom):
    assert zoom_to(trained, have) == zoom


def test_each_setting_does_what_it_says():
    def check(rule: str) -> tuple[object, str]:
        return check_pixel_size((1.0, 1.0), (0.5, 0.5), PredictConfig(pixel_size=rule), SCAN)

    assert check("ignore") == (None, "")
    zoom, note = check("warn")
    assert zoom is None
    assert "pixels of 0.5 x 0.5 µm, the model was trained on 1 x 1 µm" in note
    assert check("rescale")[0] == (0.5, 0.5)
    with pytest.raises(BadFileError, match=r"scan\.tif: pixels of 0\.5 x 0\.5 µm.*rescale or warn"):
        check("refuse")


def test_sizes_that_fit_say_nothing_whatever_the_setting():
    for rule in ("ignore", "warn", "refuse", "rescale"):
        assert check_pixel_size((1.0, 1.0), (1.0, 1.0), PredictConfig(pixel_size=rule), SCAN) == (None, "")


def test_a_wrong_unit_is_not_rescaled():
    with pytest.raises(BadFileError, match="correct the pixel size or its unit"):
        check_pixel_size((0.5, 0.5), (500.0, 500.0), PredictConfig(pixel_size="rescale"), SCAN)
