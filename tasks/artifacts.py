"""What a run shows in the Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from unetseg.class_statistics import ClassStatistics, class_statistics, statistics_by_split
from unetseg.class_table import CLASS_HEAD, class_rows, overlap_rows
from unetseg.dataset import open_dataset
from unetseg.dataset_index import Index
from unetseg.ingest import IngestResult
from unetseg.readers import BadFile

__all__ = ["show_ingest", "show_quarantine", "show_scores", "show_sentence"]

_SCORES = ("recall", "precision", "f1", "dice", "iou", "average_precision", "threshold")
_MOST_ROWS = 500  # of a table: the database keeps all of each run, and the page and the dataset have the rest


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
        rows = [{"file": item.path, "reason": item.reason} for item in files[:_MOST_ROWS]]
        create_table_artifact(rows, key="quarantine", description=_of(len(rows), len(files), "file"))


def show_ingest(result: IngestResult) -> None:
    """What an ingest found: files set aside, scans to look at, its classes, and the page about all."""
    show_quarantine([*result.quarantined, *result.failed])
    _show_suspicions(result.suspicions)
    _show_classes(open_dataset(result.dataset).index)
    create_link_artifact(result.page.as_uri(), link_text=str(result.page), key="data-check")


def _show_suspicions(suspicions: Mapping[str, Sequence[str]]) -> None:
    """A table of the scans that a person should look at; nothing where there are none."""
    found = [{"scan": scan, "what is odd": text} for scan, sentences in suspicions.items() for text in sentences]
    if found:
        rows = found[:_MOST_ROWS]
        create_table_artifact(rows, key="suspicions", description=_of(len(rows), len(found), "sentence"))


def _show_classes(index: Index) -> None:
    """How often classes are and which overlap, in the train split and in all scans."""
    train = statistics_by_split(index.scans.values(), index.classes)["train"]
    everything = class_statistics(index.scans.values(), index.classes)
    parts = [_class_section("train", train), _class_section("all splits", everything)]
    if overlaps := overlap_rows(everything):
        parts.append("Share of the class on the left that belongs to the class above too:")
        parts.append(_table(["of", *index.classes], overlaps))
    create_markdown_artifact("\n\n".join(parts), key="classes")


def _class_section(title: str, found: ClassStatistics) -> str:
    head = f"{title}: {found.scans:,} scans, {found.counted_pixels:,} pixels, {found.ignored_pixels:,} ignored"
    return f"{head}\n\n{_table(CLASS_HEAD, class_rows(found))}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _of(shown: int, total: int, what: str) -> str:
    """``3 files``, or ``the first 500 of 2,000 files``."""
    counted = f"{total:,} {what}{'' if total == 1 else 's'}"
    return counted if shown == total else f"the first {shown:,} of {counted}"


def show_sentence(sentence: str) -> None:
    """One line that says how the run ended."""
    create_markdown_artifact(sentence, key="outcome")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
