"""Predict: segment a folder of scans.

Every scan is one unit, independent of the others and safe to repeat; a large one is as many units as it has bands of
rows. An output counts as done only when its record, written last, names the same scan content, model and settings; so
the same command goes on where a killed one stopped. Scans are worked off in batches (`unetseg.predict_batches`): in a
flow, each is a task run.

::

    OUT/
      <scan>.ome.zarr      or <scan>.ome.tif: one plane per class, or one label map; of a stack with a z axis
      <scan>.objects.ome.zarr          where asked for: one plane per class, objects numbered
      <scan>.probabilities.ome.zarr    where asked for
      records/<scan>.json  the commit marker: what the output was made from, and its rows of the table
      table.csv, table.parquet      one row per scan and class
      scans.csv, scans.parquet      one row per scan, those to look at first on top, with reasons
      gallery.html         overlays in the same order
      run.json             model, settings, software, counts, quarantine
      .files.json          how many images each file holds, so that it need not be opened again to count them
      .unfinished/         bands of large scans and pages of stacks, until all are there

Schema version 3.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer

from unetseg.bundle import software_versions
from unetseg.class_totals import ClassTotal, class_totals
from unetseg.config import PredictConfig, to_plain
from unetseg.errors import DataError
from unetseg.full_disk import disk_errors_name
from unetseg.gallery import StoredMasks, write_gallery
from unetseg.object_table import ObjectRow, write_table
from unetseg.outputs import FORMATS
from unetseg.parallel import Progress, silent
from unetseg.predict_batches import BatchRecord, segment_batch
from unetseg.predict_job import SCHEMA_VERSION
from unetseg.predict_marker import Segmented
from unetseg.predict_open import Prediction, doubts, open_prediction
from unetseg.predict_scan import mask_kind
from unetseg.predict_workers import workers_for
from unetseg.readers import BadFile
from unetseg.scan_ranks import Advice, ScanRow, advice, rank_scans, to_annotate, write_scans
from unetseg.storage import read_json, remove_if_there, write_json

__all__ = ["PredictResult", "check_failures", "finish", "open_prediction", "predict", "segment_batch"]

logger = logging.getLogger(__name__)

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
            f"segmented {self.done:,} scans with model {self.model} in {self.seconds:.1f} s, {self.skipped:,} were up "
            f"to date, {len(self.aside):,} quarantined; {self.out}"
        )


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
        folder: of scans; or a list of scans, a plate, or one stack.
        out: where the outputs go; folders and names are kept.
        bundle: folder of the model.
        config: format, engine, tile.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        progress: told about every scan.

    Raises:
        UsageError: a folder is missing or empty, or the model needs guides and none are given.
        BundleError: the model is damaged.
        ClusterError: the cluster is lost; what is finished stays.
        DataError: more scans failed than ``config.max_failed_fraction`` allows.
        OSError: the disk of the outputs is full; what is done stays.
    """
    prediction = open_prediction(folder, out, bundle=bundle, config=config, cluster=cluster)
    with workers_for(prediction) as workers:
        records = [segment_batch(batch, workers, progress=progress) for batch in prediction.batches()]
    result = finish(prediction, records)
    check_failures(result, config)
    return result


def finish(prediction: Prediction, records: Sequence[BatchRecord]) -> PredictResult:
    """Write what is about all scans: the table, the gallery, and the record of the run.

    Args:
        prediction: as it was opened.
        records: of all its batches.

    Raises:
        OSError: the disk is full.
    """
    out, model, config = prediction.out, prediction.model, prediction.job.config
    segmented = {key: found for record in records for key, found in record.segmented.items()}
    rows = [row for key in sorted(segmented) for row in segmented[key].rows]
    ranked = rank_scans(segmented.values(), model.info.training_data)
    result = _result(prediction, records, segmented, rows, ranked)
    with disk_errors_name(out):
        news = [_is_news(out, result.aside), bool(result.done)]
        remove_if_there(out / "run.json")  # while there is none, the pages may be of an earlier run
        news += [write_table(out, rows), write_scans(out, ranked)]
        if any(news):  # an unchanged run costs no pictures
            masks = StoredMasks(out, FORMATS[config.format], mask_kind(config))
            write_gallery(result.gallery, model, rows, ranked, prediction.refs, masks, result.aside)
        prediction.counts.save()
        write_json(out / "run.json", _run_record(prediction, result))
    for warning in _odd_scans(segmented):
        logger.warning(warning)
    return result


def check_failures(result: PredictResult, config: PredictConfig) -> None:
    """Tell of the files that were set aside.

    Raises:
        DataError: they are all, or more than ``predict.max_failed_fraction`` allows.
    """
    bad = result.aside
    total = result.done + result.skipped + len(bad)
    for item in bad:
        logger.warning("quarantined %s: %s", item.path, item.reason)
    if len(bad) == total or len(bad) > config.max_failed_fraction * total:
        raise DataError(
            f"predict: {len(bad)} of {total} scans cannot be used, more than predict.max_failed_fraction = "
            f"{config.max_failed_fraction} allows; {bad[0].path}: {bad[0].reason}"
        )


def _result(
    prediction: Prediction,
    records: Sequence[BatchRecord],
    segmented: dict[str, Segmented],
    rows: list[ObjectRow],
    ranked: Sequence[ScanRow],
) -> PredictResult:
    out, model = prediction.out, prediction.model
    return PredictResult(
        done=sum(item.fresh for item in segmented.values()),
        skipped=sum(not item.fresh for item in segmented.values()),
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
        warnings=(*doubts(model, prediction.job.config), *_odd_scans(segmented)),
        totals=class_totals(rows, model.info.classes),
    )


def _odd_scans(segmented: dict[str, Segmented]) -> tuple[str, ...]:
    """Each odd thing once, with how many scans it is about and the first of them."""
    about: dict[str, list[str]] = {}
    for key, item in sorted(segmented.items()):
        if item.note:
            about.setdefault(item.note, []).append(key)
    return tuple(f"{len(keys)} scans ({keys[0]}, ...): {note}" for note, keys in about.items())


def _is_news(out: Path, aside: Sequence[BadFile]) -> bool:
    """Whether the page does not tell of the files that are set aside now."""
    if not (out / "gallery.html").exists() or not (out / "run.json").exists():
        return True
    before = read_json(out / "run.json")["result"]
    return [*before["quarantined"], *before["failed"]] != [asdict(item) for item in aside]


def _run_record(prediction: Prediction, result: PredictResult) -> dict[str, Any]:
    model, config = prediction.model, prediction.job.config
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
