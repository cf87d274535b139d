"""What one prediction did: for the command, for the run's page, and for the record of the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer

from unetseg.class_totals import ClassTotal, class_totals
from unetseg.object_table import ObjectRow
from unetseg.predict_batches import BatchRecord
from unetseg.predict_open import Prediction, doubts
from unetseg.readers import BadFile
from unetseg.scan_ranks import Advice, ScanRow, advice, to_annotate
from unetseg.words import counted

__all__ = ["PredictResult", "odd_scans", "summed_up"]

Place = Annotated[Path, PlainSerializer(str)]  # local, or in an object store


@dataclass(frozen=True)
class PredictResult:
    """What one prediction did.

    Attributes:
        done: scans segmented now; a stack is one.
        skipped: scans whose output was up to date.
        quarantined: files that cannot be used, with reasons.
        failed: files that failed in a way that nobody foresaw, with reasons.
        model: version of the bundle.
        out: folder of the outputs.
        table: one row per scan and class.
        ranking: one row per scan, those to look at first on top.
        look_first: the first few of these for which there are reasons.
        annotate_next: the first few scans to annotate.
        gallery: page to look at.
        seconds: time taken.
        warnings: that the model was never evaluated, and what is odd about scans that were segmented all the same.
        totals: what was found of each class, on scans segmented now or before.
    """

    done: int
    skipped: int
    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]
    model: str
    out: Place
    table: Place
    ranking: Place
    look_first: tuple[Advice, ...]
    annotate_next: tuple[Advice, ...]
    gallery: Place
    seconds: float
    warnings: tuple[str, ...] = ()
    totals: tuple[ClassTotal, ...] = ()

    @property
    def aside(self) -> tuple[BadFile, ...]:
        """All files that were set aside."""
        return (*self.quarantined, *self.failed)

    @property
    def sentence(self) -> str:
        """What became of the scans, in numbers."""
        return (
            f"segmented {counted(self.done, 'scan')} with model {self.model} in {self.seconds:.1f} s, "
            f"{self.skipped:,} were up to date, {len(self.aside):,} quarantined; {self.out}"
        )


def summed_up(
    prediction: Prediction, records: Sequence[BatchRecord], rows: Sequence[ObjectRow], ranked: Sequence[ScanRow]
) -> PredictResult:
    """What all batches together did.

    Args:
        prediction: as it was opened.
        records: of all batches.
        rows: of the table.
        ranked: the scans, those to look at first on top.
    """
    out, model = prediction.out, prediction.model
    segmented = [found for record in records for found in record.segmented.values()]
    return PredictResult(
        done=sum(item.fresh for item in segmented),
        skipped=sum(not item.fresh for item in segmented),
        quarantined=(*prediction.bad, *(item for record in records for item in record.quarantined)),
        failed=tuple(item for record in records for item in record.failed),
        model=model.version,
        out=out,
        table=out / "table.parquet",
        ranking=out / "scans.parquet",
        look_first=advice(row for row in ranked if row.reasons),
        annotate_next=advice(to_annotate(ranked)),
        gallery=out / "gallery.html",
        seconds=time.time() - prediction.started,
        warnings=(*doubts(model, prediction.job.config), *odd_scans(records)),
        totals=class_totals(rows, model.info.classes),
    )


def odd_scans(records: Sequence[BatchRecord]) -> tuple[str, ...]:
    """Each odd thing once, with how many scans it is about and the first of them."""
    about: dict[str, list[str]] = {}
    for record in records:
        for key, item in record.segmented.items():
            if item.note:
                about.setdefault(item.note, []).append(key)
    return tuple(
        f"{counted(len(keys), 'scan')} ({min(keys)}{', ...' if len(keys) > 1 else ''}): {note}"
        for note, keys in about.items()
    )
