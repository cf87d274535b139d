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
      run.json             model, settings, software, fingerprints, counts, quarantine (unetseg.predict_record)
      .files.json          how many images each file holds, so that it need not be opened again to count them
      .unfinished/         bands of large scans and pages of stacks, until all are there

Schema version 3.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from unetseg.config import PredictConfig
from unetseg.errors import DataError
from unetseg.full_disk import disk_errors_name
from unetseg.gallery import StoredMasks, write_gallery
from unetseg.json_files import write_json
from unetseg.object_table import write_table
from unetseg.outputs import FORMATS
from unetseg.parallel import Progress, silent
from unetseg.predict_again import unchanged
from unetseg.predict_batches import BatchRecord, segment_batch
from unetseg.predict_folder import occupied
from unetseg.predict_marker import Segmented
from unetseg.predict_open import Prediction, open_prediction
from unetseg.predict_record import counts_of, fingerprints, run_record
from unetseg.predict_result import PredictResult, odd_scans, summed_up
from unetseg.predict_scan import mask_kind
from unetseg.predict_workers import workers_for
from unetseg.prediction_notes import remember
from unetseg.scan_ranks import rank_scans, write_scans
from unetseg.storage import remove_if_there
from unetseg.words import too_many

__all__ = ["PredictResult", "check_failures", "finish", "occupied", "open_prediction", "predict", "segment_batch"]

logger = logging.getLogger(__name__)


def predict(  # noqa: PLR0913 (options by keyword)
    folder: Path,
    out: Path,
    *,
    bundle: Path,
    config: PredictConfig,
    cluster: str = "",
    project: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> PredictResult:
    """Segment every scan of a folder.

    Args:
        folder: of scans; or a list of scans, a plate, or one stack.
        out: where the outputs go; folders and names are kept.
        bundle: folder of the model.
        config: format, engine, tile.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        project: folder of the project that remembers where outputs are (`unetseg.prediction_notes`), and whose masks
            and guides are no scans (`unetseg.known_masks`); None: none does.
        overwrite: whether scans are done again that are up to date. An output stays until the new one is there, and a
            call after one that was killed goes on.
        progress: told about every scan.

    Raises:
        UsageError: a folder is missing or empty, or the model needs guides and none are given.
        BundleError: the model is damaged.
        ClusterError: the cluster is lost; what is finished stays.
        DataError: more scans failed than ``config.max_failed_fraction`` allows.
        OSError: the disk of the outputs is full; what is done stays.
    """
    opened = open_prediction(folder, out, bundle=bundle, config=config, cluster=cluster, project=project)
    with occupied(opened, overwrite=overwrite) as held:
        with workers_for(held) as workers:
            records = [segment_batch(batch, workers, progress=progress) for batch in held.batches()]
        result = finish(held, records)
    check_failures(result, config)
    return result


def finish(prediction: Prediction, records: Sequence[BatchRecord]) -> PredictResult:
    """Write what is about all scans: tables, gallery, the record of the run, and what the project remembers of it.

    Args:
        prediction: as it was opened.
        records: of all its batches.

    Raises:
        OSError: the disk is full.
    """
    out = prediction.out
    segmented = {key: found for record in records for key, found in record.segmented.items()}
    prints = fingerprints(prediction.job.signature, segmented)
    with disk_errors_name(out):
        result = unchanged(prediction, records, prints) or _written(prediction, records, segmented)
        prediction.counts.save()
        write_json(out / "run.json", run_record(prediction, prints, result))
        if prediction.project:
            about = prediction.folder, prediction.job, prediction.config
            remember(prediction.project, *about, counts=counts_of(result))
    for warning in odd_scans(records):
        logger.warning(warning)
    return result


def _written(
    prediction: Prediction, records: Sequence[BatchRecord], segmented: Mapping[str, Segmented]
) -> PredictResult:
    """Write tables and gallery."""
    out, model, config = prediction.out, prediction.model, prediction.job.config
    rows = [row for key in sorted(segmented) for row in segmented[key].rows]
    ranked = rank_scans(segmented.values(), model.info.training_data)
    result = summed_up(prediction, records, rows, ranked)
    remove_if_there(out / "run.json")  # while there is none, the pages may be of an earlier run
    write_table(out, rows)
    write_scans(out, ranked)
    masks = StoredMasks(out, FORMATS[config.format], mask_kind(config))
    write_gallery(result.gallery, model, rows, ranked, prediction.refs, masks, result.aside)
    return result


def check_failures(result: PredictResult, config: PredictConfig) -> None:
    """Tell of the files that were set aside.

    Raises:
        DataError: they are all, or more than ``predict.max_failed_fraction`` allows.
    """
    bad = result.aside
    total = result.done + result.skipped + len(bad)
    for item in bad:
        logger.warning("quarantined %s", item)
    if bad and len(bad) == total:
        raise DataError(f"predict: no scan of {total} can be used; {bad[0]}")
    if len(bad) > config.max_failed_fraction * total:
        what = too_many(len(bad), total, "predict.max_failed_fraction", config.max_failed_fraction)
        raise DataError(f"predict: {what}; {bad[0]}")
