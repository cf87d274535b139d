"""Scans of another pixel size than the model's: ignored, told of, refused or rescaled, as the setting says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetseg.config import PredictConfig
from unetseg.errors import BadFileError, DataError
from unetseg.pixel_size import check_pixel_size, check_pixel_sizes, common_pixel_size, zoom_to

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


# --------------------------------------------------------------------------- sizes that are not known


def test_a_scan_that_tells_no_size_passes_no_refusal():
    with pytest.raises(BadFileError, match=r"scan\.tif: tells no pixel size, .*on 1 x 0\.5 µm; write it .*to warn"):
        check_pixel_size((1.0, 0.5), None, PredictConfig(pixel_size="refuse"), SCAN)


@pytest.mark.parametrize(
    ("rule", "note"), [("ignore", ""), ("warn", ""), ("rescale", "no pixel size is told: segmented as it is")]
)
def test_a_scan_that_tells_no_size_is_told_of_where_it_should_have_been_rescaled(rule, note):
    assert check_pixel_size((1.0, 0.5), None, PredictConfig(pixel_size=rule), SCAN) == (None, note)


@pytest.mark.parametrize("have", [None, (0.5, 0.5)], ids=["unknown", "known"])
@pytest.mark.parametrize(
    ("rule", "told"), [("ignore", False), ("warn", False), ("refuse", True), ("rescale", True)], ids=lambda v: str(v)
)
def test_a_model_that_knows_no_size_says_that_nothing_is_compared(have, rule, told):
    zoom, note = check_pixel_size(None, have, PredictConfig(pixel_size=rule), SCAN)
    assert zoom is None
    assert note == (f"the model's own pixel size is not known, so predict.pixel_size={rule} compares nothing" * told)


# --------------------------------------------------------------------------- the training's


@pytest.mark.parametrize(
    ("sizes", "common", "note"),
    [
        pytest.param([(0.5, 0.25)] * 3, (0.5, 0.25), "", id="equal"),
        pytest.param([(0.5, 0.5), (0.51, 0.5), (0.49, 0.52)], (0.5, 0.5), "", id="median_of_rounded_ones"),
        pytest.param([(1.0, 2.0), (1.02, 2.0)], (1.01, 2.0), "", id="median_of_two"),
        pytest.param([None, None], None, "", id="none_known"),
        pytest.param([], None, "", id="no_scans"),
        pytest.param(
            [(0.5, 0.5), (0.5, 0.5), (0.5, 0.53)],
            None,
            "training scans have pixels of 0.5 x 0.5, 0.5 x 0.53 µm, so the model has no pixel size, and "
            "predict.pixel_size compares nothing",
            id="one_axis_of_one_scan_differs",
        ),
        pytest.param(
            [(0.5, 0.5), None],
            (0.5, 0.5),
            "1 of 2 training scans tell their pixel size, 0.5 x 0.5 µm: the others are taken to have it too",
            id="half_are_known",
        ),
        pytest.param(
            [None, (0.5, 0.5), None],
            None,
            "only 1 of 3 training scans tell their pixel size, 0.5 x 0.5 µm, so the model has no pixel size, and "
            "predict.pixel_size compares nothing",
            id="few_are_known",
        ),
    ],
)
def test_the_training_s_size_is_the_median_where_scans_agree(sizes, common, note):
    assert common_pixel_size(sizes) == (pytest.approx(common) if common else None, note)


SIZES = st.lists(st.tuples(st.floats(0.9, 1.1), st.floats(0.9, 1.1)), min_size=1, max_size=6)


@given(sizes=SIZES)
def test_no_scan_of_the_training_is_another_size_than_the_training(sizes):
    common, _ = common_pixel_size(sizes)
    if common is not None:
        assert [zoom_to(common, size) for size in sizes] == [None] * len(sizes)
    else:
        assert max(max(axis) / min(axis) for axis in zip(*sizes, strict=True)) > 1.05


# --------------------------------------------------------------------------- scans to be scored


SCORED = {"a": (0.5, 0.5), "b": (1.0, 1.0), "c": None, "d": (0.5, 0.51), "e": (1.0, 1.0), "f": (0.25, 0.25)}
OTHER = "3 of 6 scans have pixels of 1 x 1, 0.25 x 0.25 µm (b, e, f)"
SILENT = "1 of 6 scans tell no pixel size (c)"
SCORED_AS_THEY_ARE = "they were scored as they are, so their scores may be lower than at the model's pixel size"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("ignore", ""),
        ("warn", f"{OTHER}, the model was trained on 0.5 x 0.5 µm: {SCORED_AS_THEY_ARE}"),
        ("rescale", f"{OTHER} and {SILENT}, the model was trained on 0.5 x 0.5 µm: {SCORED_AS_THEY_ARE}"),
    ],
)
def test_scored_scans_of_another_size_are_counted(rule, told):
    assert check_pixel_sizes((0.5, 0.5), SCORED, PredictConfig(pixel_size=rule)) == told


@pytest.mark.parametrize("scan", ["b", "c"], ids=["other", "unknown"])
def test_scored_scans_can_be_refused(scan):
    refuse = PredictConfig(pixel_size="refuse")
    assert check_pixel_sizes((0.5, 0.5), {"a": (0.5, 0.5)}, refuse) == ""
    with pytest.raises(DataError, match=rf"^predict\.pixel_size=refuse: 1 of 2 scans .* \({scan}\), .*set it to warn"):
        check_pixel_sizes((0.5, 0.5), {"a": (0.5, 0.5), scan: SCORED[scan]}, refuse)


def test_long_lists_of_scans_and_sizes_are_cut():
    sizes = {f"s{n}": (float(n), float(n)) for n in range(2, 7)}
    told = check_pixel_sizes((1.0, 1.0), sizes, PredictConfig())
    assert told.startswith(
        "5 of 5 scans have pixels of 2 x 2, 3 x 3, 4 x 4 and 2 other sizes µm (s2, s3, s4, ...), the"
    )


def test_a_model_without_a_size_says_so_where_scans_should_be_refused():
    assert check_pixel_sizes(None, SCORED, PredictConfig()) == ""
    assert "compares nothing" in check_pixel_sizes(None, SCORED, PredictConfig(pixel_size="refuse"))
