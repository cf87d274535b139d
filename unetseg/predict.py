"""Predict: segment a folder of scans.

Every scan is one unit, independent of the others and safe to repeat. An output counts as done only when its record,
written last, names the same scan content, model and settings; so the same command goes on where a killed one stopped.

::

    OUT/
      <scan>.ome.zarr      or <scan>.ome.tif: one plane per class
      <scan>.probabilities.ome.zarr    where asked for
      records/<scan>.json  the commit marker: what the output was made from, and its rows of the table
      table.csv, table.parquet
      gallery.html         overlays, those to look at first on top
      run.json             model, settings, software, counts, quarantine

Schema version 1.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unetseg.bundle import Bundle, BundleInfo, load_bundle, software_versions
from unetseg.channels import to_channels
from unetseg.config import GuideSource, PredictConfig, ScanSource, to_plain
from unetseg.decisions import Decision
from unetseg.engines import open_engine
from unetseg.errors import BadFileError, BundleError, DataError, UsageError
from unetseg.gallery import write_gallery
from unetseg.masks import find_mask, read_guides
from unetseg.normalise import fit_scales, normalise
from unetseg.outputs import FORMATS, ObjectRow, describe_masks, write_table
from unetseg.parallel import Progress, run_units, silent
from unetseg.pixel_size import check_pixel_size
from unetseg.readers import BadFile, ScanRef, list_scans, read_header, read_scan
from unetseg.segment import Segmenter
from unetseg.sources import SourceFile, describe_file, hashes, same_files
from unetseg.storage import file_hash, is_disk_error, read_json, text_hash, write_json

__all__ = ["PredictEstimate", "PredictResult", "estimate", "predict"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_TRIAL_SIDE, _TRIAL_CALLS = 512, 4  # pixels and number of the calls that estimate the time


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


@dataclass(frozen=True)
class PredictEstimate:
    """What a prediction would do and cost.

    Attributes:
        scans: that can be read, by their headers.
        pixels: of all of them.
        seconds: expected time, from a short trial of the network.
        disk_bytes: of the outputs before compression: the most they can take.
        memory_bytes: of the largest scans in flight.
        quarantined: files that will fail, with reasons.
    """

    scans: int
    pixels: int
    seconds: float
    disk_bytes: int
    memory_bytes: int
    quarantined: tuple[BadFile, ...]


@dataclass(frozen=True)
class _Job:
    """What every unit needs to know; small, so that it can travel to other machines."""

    bundle: Path
    info: BundleInfo
    decision: Decision
    out: Path
    guides: tuple[GuideSource, ...]
    config: PredictConfig
    signature: str


@dataclass(frozen=True)
class _Segmented:
    """One scan's part of the table, whether it was segmented now, and what is odd about it."""

    rows: tuple[ObjectRow, ...]
    fresh: bool
    note: str


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
    model, job, refs, bad = _prepare(folder, out, bundle, config)
    rows: list[ObjectRow] = []
    outcomes: dict[str, _Segmented | Exception] = {}
    for unit, outcome in run_units(partial(_segment, job), refs, workers=config.workers, cluster=cluster):
        _stop_if_pointless(outcome)
        outcomes[unit.id] = outcome
        rows += outcome.rows if isinstance(outcome, _Segmented) else ()
        progress(len(outcomes), len(refs), unit.id)
    rows.sort(key=lambda row: (row.scan, model.info.classes.index(row.class_name)))
    result = _result(model, out, refs, bad, outcomes, time.monotonic() - started)
    aside = [*result.quarantined, *result.failed]
    if write_table(out, rows) or result.done or _is_news(out, aside):  # an unchanged run costs no pictures
        write_gallery(result.gallery, model, rows, refs, FORMATS[config.format], aside)
    write_json(out / "run.json", _run_record(model, config, result))
    for warning in _odd_scans(outcomes):
        logger.warning(warning)
    _check_failures(result, config)
    return result


