"""Charts: what is drawn is what the numbers say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from unetseg.charts import CurveLine, _steps, curve_chart, strip_chart
from unetseg.curves import Curve
from unetseg.histograms import Histograms


def curve(seed: int = 0, positives: int = 40) -> Curve:
    random = np.random.default_rng(seed)
    truth = (np.arange(100) < positives).astype(np.int8)[:, None]
    histograms = Histograms.empty(1)
    histograms.add(truth, np.clip(truth * 0.3 + random.random((100, 1)) * 0.7, 0, 1).astype(np.float32))
    return histograms.curve(0)


@pytest.mark.parametrize("seed", range(3))
def test_the_area_under_the_drawn_steps_is_the_average_precision(seed: int):
    found = curve(seed)
    recall, precision = _steps(found)
    # Drawn as steps-post: a precision holds from its recall to the next one.
    assert (-np.diff(recall) * precision[:-1]).sum() == pytest.approx(found.average_precision, abs=1e-12)


def test_a_class_without_foreground_has_no_line_and_no_legend():
    svg = curve_chart([CurveLine("nothing", curve(positives=0))])
    assert "nothing" not in svg
    assert "recall" in svg


def marks(svg: str) -> set[tuple[float, float]]:
    """Places of ticks and dots."""
    return {(float(x), float(y)) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg)}


def test_the_point_is_drawn_where_the_model_works():
    ticks = marks(curve_chart([CurveLine("iris", curve())]))
    (point,) = marks(curve_chart([CurveLine("iris", curve(), (0.25, 0.75))])) - ticks
    left, bottom = min(x for x, _ in ticks), max(y for _, y in ticks)
    across = sorted(x for x, y in ticks if y == bottom)  # at 0, 0.2 ... 1
    up = sorted((y for x, y in ticks if x == left), reverse=True)
    assert len(across) == len(up) == 6
    assert point[0] == pytest.approx(across[0] + 0.25 * (across[5] - across[0]), abs=0.01)
    assert point[1] == pytest.approx(up[0] + 0.75 * (up[5] - up[0]), abs=0.01)


def test_a_dot_for_each_scan_and_a_line_at_the_median():
    values = {"iris": [0.1, 0.5, 0.9], "pupil": []}
    svg = strip_chart(values, {"iris": "E69F00", "pupil": "56B4E9"}, label="Dice of a scan")
    assert len(re.findall(r"<use [^>]*#e69f00", svg)) == 3
    assert "#56b4e9" not in svg
    assert "pupil (0)" in svg


def test_thousands_of_dots_become_one_picture():
    values = {"iris": np.linspace(0, 1, 2000).tolist()}
    svg = strip_chart(values, {"iris": "E69F00"}, label="Dice of a scan")
    assert svg.count("<use") < 50
    assert "data:image/png" in svg


def test_the_same_numbers_give_the_same_chart_without_addresses_of_other_sites():
    first, second = (curve_chart([CurveLine("iris", curve(), (0.5, 0.5), dashed=True)]) for _ in range(2))
    assert first == second
    assert set(re.findall(r"https?://[^\"' ]+", first)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_a_long_name_does_not_push_the_dots_aside():
    svg = strip_chart({"x" * 64: [0.5]}, {"x" * 64: "E69F00"}, label="Dice of a scan")
    assert f"{'x' * 19}… (1)" in svg
    assert "x" * 20 not in svg
