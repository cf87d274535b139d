"""Predict: segment a folder of scans.

Every scan is one unit, independent of the others and safe to repeat; a large one is as many units as it has bands of
rows. An output counts as done only when its record, written last, names the same scan content, model and settings; so
the same command goes on where a killed one stopped.

::

    OUT/
      <scan>.ome.zarr      or <scan>.ome.tif: one plane per class, or one label map
      <scan>.objects.ome.zarr          where asked for: one plane per class, objects numbered
      <scan>.probabilities.ome.zarr    where asked for
      records/<scan>.json  the commit marker: what the output was made from, and its rows of the table
      table.csv, table.parquet
      gallery.html         overlays, those to look at first on top
      run.json             model, settings, software, counts, quarantine
      .unfinished/         bands of large scans, until all are there

Schema version 2.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unetseg.bundle import Bundle, software_versions
from unetseg.config import PredictConfig, to_plain
from unetseg.errors import BadFileError, BundleError, DataError, UsageError
from unetseg.gallery import write_gallery
from unetseg.object_table import ObjectRow, write_table
from unetseg.outputs import FORMATS
from unetseg.parallel import Progress, run_units, silent
from unetseg.predict_bands import segment_large
from unetseg.predict_batch import Batch, not_evaluated, prepare_batch
from unetseg.predict_job import SCHEMA_VERSION
from unetseg.predict_marker import Segmented
from unetseg.predict_scan import LargeScan, mask_kind, segment_scan
from unetseg.readers import BadFile
from unetseg.storage import is_disk_error, read_json, write_json

__all__ = ["PredictResult", "predict"]

logger = logging.getLogger(__name__)

Outcome = Segmented | Exception


@dataclass(frozen=True)
class PredictResult:
    """What one prediction did.

    Attributes:
        done: scans segmented now.
        skipped: scans whose output was up to date.
        quarantined: files that cannot be used, with reasons.
        failed: files that failed in a way that nobody foresaw, with reasons.
        model: version of the bundle.
        out: folder of the outputs.
        table: one row per scan and class.
        gallery: page to look at.
        seconds: time taken.
        warnings: that the model was never evaluated, and what is odd about scans that were segmented all the same.
    """

    done: int
    skipped: int
    quarantined: tuple[BadFile, ...]
    failed: tuple[BadFile, ...]
    model: str
    out: Path
    table: Path
    gallery: Path
    seconds: float
    warnings: tuple[str, ...] = ()


def predict(
    folder: Path,
    out: Path,
    *,
    bundle: Path,
    config: PredictConfig,
    cluster: str = "",
    progress: Progress = silent,
) -> PredictResult:
    """Segment every scan of a folder.

    Args:
        folder: of scans, or one multi-page file.
        out: where the outputs go; folders and names are kept.
        bundle: folder of the model.
        config: format, engine, tile.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        progress: told about every scan.

    Raises:
        UsageError: a folder is missing or empty, or the model needs guides and none are given.
        BundleError: the model is damaged.
        DataError: more scans failed than ``config.max_failed_fraction`` allows.
    """
    started = time.monotonic()
    batch = prepare_batch(folder, out, bundle=bundle, config=config)
    rows: list[ObjectRow] = []
    outcomes: dict[str, Outcome] = {}
    for scan, outcome in _segment(batch, cluster):
        _stop_if_pointless(outcome)
        outcomes[scan] = outcome
        rows += outcome.rows if isinstance(outcome, Segmented) else ()
        progress(len(outcomes), len(batch.refs), scan)
    rows.sort(key=lambda row: (row.scan, batch.model.info.classes.index(row.class_name)))
    result = _result(batch, out, outcomes, time.monotonic() - started)
    aside = [*result.quarantined, *result.failed]
    if write_table(out, rows) or result.done or _is_news(out, aside):  # an unchanged run costs no pictures
        form, kind = FORMATS[config.format], mask_kind(config)
        write_gallery(result.gallery, batch.model, rows, batch.refs, form, kind, aside)
    write_json(out / "run.json", _run_record(batch.model, config, result))
    for warning in _odd_scans(outcomes):
        logger.warning(warning)
    _check_failures(result, config)
    return result


def _segment(batch: Batch, cluster: str) -> Iterator[tuple[str, Outcome]]:
    """Each scan with what became of it: many small ones at a time, then large ones, each by all workers."""
    large: list[LargeScan] = []
    workers = batch.job.config.workers
    for ref, outcome in run_units(partial(segment_scan, batch.job), batch.refs, workers=workers, cluster=cluster):
        if isinstance(outcome, LargeScan):
            large.append(outcome)
        else:
            yield ref.id, outcome
    for scan in large:
        try:
            yield scan.ref.id, segment_large(batch.job, scan, cluster=cluster)
        except Exception as error:  # one scan's error is its result, as of a unit
            yield scan.ref.id, error


def _stop_if_pointless(outcome: object) -> None:
    """A full disk, a damaged model or a wrong setting is not one scan's fault: end the run, what is done stays."""
    if isinstance(outcome, BundleError | UsageError) or is_disk_error(outcome):
        raise outcome


