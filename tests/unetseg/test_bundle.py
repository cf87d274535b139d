"""A bundle is refused when it is not what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from unetseg.bundle import Bundle, BundleInfo, load_bundle, save_bundle, software_versions, versions
from unetseg.config import ModelConfig, Settings
from unetseg.engines import load_network, open_engine
from unetseg.errors import BundleError, UsageError
from unetseg.json_files import read_json, write_json
from unetseg.model import build_unet
from unetseg.network_file import check_network_file
from unetseg.records import write_record
from unetseg.storage import file_hash, read_bytes, write_bytes
from unetseg.training_data import ClassAreas, Intensities, TrainingData

NETWORK = ModelConfig(depth=1, width=2)
INFO = BundleInfo(
    classes=("iris", "pupil"),
    guides=(),
    channels=("grey",),
    settings=Settings(model=NETWORK),
    pixel_size=None,
    dataset_fingerprint="d",
    training_fingerprint="t",
    validation_score=0.5,
    software=software_versions(),
    training_scans=("0123456789abcdef",),
    training_data=TrainingData(
        2, (Intensities("grey", (0.0, 1.0), (0.25, 0.5)),), (ClassAreas("iris", 1, 1, (0.125,)),)
    ),
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_unet(NETWORK, classes=2)


@pytest.fixture(scope="module")
def saved(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained network, with an evaluation. Read only: take `folder` to change something."""
    models = tmp_path_factory.mktemp("models")
    folder = save_bundle(models, network, INFO)
    evaluate(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the bundle."""
    return shutil.copytree(saved, tmp_path / "models" / "0001")


def evaluate(folder: Path) -> None:
    """Leave what evaluate leaves, as far as a bundle reads it."""
    curves = folder / "evaluation" / "validation_curves.npz"
    curves.parent.mkdir()
    np.savez_compressed(curves, positives=np.arange(100))
    thresholds = {name: {"value": value} for name, value in (("iris", 0.25), ("pupil", 0.75))}
    plain = {"schema_version": 2, "thresholds": thresholds, "scores": {}, "files": {curves.name: file_hash(curves)}}
    write_record(folder / "evaluation" / "evaluation.json", plain)


def edit(folder: Path, **changes: object) -> None:
    """Change bundle.json and keep the hashes right, as somebody with bad intentions would."""
    plain = read_json(folder / "bundle.json") | changes
    plain["files"] = {name: file_hash(folder / name) for name in plain["files"]}
    write_record(folder / "bundle.json", plain)


def flip(path: Path, share: float) -> None:
    """Change one bit, so far into the file."""
    data = bytearray(path.read_bytes())
    data[int(share * (len(data) - 1))] ^= 1
    path.write_bytes(bytes(data))


def test_a_bundle_comes_back_as_it_was_saved(saved: Path, network: keras.Model):
    bundle = load_bundle(saved)
    assert bundle.version == "0001"
    assert replace(bundle.info, stride=0, halo=0) == INFO
    assert (bundle.info.stride, bundle.info.exact) == (2, True)
    assert {"keras", "numpy", "unetseg"} <= set(bundle.info.software)
    assert bundle.digest == read_json(saved / "bundle.json")["sha256"]
    np.testing.assert_array_equal(bundle.thresholds, np.array([0.25, 0.75], np.float32))
    inputs, expected = bundle.replay()
    assert inputs["image"].shape == (1, 8, 8, 1)
    np.testing.assert_allclose(network.predict_on_batch(inputs), expected, atol=1e-6)


def test_without_an_evaluation_the_thresholds_are_one_half(folder: Path):
    shutil.rmtree(folder / "evaluation")
    assert load_bundle(folder).thresholds.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.7, 1])
@pytest.mark.parametrize("name", ["bundle.json", "model.keras", "openvino.xml", "openvino.bin", "replay.npz"])
def test_one_changed_byte_is_refused(name: str, share: float, folder: Path):
    flip(folder / name, share)
    with pytest.raises(BundleError, match=rf"{name}:? .*damaged.*; .*copy.* or use another version"):
        load_bundle(folder)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize("name", ["evaluation.json", "validation_curves.npz"])
def test_one_changed_byte_of_an_evaluation_is_refused(name: str, share: float, folder: Path):
    flip(folder / "evaluation" / name, share)
    bundle = load_bundle(folder)
    for ask in ("evaluation", "thresholds"):
        with pytest.raises(BundleError, match=rf"{name}:? .*damaged.*; .*copy.* or run unetseg evaluate again"):
            getattr(bundle, ask)


def test_a_threshold_that_was_set_by_hand_is_refused(folder: Path):
    path = folder / "evaluation" / "evaluation.json"
    path.write_text(path.read_text().replace("0.25", "0.24"))
    with pytest.raises(BundleError, match=r"evaluation\.json: was changed or damaged"):
        _ = load_bundle(folder).thresholds


def test_curves_that_are_gone_are_refused(folder: Path):
    (folder / "evaluation" / "validation_curves.npz").unlink()
    with pytest.raises(BundleError, match=r"validation_curves\.npz is missing"):
        _ = load_bundle(folder).evaluation


def test_a_bundle_from_before_training_data_was_described_is_read(folder: Path):
    plain = read_json(folder / "bundle.json")
    del plain["training_data"]
    write_record(folder / "bundle.json", plain | {"schema_version": 3})
    assert load_bundle(folder).info.training_data is None


@pytest.mark.parametrize("schema", [1, 2])
def test_bundles_and_evaluations_from_before_digests_are_read(folder: Path, schema: int):
    plain = read_json(folder / "bundle.json")
    del plain["sha256"], plain["training_scans"]
    if schema == 1:
        plain["validation_dice"] = plain.pop("validation_score")
    write_json(folder / "bundle.json", plain | {"schema_version": schema})
    old = {"schema_version": 1, "thresholds": {name: {"value": 0.125} for name in INFO.classes}, "scores": {}}
    write_json(folder / "evaluation" / "evaluation.json", old)
    bundle = load_bundle(folder)
    assert (bundle.info.validation_score, bundle.info.training_scans, bundle.digest) == (0.5, (), "")
    assert bundle.thresholds.tolist() == [0.125, 0.125]


def test_a_missing_file_is_refused(folder: Path):
    (folder / "replay.npz").unlink()
    with pytest.raises(BundleError, match=r"replay\.npz is missing"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["openvino.xml", "replay.npz"])
def test_a_file_that_was_added_is_refused(folder: Path, name: str):
    plain = read_json(folder / "bundle.json")
    del plain["files"][name]
    write_record(folder / "bundle.json", plain)
    with pytest.raises(BundleError, match=f"{name} was added, bundle.json does not list it; remove it"):
        load_bundle(folder)


def test_a_newer_schema_is_refused_with_the_version_that_wrote_it(folder: Path):
    edit(folder, schema_version=5, software={"unetseg": "9.8.7"})
    with pytest.raises(BundleError, match=r"schema 5 is newer .* reads 1 to 4; use unetseg 9\.8\.7, which wrote it"):
        load_bundle(folder)


def test_an_evaluation_of_a_newer_schema_is_refused(folder: Path):
    write_record(folder / "evaluation" / "evaluation.json", {"schema_version": 5})
    with pytest.raises(BundleError, match=r"evaluation\.json: schema 5 is newer .* reads 1 to 4"):
        _ = load_bundle(folder).evaluation


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": None}, "names no schema version, found None"),
        ({"schema_version": 0}, "names no schema version, found 0"),
        ({"classes": 5}, "damaged, .*classes"),
        ({"software": [], "schema_version": 5}, "use the unetseg that wrote it"),
    ],
    ids=["no schema", "schema 0", "no classes", "newer without software"],
)
def test_unknown_content_is_refused(folder: Path, changes: dict[str, object], message: str):
    edit(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize("content", ["{", "[]", '"', "5"])
def test_json_that_is_no_record_is_refused(folder: Path, content: str):
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.json: damaged, .*; or use another version"):
        load_bundle(folder)


@pytest.mark.parametrize("files", [None, [], {}, {"../../unetseg.yaml": "0", "model.keras": "0"}], ids=range(4))
def test_a_list_of_files_that_is_none_or_leaves_the_bundle_is_refused(folder: Path, files: object):
    write_record(folder / "bundle.json", read_json(folder / "bundle.json") | {"files": files})
    with pytest.raises(BundleError, match=r"lists no model\.keras|is missing"):
        load_bundle(folder)


def test_no_bundle_is_wrong_usage(tmp_path: Path):
    with pytest.raises(UsageError, match="no bundle is there"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_a_model_that_does_not_reproduce_its_test_output_is_refused(engine: str, folder: Path):
    inputs, expected = load_bundle(folder).replay()
    np.savez_compressed(folder / "replay.npz", expected=1 - expected, **inputs)
    edit(folder)
    with pytest.raises(BundleError, match="does not reproduce"):
        open_engine(folder, engine)


# Nothing of a stranger's is run


@pytest.fixture
def proof(folder: Path, tmp_path: Path) -> Path:
    """A file that is made when the code in the network of `folder` runs; its hashes are those of its files."""
    path = str(tmp_path / "ran")
    side = keras.Input((None, None, 1), name="image")
    # Of a lambda Keras stores the code, of a function the name alone.
    harm = keras.layers.Lambda(lambda x: (open(path, "w").close(), x)[1])  # noqa: PTH123 (needs no import)
    keras.Model(side, harm(side)).save(folder / "model.keras")
    Path(path).unlink()
    edit(folder)
    return Path(path)


def test_the_harmful_network_of_these_tests_does_harm_where_it_is_trusted(folder: Path, proof: Path):
    keras.saving.load_model(folder / "model.keras", safe_mode=False)
    assert proof.exists()


@pytest.mark.parametrize("engine", ["keras", "openvino", "auto"])
def test_code_inside_a_model_is_refused_and_not_run(folder: Path, proof: Path, engine: str):
    assert (folder / "openvino.xml").exists()
    with pytest.raises(BundleError, match=r"model\.keras: holds code \(a Lambda layer\), which is never run; ask"):
        open_engine(folder, engine)
    assert not proof.exists()


def test_code_inside_a_model_is_not_run_to_start_from_its_weights(folder: Path, proof: Path):
    with pytest.raises(BundleError, match=r"model\.keras: holds code"):
        load_network(folder)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": "os", "class_name": "system", "config": {}}, r"names os\.system, which is no part"),
        ({"module": "keras.utils", "class_name": "function", "config": "get_file"}, r"names keras\.utils\.get_file"),
        ({"module": "keras", "class_name": "layers.Lambda"}, r"names keras\.layers\.Lambda"),
        ({"module": "keras", "class_name": "layers.TFSMLayer"}, r"names keras\.layers\.TFSMLayer"),
        ({"module": "keras", "class_name": "function", "config": "utils.get_file"}, r"names keras\.utils\.get_file"),
        ({"module": None, "class_name": "__lambda__", "config": {"value": "x"}}, "holds code"),
        ({"class_name": "Lambda", "config": {}}, "holds code"),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {}}, "holds code"),
        ({"module": ["keras"], "class_name": {}}, "which is no part"),
    ],
    ids=[
        "foreign module",
        "harmful function",
        "walk to code",
        "walk to saved model",
        "walk to function",
        "pickled function",
        "old format",
        "saved model",
        "no names",
    ],
)
def test_what_a_network_names_must_be_a_building_block_of_keras(folder: Path, change: dict[str, object], message: str):
    path = folder / "model.keras"
    check_network_file(path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    config["config"]["layers"][1]["config"]["kernel_initializer"] = change
    write_archive(path, content | {"config.json": json.dumps(config).encode()})
    with pytest.raises(BundleError, match=message):
        check_network_file(path)


def write_archive(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_a_network_that_was_saved_with_its_optimiser_passes_as_old_bundles_hold_it(tmp_path: Path):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(), "mse")
    model.save(tmp_path / "model.keras")
    check_network_file(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b"", "assets/a": b""}, "other files"),
        ({"config.json": b"{", "metadata.json": b"{}", "model.weights.h5": b""}, "is no network of Keras"),
        ({"config.json": b"[" * 100_000, "metadata.json": b"{}", "model.weights.h5": b""}, "is no network of Keras"),
    ],
    ids=["assets", "no JSON", "deep JSON"],
)
def test_an_archive_that_is_no_network_is_refused(tmp_path: Path, content: dict[str, bytes], message: str):
    write_archive(tmp_path / "model.keras", content)
    with pytest.raises(BundleError, match=message):
        check_network_file(tmp_path / "model.keras")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path):
    (tmp_path / "model.keras").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(BundleError, match="is no network of Keras"):
        check_network_file(tmp_path / "model.keras")


class _Harm:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("whole", [True, False], ids=["a pickle", "an array of objects"])
def test_a_pickle_in_the_replay_is_refused_and_not_run(folder: Path, tmp_path: Path, whole: bool):
    import pickle

    harm = _Harm(tmp_path / "ran")
    if whole:
        (folder / "replay.npz").write_bytes(pickle.dumps(harm))
    else:
        np.savez(folder / "replay.npz", expected=np.array([harm], dtype=object))
    edit(folder)
    for attempt in (load_bundle(folder).replay, lambda: open_engine(folder, "openvino")):
        with pytest.raises(BundleError, match=r"replay\.npz: holds no plain arrays .* pickles are never loaded"):
            attempt()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_a_replay_that_is_no_archive_of_arrays_is_refused(folder: Path, content: bytes):
    (folder / "replay.npz").write_bytes(content)
    edit(folder)
    with pytest.raises(BundleError, match="holds no plain arrays"):
        load_bundle(folder).replay()


def test_an_export_that_is_none_is_refused(folder: Path):
    (folder / "openvino.xml").write_text("<net/>")
    edit(folder)
    with pytest.raises(BundleError, match=r"openvino\.xml: OpenVINO cannot read it"):
        open_engine(folder, "openvino")


def test_a_test_input_that_does_not_fit_the_network_is_refused(folder: Path):
    np.savez(folder / "replay.npz", image=np.zeros((1, 8, 8, 3), np.float32), expected=np.zeros((1, 8, 8, 2)))
    edit(folder)
    for name in ("keras", "openvino"):
        with pytest.raises(BundleError, match="does not take its test input"):
            open_engine(folder, name)


def test_the_saved_network_holds_no_pickle_and_no_code(saved: Path):
    with zipfile.ZipFile(saved / "model.keras") as archive:
        assert set(archive.namelist()) == {"metadata.json", "config.json", "model.weights.h5"}
        assert b"Lambda" not in archive.read("config.json")


@pytest.mark.parametrize(
    "config",
    [
        {"block": "residual", "normalisation": "group", "attention": True, "activation": "gelu", "dropout": (0.1,)},
        {"normalisation": "instance", "fusion": 1, "upsampling": ("transposed",), "head": "softmax"},
        {"normalisation": "none", "activation": "leaky_relu", "outputs": 2, "upsampling": ("bilinear",)},
    ],
    ids=["residual", "fusion", "outputs"],
)
def test_every_network_of_this_project_passes_the_look(config: dict[str, object], tmp_path: Path):
    model = build_unet(ModelConfig(depth=2, width=2, **config), input_shape=(13, 9, 1), classes=2, guides=1)
    model.save(tmp_path / "model.keras")
    check_network_file(tmp_path / "model.keras")


# Versions


def test_versions_are_numbered_and_never_overwritten(folder: Path, network: keras.Model):
    models = folder.parent
    (models / "0004").mkdir()
    assert save_bundle(models, network, INFO) == models / "0005"
    assert isinstance(load_bundle(models / "0005"), Bundle)
    assert versions(models) == ["0001", "0005"]


LINE = {"time": "2030-01-02T03:04:05+00:00", "why": "2030"}


@pytest.mark.parametrize(
    ("aliases", "number"),
    [
        pytest.param({"production": "0003"}, "0004", id="production"),
        pytest.param({"previous": "0010"}, "0011", id="previous"),
        pytest.param({"removing": ["0002", "0004"]}, "0005", id="removing"),
        pytest.param({"history": [LINE | {"production": "0007", "previous": None}]}, "0008", id="history"),
        pytest.param({"history": [LINE | {"production": None, "removed": ["0012"]}]}, "0013", id="removed"),
        pytest.param({"history": [LINE | {"production": "0001", "rolled_back": "0009"}]}, "0010", id="rolled-back"),
        pytest.param({}, "0002", id="nothing"),
        pytest.param({"history": 3}, "0002", id="damaged"),
    ],
)
def test_a_version_that_somebody_deleted_leaves_its_number_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aliases: dict[str, Any], number: str
):
    monkeypatch.setattr("unetseg.bundle._fill", lambda folder, model, info: (folder / "bundle.json").write_text("{}"))
    (tmp_path / "0001").mkdir()
    write_json(tmp_path / "aliases.json", {"production": None, "previous": None, "history": []} | aliases)
    assert save_bundle(tmp_path, None, INFO) == tmp_path / number  # type: ignore[arg-type]


def test_an_interrupted_save_leaves_no_version(folder: Path, network: keras.Model, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments, **named):
        raise OSError("disk is full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk is full"):
        save_bundle(folder.parent, network, INFO)
    assert [item.name for item in folder.parent.iterdir() if item.is_dir()] == ["0001"]


@pytest.mark.parametrize("place", ["folder", "store"])
def test_trainings_that_end_at_once_get_numbers_of_their_own(
    place: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    models = tmp_path if place == "folder" else request.getfixturevalue("bucket")

    def fill(folder: Path, model: object, info: BundleInfo) -> None:
        (folder / "model.keras").write_text(info.dataset_fingerprint)
        (folder / "bundle.json").write_text("{}")

    monkeypatch.setattr("unetseg.bundle._fill", fill)
    if place == "store":
        request.getfixturevalue("atomic")
    infos = [replace(INFO, dataset_fingerprint=str(number)) for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda info: save_bundle(models, None, info), infos))  # type: ignore[arg-type]
    # A put that a busy store answers late is tried again, and then finds its number taken: that one stays unused.
    assert versions(models) == sorted({folder.name for folder in folders})
    assert len(set(folders)) == 3
    assert [read_bytes(folder / "model.keras") for folder in folders] == [b"0", b"1", b"2"]


def test_a_bundle_lives_in_an_object_store_as_in_a_folder(bucket: Path, network: keras.Model, saved: Path):
    folder = save_bundle(bucket / "models", network, INFO)
    assert folder == bucket / "models" / "0001"
    bundle = load_bundle(folder)
    assert replace(bundle.info, stride=0, halo=0) == INFO
    inputs, expected = bundle.replay()
    for name in ("keras", "openvino"):
        np.testing.assert_allclose(open_engine(folder, name)(inputs), expected, atol=1e-5)
    assert open_engine(folder, "keras") is open_engine(folder, "keras")
    for mine, stored in zip(load_network(folder).get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, stored)
    for item in (saved / "evaluation").iterdir():
        write_bytes(folder / "evaluation" / item.name, item.read_bytes())
    np.testing.assert_array_equal(load_bundle(folder).thresholds, load_bundle(saved).thresholds)
    write_bytes(folder / "evaluation" / "validation_curves.npz", b"")
    with pytest.raises(BundleError, match=rf"^{folder}/evaluation: validation_curves\.npz was changed or damaged"):
        _ = load_bundle(folder).evaluation


def test_looking_at_bundles_loads_no_framework():
    code = (
        "import sys, unetseg.bundle, unetseg.registry, unetseg.registry_cleaning, unetseg.model_list, unetseg.leakage\n"
        "print({'keras', 'tensorflow', 'openvino', 's3fs'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
