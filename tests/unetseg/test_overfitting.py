"""What is said of made-up courses of training."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from unetseg.config import AugmentConfig, ModelConfig, Settings, TrainConfig
from unetseg.history import Row
from unetseg.overfitting import fitting_notes

SETTINGS = Settings()


def history(**classes: tuple[list[float], list[float]]) -> list[Row]:
    """Rows of the Dice in training and in validation, by class; the score is the mean of validation."""
    epochs = len(next(iter(classes.values()))[0])
    rows = []
    for k in range(epochs):
        row: dict[str, float | None] = {"epoch": k + 1}
        for name, (train, validation) in classes.items():
            row |= {f"train_dice_{name}": train[k], f"validation_dice_{name}": validation[k]}
        measured = [v[k] for _, v in classes.values() if v[k] is not None and not math.isnan(v[k])]
        row["validation_score"] = sum(measured) / len(measured) if measured else math.nan
        rows.append(row)
    return rows


def line(first: float, last: float, epochs: int) -> list[float]:
    return [first + (last - first) * k / (epochs - 1) for k in range(epochs)]


# Training to 0.98 in 30 epochs; validation 0.82 in epoch 12, then down to 0.78.
OVERFITTED = (line(0.4, 0.86, 12) + line(0.87, 0.98, 18), line(0.38, 0.82, 12) + line(0.815, 0.78, 18))
HEALTHY = (line(0.4, 0.95, 30), line(0.38, 0.90, 30))
UNDERFITTED = (line(0.1, 0.3, 30), line(0.1, 0.28, 30))
ABSENT = (line(0.4, 0.95, 30), [math.nan] * 30)


def test_overfitting_is_told_with_its_numbers():
    notes = fitting_notes(history(iris=OVERFITTED), ("iris",), SETTINGS)
    # The last three epochs have the medians 0.9735 and 0.7821; epoch 12 had 0.86, from which training rose by 0.11.
    assert notes[0] == (
        "iris: training Dice 0.97 against validation 0.78 (gap 0.19), and validation has not risen since epoch 12 of "
        "30 while training rose by 0.11"
    )


def test_advice_tells_what_is_kept_and_what_the_settings_are_now():
    settings = Settings(
        model=ModelConfig(dropout=(0.0, 0.125)),
        train=TrainConfig(weight_decay=0.00025),
        augment=AugmentConfig(warped_fraction=0.625, elastic=1.5, contrast=0.375),
    )
    notes = fitting_notes(history(iris=OVERFITTED), ("iris",), settings)
    assert len(notes) == 2
    for said in (
        "the weights of epoch 12, the best one, are kept",
        "augment.warped_fraction, now 0.625",
        "augment.elastic, now 1.5",
        "augment.contrast, now 0.375",
        "model.dropout (now 0, 0.125)",
        "train.weight_decay (now 0.00025)",
    ):
        assert said in notes[1]


def test_advice_is_given_once_for_all_classes():
    notes = fitting_notes(
        history(iris=OVERFITTED, pupil=OVERFITTED, sclera=HEALTHY), ("iris", "pupil", "sclera"), SETTINGS
    )
    assert [note.split(":")[0] for note in notes] == ["iris", "pupil", "overfitting"]


def test_healthy_training_has_no_notes():
    assert fitting_notes(history(iris=HEALTHY), ("iris",), SETTINGS) == ()


def test_large_gap_is_no_overfitting_while_validation_rises():
    assert fitting_notes(history(iris=(line(0.4, 0.98, 30), line(0.2, 0.8, 30))), ("iris",), SETTINGS) == ()


def test_validation_that_stands_still_close_to_training_is_no_overfitting():
    course = (line(0.4, 0.9, 10) + [0.9] * 20, line(0.4, 0.81, 10) + [0.81] * 20)
    assert fitting_notes(history(iris=course), ("iris",), SETTINGS) == ()


def test_small_rises_and_falls_do_not_hide_that_validation_stands_still():
    wavering = [0.8 + 0.004 * (-1) ** k + 0.0001 * k for k in range(20)]  # the highest of all is one of the last
    course = (line(0.4, 0.98, 30), line(0.4, 0.8, 10) + wavering)
    notes = fitting_notes(history(iris=course), ("iris",), SETTINGS)
    assert "validation has not risen since epoch 10 of 30" in notes[0]


def test_both_at_rest_far_apart_may_also_be_other_scans():
    course = (line(0.4, 0.95, 10) + [0.95] * 20, line(0.4, 0.75, 10) + [0.75] * 20)
    notes = fitting_notes(history(iris=course), ("iris",), SETTINGS)
    assert "neither has risen since epoch 10 of 30: overfitted early, or validation scans are unlike" in notes[0]


@pytest.mark.parametrize(("waited", "told"), [(2, 0), (3, 2)], ids=["two epochs", "three epochs"])
def test_validation_must_have_stood_still_for_three_epochs(waited: int, told: int):
    course = (line(0.5, 0.99, 8), line(0.4, 0.7, 8 - waited) + [0.7] * waited)
    assert len(fitting_notes(history(iris=course), ("iris",), SETTINGS)) == told


@pytest.mark.parametrize(("waited", "told"), [(5, 0), (6, 2)], ids=["a sixth", "a fifth"])
def test_validation_must_have_stood_still_for_a_fifth_of_the_epochs(waited: int, told: int):
    course = (line(0.4, 0.99, 30), line(0.1, 0.75, 30 - waited) + [0.75] * waited)
    assert len(fitting_notes(history(iris=course), ("iris",), SETTINGS)) == told


def test_underfitting_is_told_apart():
    settings = replace(SETTINGS, train=TrainConfig(epochs=30, max_minutes=7.5, learning_rate=0.0125))
    notes = fitting_notes(history(iris=UNDERFITTED), ("iris",), settings)
    assert notes[0] == "iris: training Dice is only 0.29 (validation 0.27), so that the class is not learned yet"
    assert notes[1].startswith("underfitting: ")
    for said in ("train.epochs (now 30)", "train.max_minutes (now 7.5)", "train.learning_rate (now 0.0125)"):
        assert said in notes[1]
    assert len(notes) == 2


def test_class_that_validation_lacks_is_told():
    notes = fitting_notes(history(iris=ABSENT, pupil=HEALTHY), ("iris", "pupil"), SETTINGS)
    assert len(notes) == 1
    assert notes[0].startswith("iris: whether it is overfitted cannot be told")


@pytest.mark.parametrize(("epochs", "words"), [(0, "0 epochs"), (1, "1 epoch "), (5, "5 epochs")])
def test_few_epochs_cannot_tell(epochs: int, words: str):
    rows = history(iris=OVERFITTED)[:epochs]
    notes = fitting_notes(rows, ("iris",), SETTINGS)
    assert len(notes) == 1
    assert notes[0].startswith(words)
    assert "at least 6" in notes[0]
