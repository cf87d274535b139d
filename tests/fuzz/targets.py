"""What inputs are given to: each target reads a folder, and sees that what comes of it agrees with itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unetseg.config import ClassSource, ScanSource, Settings, Sources
from unetseg.readers import ScanRef, list_scans, open_scan, read_header, read_scan

__all__ = ["ENCODINGS", "TARGETS", "prepare"]

_MOST_PLANES = 4
_LIMIT = 0.05  # gigabytes of a scan: many times the samples
_REF = ScanRef("a", Path("/nowhere/a.png"))
ENCODINGS = ("binary", "labels", "colours", "bits", "pages", "instances", "objects")
_VALUES = {"labels": ("1", "2"), "colours": ("#ff0000", "#010101"), "bits": ("0", "1"), "pages": ("0",)}


def prepare(scratch: Path) -> None:
    """Load libraries, and leave the folder of the sources for one from which nothing relative means anything."""
    import nibabel  # noqa: F401
    import PIL.Image
    import pydicom.pixels  # noqa: F401
    import skimage.io  # noqa: F401

    import unetseg.bundle
    import unetseg.gate  # noqa: F401

    PIL.Image.preinit()
    (scratch / "here").mkdir(exist_ok=True)
    os.chdir(scratch / "here")


def same(condition: object, what: str) -> None:
    """See that a result agrees with itself."""
    if not condition:
        raise AssertionError(what)


# --------------------------------------------------------------------------- pictures


def scans(folder: Path) -> None:
    """All scans of a folder: headers, pixels, rows."""
    found, bad = list_scans(ScanSource(str(folder)))
    same(all(str(folder) in item.path for item in bad), f"bad files elsewhere: {bad}")
    for ref in found[:_MOST_PLANES]:
        header, scan = read_header(ref), read_scan(ref, max_gigabytes=_LIMIT)
        same(header == scan.header, f"two headers: {header} and {scan.header}")
        same(scan.pixels.shape == (header.height, header.width, header.channels), f"shape {scan.pixels.shape}")
        same(scan.pixels.dtype.name == header.dtype, f"type {scan.pixels.dtype}")
        same(scan.pixels.nbytes <= _LIMIT * 1e9, f"{scan.pixels.nbytes} bytes")
        _check_rows(ref, scan.pixels)


def _check_rows(ref: ScanRef, pixels: Any) -> None:
    """Rows, where they are read by parts, are those of the whole; what cannot be read so may say that."""
    step = max(len(pixels) // 3, 1)
    with open_scan(ref, max_gigabytes=_LIMIT, whole=0) as plane:
        starts = range(0, len(pixels), step)
        parts = [plane.rows(start, min(start + step, len(pixels))) for start in starts]
    same(np.array_equal(np.concatenate(parts), pixels), "rows differ from the whole")


def masks(folder: Path) -> None:
    """One file as mask in the encoding that `encoding.json` names."""
    from unetseg.masks import read_masks

    encoding = json.loads((folder / "encoding.json").read_text())
    pattern = "{id}*.*" if encoding == "objects" else "{id}.*"
    sources = (ClassSource("cell", str(folder / "masks"), pattern, encoding, _VALUES.get(encoding, ())),)
    found = read_masks(_REF, sources, (24, 20), resize=True)
    same(found.shape == (24, 20, 1), f"shape {found.shape}")
    same(set(np.unique(found).tolist()) <= {-1, 0, 1}, "values")


# --------------------------------------------------------------------------- settings and tables


def project(folder: Path) -> None:
    """A project's settings, which must come back when they are saved."""
    from unetseg.project import load_project, save_project

    found = load_project(folder)
    same(isinstance(found.sources, Sources) and isinstance(found.settings, Settings), "types")
    save_project(found)
    again = load_project(folder)
    same(again == found or repr(again) == repr(found), "settings change when they are saved")  # nan is not itself


def overrides(folder: Path) -> None:
    """Texts as `--set` takes them; their errors name no file."""
    from unetseg.errors import UsageError
    from unetseg.project import override

    texts = json.loads((folder / "overrides.json").read_text())
    try:
        override(Settings(), texts)
    except UsageError as error:
        raise UsageError(f"{folder}: {error}") from error


def tables(folder: Path) -> None:
    """Lists of scans and tables of groups."""
    from unetseg.errors import UsageError
    from unetseg.scan_lists import listed_scans
    from unetseg.scan_table import read_scan_table

    path = next(folder.iterdir())
    try:
        for scan, name in listed_scans(path):
            same(".." not in name.split("/") and not name.startswith("/"), f"name {name!r} of {scan}")
    except UsageError:
        pass
    table = read_scan_table(path)
    splits = table.group_splits({"a": "g", "b/c": "h"})
    same(set(splits.values()) <= {"train", "validation", "test"}, f"splits {splits}")
    table.unknown(["a", "b/c", "b/c.p0001"])


# --------------------------------------------------------------------------- what unetseg writes itself


def bundle(folder: Path) -> None:
    """A bundle of somebody else, all but the network itself."""
    from unetseg.bundle import load_bundle, read_description
    from unetseg.curve_files import load_curves
    from unetseg.network_file import check_network_file

    read_description(folder)
    found = load_bundle(folder)
    check_network_file(folder / "model.keras")
    found.replay()
    same(len(found.thresholds) == len(found.info.classes) == len(found.decision.thresholds), "thresholds")
    same(np.isfinite(found.thresholds).all(), f"thresholds {found.thresholds}")
    for name in (folder / "evaluation").glob("*_curves*.npz"):
        load_curves(name)


