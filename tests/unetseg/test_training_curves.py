"""The picture of a training: what is drawn, looked up in matplotlib's figure."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from unetseg.training_curves import write_curves


def rows(epochs: int, classes: list[str], absent: str = "") -> list[dict[str, float | None]]:
    """Validation rises to the middle and falls again."""
    found = []
    for epoch in range(1, epochs + 1):
        score = 0.8 - abs(epoch - (epochs + 1) // 2) / (2 * epochs)
        row: dict[str, float | None] = {"epoch": epoch, "loss": 2.0 / epoch, "validation_score": score}
        for name in classes:
            row |= {f"train_dice_{name}": epoch / epochs, f"validation_dice_{name}": None if name == absent else score}
        found.append(row)
    return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **named: Any) -> None:
        saved.append(self)
        original(self, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def lines(figure: Figure, title: str) -> dict[str, list[float]]:
    """The lines of a panel by their labels."""
    axes = next(axes for axes in figure.axes if axes.get_title() == title)
    return {str(line.get_label()): list(np.asarray(line.get_ydata(), float)) for line in axes.get_lines()}


def test_each_class_is_drawn_in_training_and_validation(tmp_path: Path, drawn: list[Figure]):
    history = rows(9, ["iris", "pupil"])
    write_curves(tmp_path / "curves.png", history, ["iris", "pupil"])
    assert [axes.get_title() for axes in drawn[0].axes] == ["loss", "validation score", "Dice: iris", "Dice: pupil"]
    found = lines(drawn[0], "Dice: pupil")
    assert found["training"] == [row["train_dice_pupil"] for row in history]
    assert found["validation"] == [row["validation_dice_pupil"] for row in history]
    assert lines(drawn[0], "loss")["training"] == [row["loss"] for row in history]


def test_best_epoch_is_marked_in_every_panel(tmp_path: Path, drawn: list[Figure]):
    write_curves(tmp_path / "curves.png", rows(9, ["iris"]), ["iris"])
    assert lines(drawn[0], "validation score")["best: 0.800 in epoch 5"] == [0.8]
    for axes in drawn[0].axes:
        assert [5.0, 5.0] in [list(line.get_xdata()) for line in axes.get_lines()]


def test_class_without_validation_says_so(tmp_path: Path, drawn: list[Figure]):
    write_curves(tmp_path / "curves.png", rows(4, ["iris", "pupil"], absent="pupil"), ["iris", "pupil"])
    texts = {axes.get_title(): [text.get_text() for text in axes.texts] for axes in drawn[0].axes}
    assert texts["Dice: pupil"] == ["absent from validation"]
    assert texts["Dice: iris"] == []


def test_training_and_validation_differ_in_more_than_colour(tmp_path: Path, drawn: list[Figure]):
    write_curves(tmp_path / "curves.png", rows(4, ["iris"]), ["iris"])
    train, validation = drawn[0].axes[2].get_lines()[:2]
    assert train.get_linestyle() != validation.get_linestyle()


@pytest.mark.parametrize(
    ("epochs", "count", "size"),
    [(1, 1, (640, 500)), (1000, 12, (1280, 960)), (3, 5, (960, 730)), (0, 0, (640, 270))],
    ids=["one epoch", "many", "five classes", "nothing"],
)
def test_picture_has_room_for_all_panels(epochs: int, count: int, size: tuple[int, int], tmp_path: Path):
    classes = [f"a class with quite a long name, number {k}" for k in range(count)]
    write_curves(tmp_path / "curves.png", rows(epochs, classes), classes)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == size


def test_titles_do_not_run_into_each_other(tmp_path: Path, drawn: list[Figure]):
    classes = ["left_ventricle_posterior_muscle_" * 2, "MYOCARDIUM-" * 5, " ".join(["word"] * 13), "iris"]
    write_curves(tmp_path / "curves.png", rows(3, classes), classes)
    boxes = [axes.title.get_window_extent() for axes in drawn[0].axes[2:]]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("value", [None, math.nan], ids=["none", "nan"])
def test_what_was_not_measured_is_a_gap(value: float | None, tmp_path: Path, drawn: list[Figure]):
    history = rows(3, ["iris"])
    history[1]["train_dice_iris"] = value
    write_curves(tmp_path / "curves.png", history, ["iris"])
    assert np.isnan(lines(drawn[0], "Dice: iris")["training"]).tolist() == [False, True, False]
