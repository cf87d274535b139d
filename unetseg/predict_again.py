"""A prediction that found nothing new: tables and gallery stay, and so does what was told of all scans together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from unetseg.bundle import software_versions
from unetseg.class_totals import ClassTotal
from unetseg.errors import DamagedFileError
from unetseg.json_files import read_json
from unetseg.predict_batches import BatchRecord
from unetseg.predict_open import Prediction
from unetseg.predict_record import model_of
from unetseg.predict_result import PredictResult, summed_up
from unetseg.readers import BadFile
from unetseg.scan_ranks import Advice
from unetseg.storage import modified

__all__ = ["unchanged"]

_MADE: Final = ("table.csv", "table.parquet", "scans.csv", "scans.parquet", "gallery.html")


@dataclass(frozen=True)
class _Told:
    """What a record tells of the last run's result, as far as it is told again."""

    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]
    look_first: tuple[Advice, ...]
    annotate_next: tuple[Advice, ...]
    totals: tuple[ClassTotal, ...]


def unchanged(
    prediction: Prediction, records: Sequence[BatchRecord], prints: Mapping[str, str]
) -> PredictResult | None:
    """What was done, where tables and gallery would become what they are; None where they are to be made.

    To rank the scans and to write of all of them takes as long as to look whether they are up to date.

    Args:
        prediction: as it was opened.
        records: of all its batches.
        prints: `unetseg.predict_record.fingerprints` of the scans that have outputs now.
    """
    result = summed_up(prediction, records, (), ())
    before = {} if result.done else _before(prediction)
    now = {"model": model_of(prediction.model), "software": software_versions(), **prints}
    if any(before.get(name) != value for name, value in now.items()):
        return None
    try:
        told: _Told = TypeAdapter(_Told).validate_python(before.get("result"))
    except ValidationError:
        return None
    if (*told.quarantined, *told.failed) != result.aside:
        return None
    return replace(result, look_first=told.look_first, annotate_next=told.annotate_next, totals=told.totals)


def _before(prediction: Prediction) -> dict[str, Any]:
    """The record of the last run; empty where there is none, or something was changed or removed after it."""
    path = prediction.out / "run.json"
    if not all(0 < modified(path.with_name(name)) <= modified(path) for name in _MADE):
        return {}
    try:
        found: dict[str, Any] = read_json(path)
    except DamagedFileError:
        return {}
    return found if isinstance(found, dict) else {}
