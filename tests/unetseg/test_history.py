"""The rows of a training and the file that keeps them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from unetseg.history import best_row, class_names, dice_column, read_history, series, write_history

ROWS = [
    {"epoch": 1, "loss": 0.1 + 0.2, "validation_score": 0.5, "validation_dice_iris": None},
    {"epoch": 2, "loss": 1e-30, "validation_score": 0.75, "validation_dice_iris": math.nan, "note": 3.5},
    {"epoch": 3, "loss": 0.25, "validation_score": 0.75, "validation_dice_iris": 0.5},
]


def test_file_has_a_line_per_epoch_and_empty_cells_where_nothing_was_measured(tmp_path: Path):
    write_history(tmp_path / "history.csv", ROWS)
    assert (tmp_path / "history.csv").read_bytes().decode().splitlines() == [
        "epoch,loss,validation_score,validation_dice_iris,note",
        "1,0.30000000000000004,0.5,,",
        "2,1e-30,0.75,,3.5",
        "3,0.25,0.75,0.5,",
    ]


def test_file_is_read_back_to_the_last_bit(tmp_path: Path):
    write_history(tmp_path / "history.csv", ROWS)
    read = read_history(tmp_path / "history.csv")
    assert [row["loss"] for row in read] == [row["loss"] for row in ROWS]
    assert [row["epoch"] for row in read] == [1, 2, 3]
    assert [row["validation_dice_iris"] for row in read] == [None, None, 0.5]
    assert [row["note"] for row in read] == [None, 3.5, None]


def test_class_names_may_hold_commas_of_other_columns(tmp_path: Path):
    names = ("left, upper", "Iris-2.b", "Haut ä")
    write_history(tmp_path / "h.csv", [{"epoch": 1} | {dice_column("validation", name): 0.5 for name in names}])
    assert class_names(read_history(tmp_path / "h.csv")) == names


def test_no_epochs_are_a_file_with_a_head_only(tmp_path: Path):
    write_history(tmp_path / "history.csv", [])
    assert read_history(tmp_path / "history.csv") == []
    assert (tmp_path / "history.csv").read_text().split() == ["epoch"]


def test_series_has_not_a_number_where_nothing_was_measured():
    assert np.array_equal(series(ROWS, "validation_dice_iris"), [math.nan, math.nan, 0.5], equal_nan=True)
    assert np.array_equal(series(ROWS, "note"), [math.nan, 3.5, math.nan], equal_nan=True)


def test_best_is_the_first_of_the_highest_scores():
    assert best_row(ROWS) is ROWS[1]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "validation_score": math.nan}]], ids=["none", "unmeasured"])
def test_there_is_no_best_row_without_a_score(rows: list[dict[str, float]]):
    assert best_row(rows) is None