def estimate(folder: Path, out: Path, *, bundle: Path, config: PredictConfig) -> PredictEstimate:
    """Say from the headers and a short trial what `predict` would do; nothing is written.

    Raises:
        UsageError: as `predict`.
    """
    model, _, refs, bad = _prepare(folder, out, bundle, config)
    sizes, unreadable = [], list(bad)
    for ref in refs:
        try:
            header = read_header(ref)
            sizes.append((header.height * header.width, header.channels))
        except BadFileError as error:
            unreadable.append(BadFile(str(ref.path), str(error)))
    pixels = sum(size for size, _ in sizes)
    largest = max((size * (channels * 8 + len(model.info.classes)) for size, channels in sizes), default=0)
    planes = len(model.info.classes) * (2 if config.probabilities else 1)
    return PredictEstimate(
        scans=len(sizes),
        pixels=pixels,
        seconds=pixels * _trial_seconds_per_pixel(model, config),
        disk_bytes=pixels * planes,
        memory_bytes=largest * max(config.workers, 1),
        quarantined=tuple(unreadable),
    )


def _prepare(
    folder: Path, out: Path, bundle: Path, config: PredictConfig
) -> tuple[Bundle, _Job, list[ScanRef], list[BadFile]]:
    """Check everything that can be checked before work starts."""
    model = load_bundle(bundle)
    if model.info.guides and not config.guides:
        raise UsageError(
            f"predict.guides: model {model.version} needs the guides {', '.join(model.info.guides)}; give the folder "
            "that holds one sub-folder per guide"
        )
    refs, bad = list_scans(ScanSource(str(folder), config.pattern, config.exclude, channels=model.info.channels))
    if out.absolute().is_relative_to(folder.absolute()):
        raise UsageError(f"{out}: the outputs need a folder of their own, outside that of the scans ({folder})")
    guides = tuple(GuideSource(name=name, path=str(Path(config.guides) / name)) for name in model.info.guides)
    job = _Job(
        bundle=bundle.absolute(),
        info=model.info,
        decision=model.decision,
        out=out.absolute(),
        guides=guides,
        config=config,
        signature=_signature(model, config),
    )
    for warning in _not_evaluated(model):  # before the work, so that it can be stopped
        logger.warning(warning)
    return model, job, refs, bad


def _signature(model: Bundle, config: PredictConfig) -> str:
    """Hash of all that an output depends on besides its scan."""
    plain = to_plain(config)
    settings = {name: plain[name] for name in ("format", "tile", "probabilities", "pixel_size")}
    decision = asdict(model.decision) if model.decision.rule == "thresholds" else "argmax"
    return text_hash(SCHEMA_VERSION, file_hash(model.folder / "bundle.json"), decision, settings)


def _segment(job: _Job, ref: ScanRef) -> _Segmented:
    """Segment one scan, unless its output is up to date."""
    marker = job.out / "records" / f"{ref.id}.json"
    paths = [ref.path, *(find_mask(guide, ref.id)[0] for guide in job.guides)]
    known = read_json(marker) if marker.exists() else None
    if known and known["signature"] == job.signature and _is_up_to_date(known, job.out, paths):
        stored = tuple(ObjectRow(**row) for row in known["rows"])
        return _Segmented(stored, fresh=False, note=known.get("note", ""))
    sources = [describe_file(path) for path in paths]
    outputs, rows, note = _write_outputs(job, ref, marker)
    for stale in set(known["outputs"] if known else ()) - set(outputs):
        _remove(job.out / stale)
    record = {
        "signature": job.signature,
        "sources": [asdict(source) for source in sources],
        "outputs": outputs,
        "rows": [asdict(row) for row in rows],
        "note": note,
    }
    write_json(marker, record)
    return _Segmented(tuple(rows), fresh=True, note=note)


def _is_up_to_date(known: dict[str, Any], out: Path, paths: Sequence[Path]) -> bool:
    """Whether all outputs are there and scan and guides are what they were: by size and time, else by content."""
    if not all((out / name).exists() for name in known["outputs"]):
        return False
    sources = [SourceFile(**source) for source in known["sources"]]
    return same_files(sources, paths) or hashes(sources) == hashes([describe_file(path) for path in paths])