def _result(batch: Batch, out: Path, outcomes: dict[str, Outcome], seconds: float) -> PredictResult:
    paths = {ref.id: str(ref.path) for ref in batch.refs}
    good = [item for item in outcomes.values() if isinstance(item, Segmented)]
    errors = {key: item for key, item in sorted(outcomes.items()) if isinstance(item, Exception)}
    known = {key: BadFile(paths[key], str(error)) for key, error in errors.items() if isinstance(error, BadFileError)}
    return PredictResult(
        done=sum(item.fresh for item in good),
        skipped=sum(not item.fresh for item in good),
        quarantined=(*batch.bad, *known.values()),
        failed=tuple(
            BadFile(paths[key], f"{type(error).__name__}: {error}") for key, error in errors.items() if key not in known
        ),
        model=batch.model.version,
        out=out,
        table=out / "table.parquet",
        gallery=out / "gallery.html",
        seconds=seconds,
        warnings=(*not_evaluated(batch.model), *_odd_scans(outcomes)),
    )


def _odd_scans(outcomes: dict[str, Outcome]) -> tuple[str, ...]:
    """Each odd thing once, with how many scans it is about and the first of them."""
    about: dict[str, list[str]] = {}
    for key, item in sorted(outcomes.items()):
        if isinstance(item, Segmented) and item.note:
            about.setdefault(item.note, []).append(key)
    return tuple(f"{len(keys)} scans ({keys[0]}, ...): {note}" for note, keys in about.items())


def _is_news(out: Path, aside: Sequence[BadFile]) -> bool:
    """Whether the page does not tell of the files that are set aside now."""
    if not (out / "gallery.html").exists() or not (out / "run.json").exists():
        return True
    before = read_json(out / "run.json")["result"]
    return [*before["quarantined"], *before["failed"]] != [asdict(item) for item in aside]


def _run_record(model: Bundle, config: PredictConfig, result: PredictResult) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "bundle": str(model.folder),
        "training_fingerprint": model.info.training_fingerprint,
        "decision": model.decision.rule,
        "thresholds": dict(zip(model.info.classes, model.decision.thresholds, strict=True)),
        "settings": to_plain(config),
        "software": software_versions(),
        "result": to_plain(result),
    }


def _check_failures(result: PredictResult, config: PredictConfig) -> None:
    bad = [*result.quarantined, *result.failed]
    total = result.done + result.skipped + len(bad)
    for item in bad:
        logger.warning("quarantined %s: %s", item.path, item.reason)
    if len(bad) == total or len(bad) > config.max_failed_fraction * total:
        raise DataError(
            f"predict: {len(bad)} of {total} scans cannot be used, more than predict.max_failed_fraction = "
            f"{config.max_failed_fraction} allows; {bad[0].path}: {bad[0].reason}"
        )
