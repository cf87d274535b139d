"""What `unetseg ingest` says when it has finished: what was done, and what the dataset holds now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.console import Console

if TYPE_CHECKING:  # it would load NumPy, which `--help` does not need
    from unetseg.class_statistics import ClassStatistics
    from unetseg.ingest import IngestResult

__all__ = ["say_ingest"]

_SUSPICIONS_SHOWN = 10


def say_ingest(console: Console, result: IngestResult) -> None:
    """How many scans were read, how they are split, what classes they hold, and what to look at.

    Files in quarantine are not listed: the library's log has named each one, with the reason.
    """
    console.say(result.sentence)
    _say_classes(console, result)
    _say_suspicions(console, result)
    console.say(f"\ndata check: {result.page}")


def _say_classes(console: Console, result: IngestResult) -> None:
    """How often classes are, in what trains and in all; which of them overlap, where any do."""
    from unetseg.class_statistics import class_statistics, statistics_by_split
    from unetseg.class_table import overlap_rows
    from unetseg.dataset import open_dataset

    index = open_dataset(result.dataset).index
    everything = class_statistics(index.scans.values(), index.classes)
    _say_statistics(console, "train", statistics_by_split(index.scans.values(), index.classes)["train"])
    _say_statistics(console, "all splits", everything)
    if overlaps := overlap_rows(everything):
        console.table(
            "overlaps: share of the class on the left that others cover too", ["of", *index.classes], overlaps
        )


def _say_statistics(console: Console, title: str, found: ClassStatistics) -> None:
    from unetseg.class_table import CLASS_HEAD, class_rows

    ignored = f", {found.ignored_pixels:,} ignored" if found.ignored_pixels else ""
    head = f"{title}: {found.scans:,} scans, {found.counted_pixels:,} pixels{ignored}"
    _say_table(console, head, list(CLASS_HEAD), class_rows(found))


def _say_suspicions(console: Console, result: IngestResult) -> None:
    """The first scans that a person should look at."""
    found = [[scan, sentence] for scan, sentences in result.suspicions.items() for sentence in sentences]
    if not found:
        return
    _say_table(console, "look at these", ["scan", "what is odd"], found[:_SUSPICIONS_SHOWN])
    if len(found) > _SUSPICIONS_SHOWN:
        console.say(f"{len(found) - _SUSPICIONS_SHOWN:,} more are on the page")


def _say_table(console: Console, title: str, head: list[str], rows: list[list[str]]) -> None:
    """A table below a line of its own: a title is often wider than its table, and would be wrapped."""
    console.say(f"\n{title}")
    console.table("", head, rows)