def record(folder: Path) -> None:
    """One of the JSON files of a project."""
    import unetseg.aliases
    from unetseg.dataset import open_dataset
    from unetseg.dataset_index import Index, is_older, known_splits
    from unetseg.errors import DataError
    from unetseg.prediction_notes import read_notes
    from unetseg.registry import history, model_folder, versions

    unetseg.aliases.versions_named(unetseg.aliases.read_aliases(folder / "models"))
    history(folder / "models")
    for name in versions(folder / "models"):
        same(model_folder(folder / "models", name).parent == folder / "models", "model elsewhere")
    read_notes(folder)
    is_older(folder / "dataset.zarr")
    known_splits(folder / "dataset.zarr")
    if Index.load(folder / "dataset.zarr"):
        dataset = open_dataset(folder / "dataset.zarr")
        for split in ("train", "validation", "test"):
            for scan in dataset.scans(split):
                place = dataset.folder / "scans" / scan.key
                same(place.resolve().parent == (dataset.folder / "scans").resolve(), f"scan elsewhere: {scan.key!r}")
        same(len(dataset.index.fingerprint) == len(dataset.index.test_fingerprint) == 64, "fingerprint")
    else:
        raise DataError(f"{folder}: no index")


def registry(folder: Path) -> None:
    """Aliases and history of two models: asked, gone back, promoted, cleaned."""
    from unetseg.bundle import versions
    from unetseg.errors import UsageError
    from unetseg.registry import promote, read_aliases, rollback
    from unetseg.registry_cleaning import clean
    from unetseg.registry_rollbacks import rollback_in_words, rolled_back

    models = folder / "models"
    aliases = read_aliases(models)
    for name in versions(models):
        if line := rolled_back(aliases, name):
            rollback_in_words(name, line)
    clean(models, keep=1, dry_run=True)
    for change in (lambda: rollback(models), lambda: promote(models, "1", why="w"), lambda: clean(models, keep=1)):
        try:
            change()
        except UsageError:  # there is no way back; that is about the call
            continue
    same(read_aliases(models).production in {*versions(models), aliases.production}, "production")
    same((folder / "9999/precious.txt").exists(), "removed what is not its own")


def decision(folder: Path) -> None:
    """What the gate decided on a model, and the evaluation that it rests on, as a night reads them."""
    from unetseg.bundle import load_bundle
    from unetseg.gate import decided
    from unetseg.model_list import list_models
    from unetseg.nightly import _is_evaluated
    from unetseg.project import Project
    from unetseg.same_scans import beside, scored_on

    project = Project(folder, Sources(ScanSource(str(folder))), Settings())
    found = load_bundle(folder / "models/0001")
    decided(found, project)
    _is_evaluated(found, project)
    list_models(folder / "models")
    today = {
        "test_fingerprint": "t" * 64,
        "dataset_fingerprint": "d" * 64,
        "inference": {"flips": "none", "tile": None},
    }
    for item in (found.evaluation, beside(found.evaluation, found)):
        if scored_on(item, today):
            rows = sorted(
                ((row["id"], row["group"], row["counts"]) for row in item["scans"]), key=lambda row: str(row[0])
            )
            np.array([counts for _, _, counts in rows], np.int64)


def run(folder: Path) -> None:
    """What the last prediction left, told again where nothing has changed."""
    from tests.fuzz.outputs import prediction_into
    from unetseg.predict_again import unchanged

    prints = {"inputs_fingerprint": "i", "outputs_fingerprint": "o"}
    found = unchanged(prediction_into(folder / "out"), (), prints)
    if found:
        same(all(isinstance(item.scan, str) for item in (*found.look_first, *found.annotate_next)), "advice")
        same(all(isinstance(item.scans, int) for item in found.totals), "totals")


def markers(folder: Path) -> None:
    """A folder of outputs as others left it: looked at, begun again, given up."""
    from tests.fuzz.outputs import job_into
    from unetseg.plane_counts import PlaneCounts
    from unetseg.predict_marker import Marker

    job = job_into(folder / "out")
    ref = ScanRef("a", folder / "a.pgm")
    PlaneCounts(folder / "out/counts.json")(ref.path)
    marker = Marker(job, ref)
    marker.done()
    marker.begin(["a.ome.zarr"])
    Marker(job, ref).finish(marker.sources(), ["a.ome.zarr"], [], "", {})
    same(Marker(job, ref).record["outputs"] == ["a.ome.zarr"], "outputs")
    Marker(job, ref).discard()
    same((folder / "precious.txt").exists() and (folder / "out/kept.txt").exists(), "removed what is not its own")


def command(folder: Path) -> None:
    """A command line: an exit status that the documentation names, and one line for people."""
    from click.testing import CliRunner

    from flows.cli import main

    arguments = [text.replace("@", str(folder)) for text in json.loads((folder / "arguments.json").read_text())]
    result = CliRunner().invoke(main, arguments, prog_name="unetseg")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    same(result.exit_code in (0, 1, 2, 3), f"exit status {result.exit_code}")
    same("Traceback" not in result.output, "traceback")


TARGETS: dict[str, Callable[[Path], None]] = {
    item.__name__: item
    for item in (scans, masks, project, overrides, tables, bundle, record, registry, decision, run, markers, command)
}