def _write_outputs(job: _Job, ref: ScanRef, marker: Path) -> tuple[list[str], list[ObjectRow], str]:
    """Segment and write one scan: the outputs, relative to the folder, the rows of the table, and what is odd."""
    info, names, form = job.info, job.info.classes, FORMATS[job.config.format]
    scan = read_scan(ref, max_gigabytes=job.config.max_scan_gigabytes)
    pixels = to_channels(scan.pixels, len(info.channels), ref.path)
    image = normalise(pixels, fit_scales(pixels, info.settings.ingest))
    guides = read_guides(ref, job.guides, image.shape[:2]) if job.guides else None
    size = scan.header.pixel_size
    zoom, note = check_pixel_size(info.pixel_size, size, job.config, ref.path)
    run = Segmenter(open_engine(job.bundle, job.config.engine), info, job.decision, job.config.tile)
    found = run(image, guides, probabilities=job.config.probabilities, zoom=zoom)
    marker.unlink(missing_ok=True)  # from here until the end, what is there does not count as done
    outputs = [f"{ref.id}{form.suffix}"]
    form.write(job.out / outputs[0], found.masks, names, size)
    if found.probabilities is not None:
        outputs.append(f"{ref.id}.probabilities{form.suffix}")
        form.write(job.out / outputs[1], found.probabilities, names, size, white=255)
    return outputs, describe_masks(ref.id, found.masks, names, found.uncertainty, size), note


def _remove(output: Path) -> None:
    """An output that these settings do not make any more."""
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)


def _stop_if_pointless(outcome: object) -> None:
    """A full disk, a damaged model or a wrong setting is not one scan's fault: end the run, what is done stays."""
    if isinstance(outcome, BundleError | UsageError) or is_disk_error(outcome):
        raise outcome


def _result(
    model: Bundle,
    out: Path,
    refs: Sequence[ScanRef],
    bad: Sequence[BadFile],
    outcomes: dict[str, _Segmented | Exception],
    seconds: float,
) -> PredictResult:
    paths = {ref.id: str(ref.path) for ref in refs}
    good = [item for item in outcomes.values() if isinstance(item, _Segmented)]
    errors = {key: item for key, item in sorted(outcomes.items()) if isinstance(item, Exception)}
    known = {key: BadFile(paths[key], str(error)) for key, error in errors.items() if isinstance(error, BadFileError)}
    return PredictResult(
        done=sum(item.fresh for item in good),
        skipped=sum(not item.fresh for item in good),
        quarantined=(*bad, *known.values()),
        failed=tuple(
            BadFile(paths[key], f"{type(error).__name__}: {error}") for key, error in errors.items() if key not in known
        ),
        model=model.version,
        out=out,
        table=out / "table.parquet",
        gallery=out / "gallery.html",
        seconds=seconds,
        warnings=(*_not_evaluated(model), *_odd_scans(outcomes)),
    )


def _not_evaluated(model: Bundle) -> tuple[str, ...]:
    """Says that nobody knows how good the model is, and that its thresholds were not chosen."""
    if model.evaluation is not None:
        return ()
    cuts = "" if model.decision.rule == "argmax" else ", and the threshold of each class is one half, not chosen"
    return (f"model {model.version} was never evaluated: its scores are unknown{cuts}; run unetseg evaluate first",)


def _odd_scans(outcomes: dict[str, _Segmented | Exception]) -> tuple[str, ...]:
    """Each odd thing once, with how many scans it is about and the first of them."""
    about: dict[str, list[str]] = {}
    for key, item in sorted(outcomes.items()):
        if isinstance(item, _Segmented) and item.note:
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


def _trial_seconds_per_pixel(model: Bundle, config: PredictConfig) -> float:
    engine, info = open_engine(model.folder, config.engine), model.info
    side = max(_TRIAL_SIDE // info.stride, 1) * info.stride
    inputs = {"image": np.zeros((1, side, side, len(info.channels)), np.float32)}
    if info.guides:
        inputs["guides"] = np.zeros((1, side, side, len(info.guides)), np.float32)
    engine(inputs)  # the first call compiles
    started = time.monotonic()
    for _, outcome in run_units(engine, [inputs] * _TRIAL_CALLS, workers=config.workers):
        if isinstance(outcome, Exception):
            raise outcome
    return (time.monotonic() - started) / (_TRIAL_CALLS * side**2)
