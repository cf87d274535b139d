"""A project through ingest, training and evaluation, and its scores as rows of a table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetseg.evaluate import evaluate
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import Project, load_project
from unetseg.synth import write_eyes
from unetseg.train import TrainResult, train

__all__ = ["COLUMNS", "HEAD", "Outcome", "prepare", "quick_bundle", "run", "score_rows", "table"]

_QUICK = ("train.epochs=4", "train.patch=128", "train.steps_per_epoch=10", "train.max_minutes=0")

COLUMNS = ("dice", "f1", "recall", "precision", "average_precision")
HEAD = ("Dice, mean of scans", "Dice of all pixels", "recall", "precision", "average precision")


@dataclass(frozen=True)
class Outcome:
    """What one run through the pipeline gave.

    Attributes:
        project: that was trained.
        result: of the training.
        scores: of the test split, a row per class, and ``macro``.
        minutes: that training took, start-up and the best of all epochs included.
    """

    project: Project
    result: TrainResult
    scores: dict[str, dict[str, Any]]
    minutes: float


def prepare(scans: Path, masks: Path, folder: Path, *, guides: Path | None = None) -> Path:
    """A project with its dataset, by `init` and `ingest` alone."""
    init(scans, masks, project=folder, guides=guides)
    ingest(load_project(folder))
    return folder


def run(folder: Path, settings: Sequence[str] = (), *, model: str = "latest") -> Outcome:
    """Train and evaluate a prepared project."""
    project = load_project(folder, settings)
    started = time.monotonic()
    result = train(project)
    minutes = (time.monotonic() - started) / 60
    return Outcome(project, result, evaluate(project, model=model).scores, minutes)


def quick_bundle(folder: Path, *settings: str) -> Path:
    """The default network after a short training on eyes: masks must have the shapes that masks have."""
    eyes = write_eyes(folder / "eyes", subjects=6)
    init(eyes.scans, eyes.masks, project=folder / "project", overrides=(*_QUICK, *settings))
    project = load_project(folder / "project")
    ingest(project)
    return train(project).bundle


def score_rows(name: str, scores: dict[str, dict[str, Any]], more: Sequence[str] = ()) -> list[list[str]]:
    """A line per class."""
    classes = [key for key in scores if key not in ("micro", "macro", "weighted")]
    return [[name, key, *(_text(scores[key][column]) for column in COLUMNS), *more] for key in classes]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
