"""A bundle without a trained network, a dataset's records and a folder of outputs: what JSON is changed in."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.samples import archive
from unetseg.bundle import Bundle, BundleInfo
from unetseg.class_totals import ClassTotal
from unetseg.config import PredictConfig, Settings, to_plain
from unetseg.curve_files import pack_curves
from unetseg.decisions import Decision
from unetseg.histograms import Histograms
from unetseg.plane_counts import PlaneCounts
from unetseg.predict_job import SCHEMA_VERSION, Job
from unetseg.predict_open import Prediction
from unetseg.predict_record import run_record
from unetseg.predict_result import summed_up
from unetseg.scan_ranks import Advice

__all__ = [
    "bundle_files",
    "bundle_json",
    "evaluation_json",
    "gate_json",
    "info",
    "job_into",
    "prediction_into",
    "records",
    "run_json",
    "sealed",
]

_TIME = "2030-01-02T03:04:05+00:00"


def info() -> BundleInfo:
    return BundleInfo(
        ("iris", "pupil"), (), ("grey",), Settings(), (0.5, 0.5), "d" * 64, "t" * 64, 0.5, {"numpy": "2"},
        stride=8, halo=16, created=_TIME,
    )  # fmt: skip


def job_into(out: Path) -> Job:
    """A prediction whose signature is that of the sample marker."""
    return Job(
        bundle=Path("/nowhere/models/0001"), info=info(), decision=Decision("thresholds", (0.5, 0.5)), out=out,
        scratch=out / ".unfinished", shared=True, guides=(), config=PredictConfig(), signature="s" * 64, digest="b" * 64,  # noqa: E501
    )  # fmt: skip


def bundle_json() -> dict[str, Any]:
    """What `bundle.json` says, without its digest and files."""
    return {"schema_version": 4, **to_plain(info())}


def evaluation_json() -> dict[str, Any]:
    """What `evaluation.json` says, without its digest and files."""
    point = {"rule": "thresholds", "thresholds": [0.25, 0.25]}
    row = {"id": "a", "group": "g", "counts": [[1, 2, 3, 4], [5, 6, 7, 8]], "f1": {"iris": 0.5}, "mean_f1": 0.5}
    threshold = {"value": 0.25, "reached": True, "precision": 0.9, "recall": 0.8, "score": 0.85, "reason": "best"}
    return {
        "schema_version": 4, "model": "0001", "dataset_fingerprint": "d" * 64, "test_fingerprint": "t" * 64,
        "decision": "thresholds", "thresholds": {"iris": threshold, "pupil": threshold}, "scores": {}, "scans": [row],
        "settings": to_plain(Settings().evaluate), "inference": {"flips": "none", "tile": None, "precision": "float32"},
        "production": {"version": "0001", "operating_point": point, "inference": {"flips": "none"}, "scans": [row]},
        "warnings": ["few"], "evaluated_with": None,
    }  # fmt: skip


def gate_json() -> dict[str, Any]:
    """What `gate.json` says, without its digest."""
    gate = to_plain(Settings().gate)
    del gate["keep_models"]
    rules = {"gate": gate, "evaluate": to_plain(Settings().evaluate), "inference": {"flips": "none", "tile": None}}
    change = {"before": 0.5, "after": None, "tolerance": 0.1, "ruined": False}
    numbers = {
        "against": "0001", "score": "f1", "before": 0.5, "after": 0.75, "low": 0.1, "high": 0.2, "confidence": 0.95,
        "units": "groups", "number": 8, "effective_number": 7.5, "classes": {"iris": change, "pupil": change},
    }  # fmt: skip
    result = {"version": "0001", "promoted": True, "production": "0001", "reason": "better", "numbers": numbers}
    return {"schema_version": 1, "result": result, "settings": rules}


def prediction_into(out: Path) -> Prediction:
    """A prediction of a folder without scans, as it is opened."""
    job = job_into(out)
    return Prediction(
        folder=out.parent / "scans", out=out, model=a_bundle(), job=job, config=job.config, refs=(), bad=(),
        counts=PlaneCounts(out / ".files.json"), cluster="", started=0.0,
    )  # fmt: skip


def run_json(out: Path) -> dict[str, Any]:
    """What `run.json` says of that prediction, with fingerprints `i` and `o`."""
    prediction = prediction_into(out)
    result = replace(
        summed_up(prediction, (), (), ()),
        look_first=(Advice("a", "odd"),), annotate_next=(Advice("b", ""),), totals=(ClassTotal("iris", 1, 2, 0.5),),
    )  # fmt: skip
    return run_record(prediction, {"inputs_fingerprint": "i", "outputs_fingerprint": "o"}, result)


@cache
def bundle_files() -> dict[str, bytes]:
    """The binary files of a bundle."""
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, None, None, 1]}},
        {"module": "keras.layers", "class_name": "Conv2D", "config": {"filters": 2, "activation": "sigmoid"}},
    ]
    config = {"module": "keras", "class_name": "Functional", "config": {"name": "unet", "layers": layers}}
    network = {"config.json": json.dumps(config).encode(), "metadata.json": b"{}", "model.weights.h5": b"\x89HDF\r\n"}
    replay = io.BytesIO()
    np.savez_compressed(replay, image=np.zeros((1, 8, 8, 1), np.float32), expected=np.zeros((1, 8, 8, 2), np.float32))
    return {"model.keras": archive(network), "replay.npz": replay.getvalue()}


def curve_bytes() -> bytes:
    """Histograms of two classes."""
    return pack_curves(Histograms.empty(2), ("iris", "pupil"))


def sealed(value: Any) -> bytes:
    """A JSON object with its right digest, as somebody who wants to deceive would make it."""
    if not isinstance(value, dict):
        return json.dumps(value).encode()
    data = json.dumps({"sha256": "0" * 64, **{name: item for name, item in value.items() if name != "sha256"}}).encode()
    return data.replace(b"0" * 64, sha256(data).hexdigest().encode(), 1)


@cache
def _scan_record() -> dict[str, Any]:
    part = {"sources": [{"path": "/a.png", "size": 1, "modified": 2, "sha256": "a" * 64}], "rule": "r", "content": "c"}
    return {
        "id": "a", "key": "a", "group": "a", "shape": [24, 20], "chunk": 16, "image": part, "masks": part, "guides": part,  # noqa: E501
        "scales": [], "intensities": [], "combinations": [[0, 480]], "class_pixels": {"iris": 0}, "ignored_pixels": 0,
        "soft_masks": [], "pixel_size": [0.5, 0.5], "split": "test", "vanished": False,
    }  # fmt: skip


def records() -> dict[str, Any]:
    """JSON files of a project, by their path below its folder."""
    settings = to_plain(Settings())
    line = {"time": _TIME, "who": "me", "production": "0001", "previous": None, "why": "better", "rolled_back": None}
    row = {"scan": "a", "class": "iris"}
    marker = {
        "schema_version": SCHEMA_VERSION, "model": {"version": "0001", "digest": "b" * 64}, "signature": "s" * 64,
        "sources": [], "outputs": ["a.ome.zarr", "a.objects.ome.zarr"], "rows": [], "note": "", "profiles": {},
    }  # fmt: skip
    del row
    return {
        "models/aliases.json": {"production": "0001", "previous": None, "history": [line], "removing": []},
        "dataset.zarr/index.json": {
            "schema_version": 2, "classes": ["iris"], "guides": [], "channels": ["grey"], "ingest": settings["ingest"],
            "fingerprint": "f" * 64, "scans": [_scan_record()], "suspicions": {"a": ["empty"]},
        },
        "dataset.zarr/splits.json": {"a": "test"},
        "dataset.zarr/quarantine.json": [{"path": "/a.png", "reason": "broken"}],
        "predictions/0123456789abcdef.json": {
            "schema_version": 2, "folder": "/scans", "out": "/out", "model": "0001", "digest": "b" * 64,
            "settings": settings["predict"], "began": _TIME, "counts": {"done": 1},
        },
        "out/records/a.json": marker,
        "out/counts.json": {"/a.pgm": [1, 2, 1]},
    }  # fmt: skip


def a_bundle() -> Bundle:
    """As it is opened."""
    return replace(Bundle(Path("/nowhere/models/0001"), info()), digest="b" * 64)
