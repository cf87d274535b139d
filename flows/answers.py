"""What each command answers: sentences and tables for people, one record for programs, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from flows.console import Console
from unetseg.words import counted

if TYPE_CHECKING:  # it would load NumPy, which `--help` does not need
    from unetseg.readers import BadFile

__all__ = [
    "WITH_QUARANTINE",
    "finish",
    "say_aside",
    "say_comparison",
    "say_evaluation",
    "say_nightly",
    "say_notes",
    "say_plan",
    "say_predict",
    "say_scores",
    "say_training",
]

WITH_QUARANTINE = 3
"""Exit status of a command that finished, but set files aside."""


def finish(console: Console, result: Any, *, bad: Sequence[BadFile] = (), **more: Any) -> None:  # noqa: ANN401
    """Print the result for programs; exit with 3 if anything was set aside (the library's log names each file)."""
    console.finish(record(result) | {name: record(value) for name, value in more.items()})
    if bad:
        sys.exit(WITH_QUARANTINE)


def record(value: Any) -> Any:  # noqa: ANN401 (any result)
    """A result as JSON holds it: where files were set aside, their number, and one list of all with reasons."""
    if isinstance(value, list | tuple):
        return [record(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    plain = {name: record(item) for name, item in vars(value).items()}
    lists = [name for name in ("quarantined", "failed") if name in plain]
    files = [item for name in lists for item in plain[name]]
    return plain | {name: len(plain[name]) for name in lists} | ({"quarantine": files} if lists else {})


def say_nightly(console: Console, result: Any) -> None:  # noqa: ANN401
    """The scores, what was noticed in training, the outcome and the report of a night."""
    if result.scores:
        say_scores(console, f"model {result.version} on scans it never saw", result.scores)
    say_notes(console, result.notes)
    console.say(result.sentence)
    if result.report:
        console.say(f"report: {result.report}")


def say_aside(console: Console, night: Any) -> list[BadFile]:  # noqa: ANN401
    """All files that a night set aside, and which pages have the reasons; each was named when it was met, hours ago."""
    stages = [("", night.ingest, "page"), (" of the prediction", night.predicted, "gallery")]
    found = [(of, result.aside, getattr(result, page)) for of, result, page in stages if result and result.aside]
    for of, bad, page in found:
        number = len({file.path for file in bad})
        pages = "" if number == len(bad) else f" ({counted(len(bad), 'page')})"
        files = f"{counted(number, 'file')}{pages} in quarantine{of} (exit status {WITH_QUARANTINE})"
        console.say(f"finished, with {files}; reasons: {page}")
    return [file for _, bad, _ in found for file in bad]


def say_training(console: Console, result: Any) -> None:  # noqa: ANN401
    """The model that was trained, and what was noticed; what was chosen for it was logged when it began."""
    say_notes(console, result.notes)
    console.say(
        f"model {result.version}: validation score {result.validation_score:.3f} in epoch {result.best_epoch} of "
        f"{result.epochs}; {result.bundle}; history and curves: {result.run}"
    )


def say_notes(console: Console, notes: Iterable[str]) -> None:
    """What was noticed in a training, such as overfitting."""
    for note in notes:
        console.say(f"note: {note}")


def say_plan(console: Console, choices: Mapping[str, str]) -> None:
    """What was chosen from data and machine, and why."""
    if choices:
        console.table("chosen from data and machine", ["setting", "choice"], [list(item) for item in choices.items()])


def say_predict(console: Console, result: Any) -> None:  # noqa: ANN401
    """How many scans were segmented, and where they are."""
    console.say(result.sentence)
    if result.look_first:
        console.say("look first at:")
    for item in result.look_first:
        console.say(f"  {item.scan}: {item.reasons}")
    if result.annotate_next:
        named = ", ".join(item.scan for item in result.annotate_next)
        more = "more of both" if result.look_first else "more"
        console.say(f"annotate next: {named}; {more} in {result.out / 'scans.csv'}")


def say_production(console: Console, result: Any) -> None:  # noqa: ANN401
    """Which versions are in production and before."""
    console.say(f"production {result.production}, previous {result.previous or 'none'}")


def say_comparison(console: Console, found: Any) -> None:  # noqa: ANN401
    """What two versions score on the same scans, and how sure the gain in F1 is."""
    before, after = found.versions
    rows = [[name, *_changes(found, name)] for name in found.scores]
    console.table(
        f"model {before} and model {after} on the same test scans",
        ["class", "recall", "precision", "f1", "average precision", "gain in f1 (interval)"],
        rows,
    )
    if any(row["f1"].low is None for row in found.differences.values()):
        console.say("no interval where fewer than two groups of the test scans hold the class: groups are drawn for it")


def _changes(found: Any, name: str) -> list[str]:  # noqa: ANN401
    row, drawn = found.scores[name], found.differences.get(name, {}).get("f1")
    cells = [row.get(score) for score in ("recall", "precision", "f1", "average_precision")]
    shown = [f"{number(cell.before)} -> {number(cell.after)}" if cell else "–" for cell in cells]
    gain, has_interval = row["f1"].difference, drawn and drawn.low is not None
    interval = f" ({drawn.low:+.3f} to {drawn.high:+.3f})" if has_interval else ""
    return [*shown, number(gain) if gain is None else f"{gain:+.3f}{interval}"]


def say_evaluation(console: Console, result: Any) -> None:  # noqa: ANN401
    """The scores of a model, how its pixels are decided, and the page about both."""
    say_scores(console, f"model {result.version}", result.scores)
    if result.decision == "argmax":
        console.say("each pixel is the most probable of the classes and background; there are no thresholds")
    else:
        console.say("thresholds, with what they score on the validation split:")
        for name, chosen in result.thresholds.items():
            console.say(f"{name}: threshold {chosen['value']:.4f}, {chosen['reason']}")
    console.say(f"report: {result.report}")


def say_scores(console: Console, title: str, scores: dict[str, dict[str, Any]]) -> None:
    """A table of scores."""
    names = ("recall", "precision", "f1", "dice", "iou", "average_precision", "threshold", "support")
    rows = [[row, *(number(values.get(name)) for name in names)] for row, values in scores.items()]
    console.table(title, ["class", *(name.replace("_", " ") for name in names)], rows)
    console.say("micro: classes pooled; macro: their mean; weighted: their mean by inverse frequency")


def number(value: float | None) -> str:
    """A number as people read it; a dash where there is none."""
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
