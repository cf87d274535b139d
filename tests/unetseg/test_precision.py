"""Float32 or bfloat16: who decides, and what it changes. OpenVINO emulates bfloat16 where a processor has none."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unetseg import engine_choice, engines, predict_job
from unetseg.bundle import load_bundle
from unetseg.config import PredictConfig
from unetseg.dataset import open_dataset
from unetseg.engine_choice import has_bfloat16, settled
from unetseg.engines import open_engine
from unetseg.errors import BundleError
from unetseg.evaluate import evaluate
from unetseg.json_files import read_json
from unetseg.predict import predict
from unetseg.predict_job import make_job
from unetseg.project import Project
from unetseg.records import write_record


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this machine's processor one of these flags."""

    def has(*flags: str) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nflags\t\t: fpu {' '.join(flags)} amx_tile\n")
        monkeypatch.setattr(engine_choice, "_PROCESSOR", path)
        monkeypatch.setattr(engine_choice, "gpu_is_near", lambda: False)

    return has


@pytest.mark.parametrize(
    ("flags", "wanted", "engine", "used"),
    [
        pytest.param(["avx512f", "avx512_bf16"], "auto", "auto", "bfloat16", id="it-has-it"),
        pytest.param(["avx512f", "avx512_vnni"], "auto", "auto", "float32", id="it-has-not"),
        pytest.param(["avx512_bf16"], "auto", "keras", "float32", id="only-openvino-gains"),
        pytest.param(["avx512_bf16"], "float32", "auto", "float32", id="float32-by-setting"),
        pytest.param(["avx512_vnni"], "bfloat16", "auto", "bfloat16", id="bfloat16-by-setting"),
    ],
)
def test_auto_is_bfloat16_where_it_is_faster(
    trained_folder: Path, processor: Any, flags: list[str], wanted: Any, engine: Any, used: str
):
    processor(*flags)
    assert settled(PredictConfig(precision=wanted, engine=engine), trained_folder / "models/0001").precision == used


def test_a_system_that_does_not_tell_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(engine_choice, "_PROCESSOR", tmp_path / "nowhere")
    assert not has_bfloat16()


def test_whoever_starts_decides_for_all_workers_and_outputs_know_it(trained: Project, processor: Any, tmp_path: Path):
    bundle = load_bundle(trained.models / "0001")

    def job(precision: Any) -> Any:
        return make_job(bundle, tmp_path, PredictConfig(precision=precision))

    processor("avx512_bf16")
    here = job("auto")
    assert here.config.precision == "bfloat16"
    assert here.signature == job("bfloat16").signature != job("float32").signature
    processor()
    assert job("auto").signature == job("float32").signature
    assert here.segmenter().engine.precision == "bfloat16"  # also on a worker whose processor has none


def test_the_model_is_opened_once_for_all_scans_and_again_when_another_is_in_its_place(
    trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = []
    monkeypatch.setattr(predict_job, "engine_for", lambda folder, config: opened.append(folder))
    folder = shutil.copytree(trained_folder / "models/0001", tmp_path / "0001")
    for _ in range(2):
        make_job(load_bundle(folder), tmp_path, PredictConfig()).segmenter()
    assert opened == [folder]
    write_record(folder / "bundle.json", read_json(folder / "bundle.json") | {"created": "later"})
    make_job(load_bundle(folder), tmp_path, PredictConfig()).segmenter()
    assert opened == [folder, folder]


@pytest.mark.parametrize("name", ["openvino", "keras"])
def test_bfloat16_gives_nearly_the_same(trained_folder: Path, name: str, caplog: pytest.LogCaptureFixture):
    folder = trained_folder / "models/0001"
    inputs = {"image": np.random.default_rng(0).random((1, 64, 48, 1)).astype(np.float32)}
    exact, rounded = (open_engine(folder, name, precision=precision) for precision in ("float32", "bfloat16"))
    assert (exact.precision, rounded.precision) == ("float32", "bfloat16")
    difference = np.abs(rounded(inputs) - exact(inputs))
    if name == "openvino" and not (has_bfloat16() or rounded.emulates_bfloat16):
        assert difference.max() == 0
        assert "OpenVINO calculates in float32" in caplog.text
        return
    # Eight bits: half a step is 0.002 of a value, and float32 would agree to 1e-5.
    assert 1e-4 < difference.max() < 0.2
    assert difference.mean() < 0.005
    assert ("emulates" in caplog.text) == (name == "openvino" and not has_bfloat16())


def test_both_engines_mean_the_same_by_bfloat16(trained_folder: Path):
    folder = trained_folder / "models/0001"
    inputs = {"image": np.random.default_rng(0).random((1, 64, 48, 1)).astype(np.float32)}
    ours, theirs = (open_engine(folder, name, precision="bfloat16")(inputs) for name in ("openvino", "keras"))
    assert np.abs(ours - theirs).mean() < 0.005


@pytest.mark.parametrize(("precision", "off", "accepted"), [
    ("float32", 0.0005, True), ("float32", 0.01, False), ("bfloat16", 0.01, True), ("bfloat16", 0.1, False),
])  # fmt: skip
def test_the_test_output_is_checked_as_closely_as_the_precision_allows(
    trained_folder: Path, precision: str, off: float, accepted: bool
):
    bundle = load_bundle(trained_folder / "models/0001")
    expected = bundle.replay()[1]

    class Off(SimpleNamespace):
        def __call__(self, inputs: Any) -> Any:
            return expected + np.float32(off)

    engine: Any = Off(name="off", precision=precision)
    if accepted:
        engines._replay(engine, bundle)
        return
    with pytest.raises(BundleError, match="does not reproduce"):
        engines._replay(engine, bundle)


def test_evaluate_states_what_bfloat16_changes_on_the_validation_scans(
    trained: Project, processor: Any, eyes: Path, tmp_path: Path
):
    processor("avx512_bf16")
    evaluate(trained)
    folder, dataset = trained.models / "0001", open_dataset(trained.dataset)
    found = read_json(folder / "evaluation/evaluation.json")["inference"]
    exact, rounded = (open_engine(folder, "openvino", precision=name) for name in ("float32", "bfloat16"))
    differences = []
    for scan in dataset.scans("validation"):
        inputs = {"image": dataset.image(scan)[None].astype(np.float32)}
        differences.append(np.abs(rounded(inputs) - exact(inputs)).ravel())
    expected = np.concatenate(differences)
    assert (found["flips"], found["precision"], found["change"]["scans"]) == ("none", "bfloat16", len(differences))
    assert found["change"]["max"] == pytest.approx(expected.max(), rel=1e-3)
    assert found["change"]["mean"] == pytest.approx(expected.mean(), rel=1e-3)
    for page in ("MODEL_CARD.md", "report.html"):
        assert f"by at most {found['change']['max']:.2g}" in (folder / "evaluation" / page).read_text()
    result = predict(eyes / "scans", tmp_path / "out", bundle=folder, config=PredictConfig())
    assert read_json(tmp_path / "out/run.json")["settings"]["precision"] == "bfloat16"
    assert result.done == 16


def test_a_processor_without_it_is_not_spoken_of(trained: Project, processor: Any):
    processor()
    evaluate(trained)
    folder = trained.models / "0001/evaluation"
    assert read_json(folder / "evaluation.json")["inference"]["change"] is None
    assert "bfloat16" not in (folder / "MODEL_CARD.md").read_text()
