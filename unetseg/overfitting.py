"""Overfitting and underfitting, read from a training's history and said in sentences with what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unetseg.config import Settings
from unetseg.history import Row, best_row, dice_column, series

__all__ = ["fitting_notes"]

# Dice of the training patches against that of the validation patches. New scans are always a little harder: gaps of
# some hundredths are usual in networks that do well.
_LARGE_GAP: Final = 0.1
_RISE: Final = 0.01  # validation that gains less is taken to stand still: from epoch to epoch it moves about as much
_CLEAR_RISE: Final = 0.02  # of training meanwhile
_LOW: Final = 0.5  # Dice on patches that the network was trained with, below which it has not learned the class
_FEWEST_EPOCHS: Final = 6  # fewer, and the warm-up is most of what is seen
_WAIT: Final = 3  # epochs without a rise, and at least a fifth of all: a shorter pause may be chance
_WAIT_SHARE: Final = 0.2
_END: Final = 3  # epochs whose median stands for the end


@dataclass(frozen=True)
class _Course:
    """How one class went.

    Attributes:
        train: median Dice of the last epochs on training patches.
        validation: the same on validation patches.
        peak: epoch since which validation has not risen.
        train_rise: gain of the training Dice since then.
        waited: epochs since then.
        epochs: epochs seen.
    """

    train: float
    validation: float
    peak: int
    train_rise: float
    waited: int
    epochs: int

    @property
    def gap(self) -> float:
        return self.train - self.validation

    @property
    def stands_still(self) -> bool:
        return self.waited >= max(_WAIT, _WAIT_SHARE * self.epochs)


def fitting_notes(rows: Sequence[Row], classes: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """What the history says of over- and underfitting, one sentence per class concerned, and what helps.

    A class is overfitted where two things come together: at the end its Dice is more than 0.1 higher on training
    patches than on validation patches, and validation has stood still or fallen for the last fifth of the epochs, and
    at least three. It is underfitted where even the training patches have a Dice below 0.5.

    Args:
        rows: of the history, one per epoch, as in :mod:`unetseg.history`.
        classes: to be judged.
        settings: of this training; the advice tells what they are now.

    Returns:
        Sentences; none where all is well.
    """
    if len(rows) < _FEWEST_EPOCHS:
        counted = f"{len(rows)} epoch{'' if len(rows) == 1 else 's'}"
        return (f"{counted} cannot tell whether the network overfits: at least {_FEWEST_EPOCHS} are needed",)
    courses = {name: _course(rows, name) for name in classes}
    over = [f"{name}: {_overfitted(course)}" for name, course in courses.items() if course and _is_over(course)]
    under = [f"{name}: {_underfitted(course)}" for name, course in courses.items() if course and _is_under(course)]
    unseen = [_unseen(name) for name, course in courses.items() if course is None]
    if over:
        over.append(_advice_against_overfitting(rows, settings))
    if under:
        under.append(_advice_against_underfitting(settings))
    return (*over, *under, *unseen)


def _course(rows: Sequence[Row], name: str) -> _Course | None:
    """How a class went; None where too few epochs have its Dice on both sides."""
    train, validation = (series(rows, dice_column(split, name)) for split in ("train", "validation"))
    seen = np.isfinite(train) & np.isfinite(validation)
    if seen.sum() < _FEWEST_EPOCHS:
        return None
    epochs, train, validation = series(rows, "epoch")[seen], train[seen], validation[seen]
    peak = int(np.argmax(validation >= validation.max() - _RISE))
    end = _median_of_end(train)
    return _Course(
        train=end,
        validation=_median_of_end(validation),
        peak=int(epochs[peak]),
        train_rise=end - float(train[peak]),
        waited=len(epochs) - 1 - peak,
        epochs=int(epochs[-1]),
    )


def _median_of_end(values: NDArray[np.float64]) -> float:
    return float(np.median(values[-_END:]))


def _is_over(course: _Course) -> bool:
    return course.gap > _LARGE_GAP and course.stands_still


def _is_under(course: _Course) -> bool:
    return course.train < _LOW and not _is_over(course)


def _overfitted(course: _Course) -> str:
    since = f"since epoch {course.peak} of {course.epochs}"
    scores = f"training Dice {course.train:.2f} against validation {course.validation:.2f} (gap {course.gap:.2f})"
    if course.train_rise > _CLEAR_RISE:
        return f"{scores}, and validation has not risen {since} while training rose by {course.train_rise:.2f}"
    return f"{scores}, and neither has risen {since}: overfitted early, or validation scans are unlike training scans"


def _underfitted(course: _Course) -> str:
    return (
        f"training Dice is only {course.train:.2f} (validation {course.validation:.2f}), "
        "so that the class is not learned yet"
    )


def _unseen(name: str) -> str:
    return (
        f"{name}: whether it is overfitted cannot be told, since training or validation patches do not hold it; "
        "split the scans so that both do"
    )


def _advice_against_overfitting(rows: Sequence[Row], settings: Settings) -> str:
    """What may be changed, with its present value; and that what is kept is the best epoch's weights."""
    augment, train = settings.augment, settings.train
    best = best_row(rows)
    kept = "" if best is None else f"the weights of epoch {best['epoch']:.0f}, the best one, are kept; "
    dropout = ", ".join(f"{share:g}" for share in settings.model.dropout)
    return (
        f"overfitting: {kept}more scans help, stronger augmentation (augment.warped_fraction, now "
        f"{augment.warped_fraction:g}; augment.elastic, now {augment.elastic:g}; augment.contrast, now "
        f"{augment.contrast:g}), model.dropout (now {dropout}) and train.weight_decay (now {train.weight_decay:g})"
    )


def _advice_against_underfitting(settings: Settings) -> str:
    train = settings.train
    limit = "" if train.max_minutes else ": no limit"
    return (
        f"underfitting: longer training helps, train.epochs (now {train.epochs}) and train.max_minutes (now "
        f"{train.max_minutes:g}{limit}), a wider network, model.width (now {settings.model.width}), another "
        f"train.learning_rate (now {train.learning_rate:g}), and a look at the masks"
    )
