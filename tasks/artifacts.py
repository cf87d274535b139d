"""What a run shows in the Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from unetseg.readers import BadFile

__all__ = ["show_quarantine", "show_scores", "show_sentence"]

_SCORES = ("recall", "precision", "f1", "dice", "iou", "average_precision", "threshold")


def show_scores(scores: Mapping[str, Mapping[str, Any]], report: str) -> None:
    """A table of scores, and where the report is."""
    head = "| class | " + " | ".join(name.replace("_", " ") for name in _SCORES) + " |"
    rule = "|---" * (len(_SCORES) + 1) + "|"
    rows = [
        f"| {name} | " + " | ".join(_number(row.get(score)) for score in _SCORES) + " |" for name, row in scores.items()
    ]
    create_markdown_artifact("\n".join([head, rule, *rows, "", f"Report: `{report}`"]), key="scores")


def show_quarantine(files: Sequence[BadFile]) -> None:
    """A table of the files that were set aside; nothing where there are none."""
    if files:
        create_table_artifact([{"file": item.path, "reason": item.reason} for item in files], key="quarantine")


def show_sentence(sentence: str) -> None:
    """One line that says how the run ended."""
    create_markdown_artifact(sentence, key="outcome")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
