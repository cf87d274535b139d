"""A bundle is refused when it is not what it says."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from unetseg.bundle import Bundle, load_bundle, save_bundle
from unetseg.engines import open_engine
from unetseg.errors import BundleError, UsageError
from unetseg.model import build_unet
from unetseg.project import Project
from unetseg.storage import file_hash, read_json, write_json


def edit(folder: Path, **changes) -> None:
    """Change bundle.json and keep the hashes right, as somebody with bad intentions would."""
    plain = read_json(folder / "bundle.json") | changes
    plain["files"] = {name: file_hash(folder / name) for name in plain["files"]}
    write_json(folder / "bundle.json", plain)


def test_bundle_knows_all_that_prediction_needs(trained: Project):
    bundle = load_bundle(trained.models / "0001")
    assert bundle.version == "0001"
    assert bundle.info.classes == ("iris", "pupil", "sclera")
    assert bundle.info.channels == ("grey",)
    assert bundle.info.settings.train.epochs == 6
    assert bundle.info.stride == 4
    assert bundle.info.halo % bundle.info.stride == 0
    assert {"keras", "numpy", "unetseg"} <= set(bundle.info.software)
    assert bundle.thresholds.shape == (3,)


def test_without_an_evaluation_the_thresholds_are_one_half(trained: Project):
    import shutil

    shutil.rmtree(trained.models / "0001" / "evaluation")
    assert load_bundle(trained.models / "0001").thresholds.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", ["model.keras", "openvino.bin", "replay.npz"])
def test_one_changed_byte_is_refused(name: str, trained: Project):
    path = trained.models / "0001" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=f"{name} was changed or damaged"):
        load_bundle(trained.models / "0001")


def test_a_missing_file_is_refused(trained: Project):
    (trained.models / "0001" / "replay.npz").unlink()
    with pytest.raises(BundleError, match=r"replay\.npz is missing"):
        load_bundle(trained.models / "0001")


def test_a_newer_schema_is_refused(trained: Project):
    edit(trained.models / "0001", schema_version=3)
    with pytest.raises(BundleError, match="bundle schema 3"):
        load_bundle(trained.models / "0001")


def test_json_that_is_none_is_refused(trained: Project):
    (trained.models / "0001" / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        load_bundle(trained.models / "0001")


def test_unknown_content_is_refused(trained: Project):
    edit(trained.models / "0001", classes=5)
    with pytest.raises(BundleError, match="classes"):
        load_bundle(trained.models / "0001")


def test_files_outside_the_bundle_cannot_be_named(trained: Project):
    plain = read_json(trained.models / "0001" / "bundle.json")
    plain["files"]["../../unetseg.yaml"] = "0"
    write_json(trained.models / "0001" / "bundle.json", plain)
    with pytest.raises(BundleError, match="missing"):
        load_bundle(trained.models / "0001")


def test_no_bundle_is_wrong_usage(tmp_path: Path):
    with pytest.raises(UsageError, match="no bundle is there"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_a_model_that_does_not_reproduce_its_test_output_is_refused(engine: str, trained: Project):
    folder = trained.models / "0001"
    inputs, expected = load_bundle(folder).replay()
    np.savez_compressed(folder / "replay.npz", expected=1 - expected, **inputs)
    edit(folder)
    with pytest.raises(BundleError, match="does not reproduce"):
        open_engine(folder, engine)


def test_code_inside_a_model_is_refused_and_not_run(trained: Project, tmp_path: Path):
    folder, proof = trained.models / "0001", tmp_path / "ran"
    side = keras.Input((None, None, 1), name="image")

    def harm(x):
        Path(proof).touch()
        return x

    keras.Model(side, keras.layers.Lambda(harm, output_shape=(None, None, 1))(side)).save(folder / "model.keras")
    proof.unlink(missing_ok=True)
    edit(folder)
    with pytest.raises(BundleError, match="cannot be loaded safely"):
        open_engine(folder, "keras")
    assert not proof.exists()


def test_a_pickle_in_the_replay_is_refused(trained: Project):
    folder = trained.models / "0001"
    np.savez(folder / "replay.npz", expected=np.array([{"a": 1}], dtype=object))
    edit(folder)
    with pytest.raises(ValueError, match="allow_pickle"):
        load_bundle(folder).replay()


def test_versions_are_numbered_and_never_overwritten(trained: Project):
    bundle = load_bundle(trained.models / "0001")
    model = build_unet(bundle.info.settings.model, classes=3)
    second = save_bundle(trained.models, model, bundle.info)
    third = save_bundle(trained.models, model, bundle.info)
    assert (second.name, third.name) == ("0002", "0003")
    assert isinstance(load_bundle(second), Bundle)


def test_an_interrupted_save_leaves_no_version(trained: Project, monkeypatch: pytest.MonkeyPatch):
    bundle = load_bundle(trained.models / "0001")
    model = build_unet(bundle.info.settings.model, classes=3)

    def fail(*arguments, **named):
        raise OSError("disk is full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk is full"):
        save_bundle(trained.models, model, bundle.info)
    assert [item.name for item in trained.models.iterdir() if item.is_dir()] == ["0001"]


def test_the_saved_network_holds_no_pickle_and_no_code(trained: Project):
    with zipfile.ZipFile(trained.models / "0001" / "model.keras") as archive:
        assert set(archive.namelist()) == {"metadata.json", "config.json", "model.weights.h5"}
        assert b"Lambda" not in archive.read("config.json")
