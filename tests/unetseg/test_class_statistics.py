import json
from collections import Counter
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg.class_statistics import class_statistics, class_weights, count_pixels, statistics_by_split
from unetseg.config import LossConfig

FEW = settings(max_examples=60, deadline=None)
NAMES = ("iris", "pupil", "lid")
RULES = ("none", "total_over_class", "inverse_frequency")


@dataclass(frozen=True)
class Record:
    combinations: tuple[tuple[int, int], ...]
    split: str = "train"
    vanished: bool = False


def record(masks, ignored=None, **values):
    """The record of a scan, counted pixel by pixel from `(H, W, K)` and `(H, W)` booleans."""
    height, width, classes = masks.shape
    fields = Counter()
    for y in range(height):
        for x in range(width):
            field = sum(1 << k for k in range(classes) if masks[y, x, k])
            fields[1 << classes if ignored is not None and ignored[y, x] else field] += 1
    return Record(tuple(sorted(fields.items())), **values)


@st.composite
def scans(draw):
    """Some scans of any shape: their masks `(H, W, 3)` and ignored pixels `(H, W)`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = []
    for _ in range(draw(st.integers(0, 4))):
        shape = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        share = draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
        found.append((rng.random((*shape, 3)) < share, rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))))
    return found


@FEW
@given(scans())
def test_every_number_is_that_of_slow_loops_over_the_pixels(found):
    statistics = class_statistics([record(*scan) for scan in found], NAMES)
    counted = [masks[~ignored] for masks, ignored in found]
    total = sum(len(pixels) for pixels in counted)
    assert statistics.scans == len(found)
    assert statistics.counted_pixels == total
    assert statistics.ignored_pixels == sum(int(ignored.sum()) for _, ignored in found)
    for i, name in enumerate(NAMES):
        area = sum(bool(pixel[i]) for pixels in counted for pixel in pixels)
        present = sum(any(pixel[i] for pixel in pixels) for pixels in counted)
        assert statistics.pixels[name] == area
        assert statistics.fractions[name] == (area / total if total else 0)
        assert (statistics.scans_with[name], statistics.scans_without[name]) == (present, len(found) - present)
        for j in range(len(NAMES)):
            both = sum(bool(pixel[i] and pixel[j]) for pixels in counted for pixel in pixels)
            assert statistics.co_occurrence[i][j] == (both / area if area else None)


@FEW
@given(scans())
def test_the_pixels_of_each_scan_are_its_own(found):
    # a record without any combination must not shift those after it
    records = [item for scan in found for item in (Record(()), record(*scan))]
    counts = count_pixels(records, NAMES)
    assert counts.counted.tolist() == [n for _, ignored in found for n in (0, int((~ignored).sum()))]
    assert counts.ignored.tolist() == [n for _, ignored in found for n in (0, int(ignored.sum()))]
    assert counts.classes.tolist() == [
        row for masks, ignored in found for row in ([0, 0, 0], masks[~ignored].sum(axis=0).tolist())
    ]


def test_a_hand_example():
    # iris 50 + 10 pixels, pupil 10 (all inside iris), lid none; 20 of 200 pixels are ignored
    records = [Record(((0, 20), (1, 50), (3, 10), (8, 20))), Record(((0, 100),), split="test")]
    statistics = class_statistics(records, NAMES, config=LossConfig(max_class_weight=10.0))
    assert statistics.counted_pixels == 180
    assert statistics.pixels == {"iris": 60, "pupil": 10, "lid": 0}
    assert statistics.fractions == {"iris": 60 / 180, "pupil": 10 / 180, "lid": 0}
    assert statistics.co_occurrence == ((1.0, 10 / 60, 0.0), (1.0, 1.0, 0.0), (None, None, None))
    assert statistics.scans_with == {"iris": 1, "pupil": 1, "lid": 0}
    assert statistics.scans_without == {"iris": 1, "pupil": 1, "lid": 2}
    assert statistics.weights["none"] == {"iris": 1, "pupil": 1, "lid": 1}
    assert statistics.weights["total_over_class"] == pytest.approx({"iris": 3, "pupil": 10, "lid": 1})
    assert statistics.weights["inverse_frequency"] == pytest.approx({"iris": 2, "pupil": 10, "lid": 1})


def test_each_split_has_its_own_statistics_even_without_scans():
    records = [Record(((0, 3), (1, 1))), Record(((2, 4),)), Record(((4, 9),), split="test")]
    found = statistics_by_split(iter(records), NAMES)
    assert list(found) == ["train", "validation", "test"]
    assert found["train"] == class_statistics(records[:2], NAMES)
    assert found["test"].pixels == {"iris": 0, "pupil": 0, "lid": 9}
    assert found["validation"].scans == found["validation"].counted_pixels == 0
    assert found["validation"].co_occurrence == ((None,) * 3,) * 3


def test_the_cap_of_the_weights_is_that_of_the_settings_in_each_split():
    records = [Record(((0, 999), (1, 1)))]
    found = statistics_by_split(records, NAMES, config=LossConfig(max_class_weight=7.0))
    assert found["train"].weights["inverse_frequency"]["iris"] == 7
    assert statistics_by_split(records, NAMES)["train"].weights["inverse_frequency"]["iris"] == 5


def test_scans_whose_sources_vanished_are_left_out():
    record = Record(((0, 3), (1, 1)))
    assert class_statistics([record, replace(record, vanished=True)], NAMES) == class_statistics([record], NAMES)


def test_an_ignored_pixel_counts_for_no_class():
    assert class_statistics([Record(((0b1001, 5), (1, 1)))], NAMES).pixels["iris"] == 1


def test_large_numbers_stay_exact():
    odd = 2**53 + 1  # no float64
    assert class_statistics([Record(((1, odd),))] * 3, NAMES).pixels["iris"] == 3 * odd


def test_as_many_classes_as_a_field_holds_can_be_counted():
    names = [f"c{k}" for k in range(63)]
    statistics = class_statistics([Record(((1 << 62, 5), (1 << 63, 2)))], names)
    assert statistics.pixels["c62"] == statistics.counted_pixels == 5
    assert statistics.ignored_pixels == 2


def test_statistics_survive_json():
    statistics = class_statistics([Record(((0, 3), (3, 1), (8, 2)))], NAMES)
    plain = json.loads(json.dumps(asdict(statistics)))
    assert plain["pixels"] == {"iris": 1, "pupil": 1, "lid": 0}
    assert plain["co_occurrence"] == [[1, 1, 0], [1, 1, 0], [None, None, None]]


@pytest.mark.parametrize("rule", RULES)
def test_training_takes_the_very_weights_that_are_shown(rule):
    statistics = class_statistics([Record(((0, 3), (1, 7), (3, 2)))], NAMES)
    fractions = np.array(list(statistics.fractions.values()))
    assert class_weights(fractions, LossConfig(class_weights=rule)) == list(statistics.weights[rule].values())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("none", [1, 1, 1, 1]), ("total_over_class", [2, 10, 50, 1]), ("inverse_frequency", [1, 9, 50, 1])],
)
def test_class_weights_follow_their_formulas(rule, expected):
    config = LossConfig(class_weights=rule, max_class_weight=50.0)
    assert class_weights(np.array([0.5, 0.1, 0.001, 0.0]), config) == pytest.approx(expected)


def test_a_class_that_covers_most_is_not_weighed_below_one():
    assert class_weights(np.array([0.9]), LossConfig(class_weights="inverse_frequency")) == [1]
