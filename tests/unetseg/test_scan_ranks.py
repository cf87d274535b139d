"""The order in which to look at scans."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from unetseg.intensity_distance import KNOTS, PERCENTS
from unetseg.object_table import ObjectRow
from unetseg.predict_marker import Segmented
from unetseg.scan_ranks import ScanRow, advice, rank_scans, to_annotate, write_scans
from unetseg.training_data import ClassAreas, Intensities, TrainingData

KNOWN = TrainingData(
    scans=20,
    intensities=(Intensities("grey", tuple(percent / 100 for percent in PERCENTS), (0.02, 0.04)),),
    areas=(ClassAreas("pupil", 20, 0, tuple(np.linspace(0.05, 0.12, 20).tolist())),),
)


def scan(near: float = 0.1, *, fraction: float = 0.08, shift: float = 0.0) -> Segmented:
    row = ObjectRow("", "pupil", round(fraction * 1e4), fraction, None, 1, None, None, near, 100, 100)
    return Segmented((row,), True, "", {"": [tuple(percent / 100 + shift for percent in KNOTS)]})


def named(scans: dict[str, Segmented]) -> list[Segmented]:
    """With their names in rows and profiles."""
    return [
        replace(item, rows=tuple(replace(row, scan=name) for row in item.rows), profiles={name: item.profiles[""]})
        for name, item in scans.items()
    ]


def order(scans: dict[str, Segmented], known: TrainingData | None = KNOWN) -> str:
    return " ".join(row.scan for row in rank_scans(named(scans), known))


def test_a_scan_with_a_reason_comes_before_one_of_which_the_model_is_a_little_less_sure():
    scans = {"a": scan(0.1), "b": scan(0.05, shift=0.1), "c": scan(0.2), "d": scan(0.01, fraction=0.5), "e": scan(0.3)}
    assert order(scans) == "b d e c a"


def test_two_reasons_come_before_one():
    scans = {"far": scan(shift=0.2), "large": scan(fraction=0.6), "both": scan(fraction=0.5, shift=0.1), "none": scan()}
    assert order(scans) == "both far large none"


def test_one_scan_that_is_far_comes_to_the_top_of_many():
    scans = {f"{i:03d}": scan(i / 1000) for i in range(200)} | {"x": scan(0.1, shift=0.1)}
    assert order(scans).split()[:3] == ["x", "199", "198"]


def test_the_score_is_reciprocal_rank_fusion():
    """A slow second implementation, on random scans."""
    random = np.random.default_rng(0)
    scans = {
        f"{i:02d}": scan(random.random() / 2, fraction=random.uniform(0.01, 0.4), shift=random.uniform(0, 0.1))
        for i in range(40)
    }
    rows = rank_scans(named(scans), KNOWN)

    def score(row: ScanRow) -> tuple[bool, float]:
        total = 0.0
        for name, least in (("near_threshold", 0.0), ("intensity_ratio", 1.0), ("area_ratio", 1.0)):
            own = max(getattr(row, name), least)
            total += 1 / (60 + sum(max(getattr(other, name), least) >= own for other in rows))
        return bool(row.reasons), total

    scores = [score(row) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 30


def test_without_knowledge_of_the_training_data_doubt_alone_decides_and_the_cells_are_empty():
    scans = {"a": scan(0.1, shift=5), "b": scan(0.3), "c": scan(0.2, fraction=0.9)}
    assert order(scans, None) == "b c a"
    row = rank_scans(named(scans), None)[0]
    assert {name for name, value in asdict(row).items() if value is None} == {
        "intensity_distance", "intensity_ratio", "intensity_channel", "area_ratio", "area_class",
    }  # fmt: skip


def test_no_scan_without_a_reason_comes_before_one_with_one():
    scans = {f"far {i}": scan(0.0, shift=0.1 + i / 100) for i in range(3)} | {
        f"unsure {i:03d}": scan(0.4 - i / 1000) for i in range(99)
    }
    assert order(scans).startswith("far 2 far 1 far 0 unsure 000")


def test_equal_scans_come_in_the_order_of_their_names():
    assert order({"b": scan(), "a": scan(), "c": scan()}) == "a b c"
    assert rank_scans([], KNOWN) == ()


def test_what_to_annotate_and_what_is_told_of_it():
    scans = {f"{i:02d}": scan(0.9 - i / 100, shift=5 * (i % 2)) for i in range(40)}
    rows = rank_scans(named(scans), None)
    proposed = to_annotate(rows)
    assert [row.annotate_next for row in proposed] == list(range(1, 21))
    assert proposed[0].scan == "00"
    assert int(proposed[1].scan) % 2 == 1  # of the other kind
    assert [(item.scan, item.reasons) for item in advice(proposed)] == [(row.scan, row.reasons) for row in proposed[:3]]


@pytest.mark.parametrize("known", [KNOWN, None], ids=["known", "unknown"])
def test_the_files_hold_the_rows_in_their_order(tmp_path: Path, known: TrainingData | None):
    rows = rank_scans(named({"a": scan(0.6), "b": scan(shift=1.0), "c": scan(0.0)}), known)
    write_scans(tmp_path, rows)
    assert [ScanRow(**row) for row in pyarrow.parquet.read_table(tmp_path / "scans.parquet").to_pylist()] == list(rows)
    with (tmp_path / "scans.csv").open(newline="", encoding="utf-8") as file:
        texts = list(csv.DictReader(file))
    assert [text["scan"] for text in texts] == [row.scan for row in rows]
    assert [text["look_first"] for text in texts] == ["1", "2", "3"]
