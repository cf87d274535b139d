"""What a run shows in the Prefect UI."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from unetseg.class_statistics import ClassStatistics, class_statistics, statistics_by_split
from unetseg.class_table import CLASS_HEAD, class_rows, overlap_rows
from unetseg.class_totals import ClassTotal
from unetseg.dataset import open_dataset
from unetseg.dataset_index import Index
from unetseg.evaluate import EvaluateResult
from unetseg.gate import GateResult
from unetseg.history import Row, best_row, class_names, dice_column, read_history
from unetseg.ingest import IngestResult
from unetseg.predict import PredictResult
from unetseg.readers import BadFile
from unetseg.report_pictures import report_pictures
from unetseg.score_words import joined_warnings
from unetseg.storage import read_bytes
from unetseg.train import TrainResult

__all__ = [
    "show_decision",
    "show_evaluation",
    "show_ingest",
    "show_prediction",
    "show_quarantine",
    "show_sentence",
    "show_training",
]

_SCORES = ("recall", "precision", "f1", "dice", "iou", "average_precision", "threshold")
_MOST_ROWS = 500  # of a table: the database keeps all of each run, and the page and the dataset have the rest

_LAST_EPOCHS = 5  # of a training; history.csv has all
_LARGEST_PICTURE = 400_000  # bytes: the server keeps artifacts twice, and the page loads them whole
_EPOCH_COLUMNS = ("epoch", "loss", "validation_score", "learning_rate", "seconds")


def show_evaluation(result: EvaluateResult) -> None:
    """What an evaluation came to: scores, thresholds, warnings, the scans of the report, and where that is."""
    head = ["class", *(name.replace("_", " ") for name in _SCORES)]
    rows = [[name, *(_number(row.get(score)) for score in _SCORES)] for name, row in result.scores.items()]
    cuts = [[name, f"{chosen['value']:.4f}", str(chosen["reason"])] for name, chosen in result.thresholds.items()]
    parts = [
        f"{result.sentence[0].upper()}{result.sentence[1:]}.",
        _table(head, rows),
        _table(["class", "threshold", "why"], cuts if result.decision == "thresholds" else []),
        "\n".join(f"- {warning}" for warning in joined_warnings(result.warnings, list(result.thresholds))),
        _scans_of(result.report),
        f"Report, with curves and intervals: `{result.report}`",
    ]
    text = "\n\n".join(part for part in parts if part)
    create_markdown_artifact(text, key="scores", description=result.sentence)
    link = result.report.as_uri(), str(result.report)
    create_link_artifact(*link, key="report", description="curves, intervals and scans: a file for the browser")
    show_quarantine(result.quarantined)


def _scans_of(report: Path) -> str:
    """The scans of a report, with truth, prediction and errors: as many as an artifact may hold."""
    shown: dict[str, dict[str, str]] = {}
    left = _LARGEST_PICTURE
    for picture in report_pictures(read_bytes(report).decode()):
        left -= len(picture.source)
        if left < 0:
            break
        image = f'<img alt="{escape(picture.shows)}" src="{picture.source}">'
        shown.setdefault(picture.scan, {})[picture.shows] = image
    # In a table, since else each picture has a line of its own, and nothing says what it is.
    return "\n\n".join(f"**{scan}**\n\n{_table(list(row), [list(row.values())])}" for scan, row in shown.items())


def show_decision(result: GateResult) -> None:
    """Why the gate decided as it did, class by class where it compared two models."""
    verdict = f"{'promoted' if result.promoted else 'not promoted'} {result.version}: {result.reason}"
    parts = [verdict[0].upper() + verdict[1:]]
    if numbers := result.numbers:
        rows = [
            [name, _number(item.before), _number(item.after), f"{item.tolerance:g}", "yes" if item.ruined else ""]
            for name, item in numbers.classes.items()
        ]
        rows.append(["macro", _number(numbers.before), _number(numbers.after), "", ""])
        against = numbers.against or "production"
        head = ["class", f"{numbers.score} of {against}", f"of {result.version}", "may lose", "lost more"]
        parts.append(_table(head, rows))
    create_markdown_artifact("\n\n".join(parts), key="decision", description=verdict)


def show_quarantine(files: Sequence[BadFile]) -> None:
    """A table of the files that were set aside; nothing where there are none."""
    if files:
        rows = [{"file": item.path, "reason": item.reason} for item in files[:_MOST_ROWS]]
        create_table_artifact(rows, key="quarantine", description=_of(len(rows), len(files), "file"))


def show_ingest(result: IngestResult) -> None:
    """What an ingest found: files set aside, scans to look at, its classes, and the page about all."""
    show_quarantine(result.aside)
    _show_suspicions(result.suspicions)
    _show_classes(open_dataset(result.dataset).index)
    link = result.page.as_uri(), str(result.page)
    create_link_artifact(*link, key="data-check", description="overlays and intensities: a file for the browser")


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
    create_markdown_artifact("\n\n".join(parts), key="classes", description="how often classes are, and which overlap")


def _class_section(title: str, found: ClassStatistics) -> str:
    head = f"{title}: {found.scans:,} scans, {found.counted_pixels:,} pixels, {found.ignored_pixels:,} ignored"
    return f"{head}\n\n{_table(CLASS_HEAD, class_rows(found))}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; nothing where it has no rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _of(shown: int, total: int, what: str) -> str:
    """``3 files``, or ``the first 500 of 2,000 files``."""
    counted = f"{total:,} {what}{'' if total == 1 else 's'}"
    return counted if shown == total else f"the first {shown:,} of {counted}"


def show_training(result: TrainResult) -> None:
    """What a training came to: its notes, the curves, each class at the best epoch, the last epochs, the plan."""
    rows = read_history(result.run / "history.csv")
    best = best_row(rows) or {}
    parts = [
        f"Model {result.version}: epoch {result.best_epoch} of {result.epochs} is the best one, with a validation "
        f"score of {result.validation_score:.3f}.",
        "\n".join(f"- {note}" for note in result.notes),
        _picture(result.run / "curves.png"),
        _table(["class, at the best epoch", "training Dice", "validation Dice"], _dice_rows(best, class_names(rows))),
        _table([name.replace("_", " ") for name in _EPOCH_COLUMNS], [_epoch(row) for row in rows[-_LAST_EPOCHS:]]),
        _table(["setting", "chosen, and why"], [[f"`{name}`", why] for name, why in result.plan.items()]),
        f"All of it: `{result.run}`",
    ]
    text = "\n\n".join(part for part in parts if part)
    create_markdown_artifact(text, key="training", description="curves, each class at the best epoch, what was chosen")


def show_prediction(result: PredictResult) -> None:
    """What a prediction came to: its classes, warnings, where everything is, and the files that were set aside."""
    parts = [
        f"{result.sentence[0].upper()}{result.sentence[1:]}",
        "\n".join(f"- {warning}" for warning in result.warnings),
        _table(["class", "scans with it", "objects", "mean share of a scan"], [_total(row) for row in result.totals]),
        _table(["look first at", "because"], [[item.scan, item.reasons] for item in result.look_first]),
        _table(["annotate next", "because"], [[item.scan, item.reasons] for item in result.annotate_next]),
        _table(["what", "where"], [["table", f"`{result.table}`"], ["gallery", f"`{result.gallery}`"]]),
    ]
    text = "\n\n".join(part for part in parts if part)
    create_markdown_artifact(text, key="prediction", description="what was found, and where it is")
    link = result.gallery.as_uri(), str(result.gallery)
    create_link_artifact(*link, key="gallery", description="overlays, those to look at first on top")
    show_quarantine(result.aside)


def _total(found: ClassTotal) -> list[str]:
    return [found.name, f"{found.scans:,}", f"{found.objects:,}", f"{100 * found.fraction:.2f} %"]


def _picture(path: Path) -> str:
    """A PNG file within the page; where it is too large for one, or not there, nothing."""
    picture = path.read_bytes() if path.exists() else b""
    if not 0 < len(picture) <= _LARGEST_PICTURE:
        return ""
    return f'<img alt="curves" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'


def _dice_rows(row: Row, classes: Sequence[str]) -> list[list[str]]:
    return [
        [name, *(_number(row.get(dice_column(split, name))) for split in ("train", "validation"))] for name in classes
    ]


def _epoch(row: Row) -> list[str]:
    return ["–" if (value := row.get(name)) is None else f"{value:.4g}" for name in _EPOCH_COLUMNS]


def show_sentence(sentence: str) -> None:
    """One line that says how the run ended."""
    create_markdown_artifact(sentence, key="outcome", description=sentence)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
