"""Networks that are meant to do harm, in bundles whose digests are all right: refused, whichever engine opens them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fuzz.networks import members, real_bundle, small_network, with_right_digests
from tests.fuzz.samples import archive, put
from tests.unetseg.test_hostile_files import little_memory
from unetseg.checkpoint import Checkpoint, FitOutcome, save_values
from unetseg.config import Settings, to_plain
from unetseg.engines import load_network, open_engine
from unetseg.errors import BundleError, DamagedFileError
from unetseg.network_weights import check_weights
from unetseg.plan import Plan
from unetseg.train import _plan

ENGINES = ("keras", "openvino")
each_engine = pytest.mark.parametrize("engine", ENGINES)


def bundle(folder: Path, **files: bytes) -> Path:
    """The bundle of a real network, of which files are replaced."""
    changed = {name.replace("_", "."): data for name, data in files.items()}
    return put(folder / "0001", with_right_digests(real_bundle() | changed))


def described(change: Callable[[Any], None]) -> bytes:
    """The network with another description."""
    inside = members()
    config = json.loads(inside["config.json"])
    change(config)
    return archive(inside | {"config.json": json.dumps(config).encode()})


def weighted(change: Callable[[h5py.File, str], None]) -> bytes:
    """The network with other weights: something is done to the file, in which an array is called so."""
    inside = members()
    stream = io.BytesIO(inside["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if isinstance(file[name], h5py.Dataset) else None)
        change(file, names[0])
    return archive(inside | {"model.weights.h5": stream.getvalue()})


def first_convolution(config: Any) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in config["config"]["layers"] if item["class_name"] == "Conv2D")
    return found["config"]


@each_engine
def test_the_network_of_these_tests_is_sound_where_nothing_is_changed(tmp_path: Path, engine: str):
    folder = bundle(tmp_path, model_keras=described(lambda config: None))
    assert open_engine(folder, engine).name == engine
    assert open_engine(bundle(tmp_path, model_keras=weighted(lambda file, name: None)), engine).name == engine


# --------------------------------------------------------------------------- code, and files of the machine

GADGETS: dict[str, dict[str, Any]] = {
    "enable_unsafe_deserialization": {
        "module": "keras.config",
        "class_name": "function",
        "config": "enable_unsafe_deserialization",
    },
    "load_model": {"module": "keras.models", "class_name": "function", "config": "load_model"},
    "load_model as a class": {"module": "keras.models", "class_name": "load_model", "config": {}},
    "get_file": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "builtins": {"module": "builtins", "class_name": "function", "config": "exec"},
    "subprocess": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
    "registered": {"module": "my.package", "class_name": "Layer", "config": {}, "registered_name": "package>Layer"},
    "private": {"module": "keras.src.saving.saving_api", "class_name": "function", "config": "load_model"},
    "through numpy": {"module": "keras.src.ops.numpy", "class_name": "function", "config": "np.load"},
}


@each_engine
@pytest.mark.parametrize("gadget", GADGETS)
def test_a_description_cannot_name_what_runs_or_opens_something(tmp_path: Path, engine: str, gadget: str):
    def harm(config: Any) -> None:
        first_convolution(config)["activation"] = GADGETS[gadget]

    folder = bundle(tmp_path, model_keras=described(harm))
    with pytest.raises(BundleError, match=r"model\.keras: names .*which is no part of Keras that unetseg loads"):
        open_engine(folder, engine)


@each_engine
@pytest.mark.parametrize("layer", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_a_layer_cannot_read_a_file_of_this_machine(tmp_path: Path, engine: str, layer: str):
    """As CVE-2025-12058: a vocabulary may be a path."""
    (tmp_path / "secret").write_text("mine\n")

    def harm(config: Any) -> None:
        found = next(item for item in config["config"]["layers"] if item["class_name"] == "Conv2D")
        found |= {"class_name": layer, "config": {"name": "a", "vocabulary": str(tmp_path / "secret")}}

    with pytest.raises(BundleError, match=rf"names keras\.layers\.{layer}, which is no part of Keras"):
        open_engine(bundle(tmp_path, model_keras=described(harm)), engine)


@each_engine
def test_an_embedded_layer_is_looked_at_too(tmp_path: Path, engine: str):
    def harm(config: Any) -> None:
        found = next(item for item in config["config"]["layers"] if item["class_name"] == "Conv2D")
        inner = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}}
        found |= {"class_name": "TimeDistributed", "config": {"layer": inner}}

    with pytest.raises(BundleError, match="holds code"):
        open_engine(bundle(tmp_path, model_keras=described(harm)), engine)


# --------------------------------------------------------------------------- archives


@each_engine
@pytest.mark.parametrize(
    "name",
    ["../outside.txt", "/tmp/outside.txt", "assets/../../outside.txt", "config.json", "model.weights.npz"],
    ids=["above", "absolute", "through a folder", "twice", "other weights"],
)
def test_an_archive_with_more_in_it_is_refused_and_not_unpacked(tmp_path: Path, engine: str, name: str):
    stream = io.BytesIO(real_bundle()["model.keras"])
    with zipfile.ZipFile(stream, "a") as stored, pytest.WarningsRecorder(_ispytest=True):
        stored.writestr(name, b"harm")
    folder = bundle(tmp_path, model_keras=stream.getvalue())
    with pytest.raises(BundleError, match=r"model\.keras: holds other files than a network of Keras"):
        open_engine(folder, engine)
    assert not list(tmp_path.rglob("outside.txt"))


@each_engine
def test_weights_that_inflate_are_refused_before_they_do(tmp_path: Path, engine: str):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as stored:
        for name, data in members().items():
            stored.writestr(name, data + bytes(1 << 28) * (name == "model.weights.h5"))
    folder = bundle(tmp_path, model_keras=stream.getvalue())
    with little_memory(), pytest.raises(BundleError, match=r"model\.keras: its weights are compressed, .*save the"):
        open_engine(folder, engine)


# --------------------------------------------------------------------------- weights


def test_weights_are_as_many_bytes_as_they_have_numbers(tmp_path: Path):
    model = small_network()
    model.save_weights(tmp_path / "a.weights.h5")
    assert check_weights(tmp_path / "a.weights.h5") == 4 * model.count_params()


def replaced(file: h5py.File, name: str) -> tuple[h5py.Group, str, tuple[int, ...]]:
    """Remove an array; where it was, its name there, its shape."""
    group, shape = file[name].parent, file[name].shape
    last = name.rpartition("/")[2]
    del group[last]
    return group, last, shape


def soft_link(file: h5py.File, name: str, secret: Path) -> None:
    group, last, _ = replaced(file, name)
    group[last] = h5py.SoftLink("/elsewhere")


def external_link(file: h5py.File, name: str, secret: Path) -> None:
    group, last, _ = replaced(file, name)
    group[last] = h5py.ExternalLink(str(secret), "/secret")


def external_group(file: h5py.File, name: str, secret: Path) -> None:
    del file["layers"]
    file["layers"] = h5py.ExternalLink(str(secret), "/")


def other_file(file: h5py.File, name: str, secret: Path) -> None:
    group, last, shape = replaced(file, name)
    nbytes = 4 * int(np.prod(shape))
    group.create_dataset(last, shape, "float32", external=[(str(secret), 0, nbytes)])


def virtual(file: h5py.File, name: str, secret: Path) -> None:
    group, last, shape = replaced(file, name)
    layout = h5py.VirtualLayout(shape, "float32")
    layout[...] = h5py.VirtualSource(str(secret), "secret", shape)
    group.create_virtual_dataset(last, layout)


def compressed(file: h5py.File, name: str, secret: Path) -> None:
    group, last, _ = replaced(file, name)
    group.create_dataset(last, (1 << 10, 1 << 10), "float32", compression="gzip")[...] = 0


def never_written(file: h5py.File, name: str, secret: Path) -> None:
    group, last, _ = replaced(file, name)
    group.create_dataset(last, (1 << 20, 1 << 20), "float32", chunks=(1, 1 << 10))


def texts(file: h5py.File, name: str, secret: Path) -> None:
    group, last, _ = replaced(file, name)
    group[last] = ["a", "b"]


def circle(file: h5py.File, name: str, secret: Path) -> None:
    file["layers"]["again"] = file["layers"]


WEIGHTS = (soft_link, external_link, external_group, other_file, virtual, compressed, never_written, texts, circle)


@pytest.mark.parametrize("harm", WEIGHTS, ids=lambda item: item.__name__)
def test_weights_that_are_no_plain_arrays_are_refused_before_keras_reads_them(
    tmp_path: Path, harm: Callable[[h5py.File, str, Path], None], monkeypatch: pytest.MonkeyPatch
):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["secret"] = np.arange(1000, dtype=np.float32)
    folder = bundle(tmp_path, model_keras=weighted(lambda file, name: harm(file, name, secret)))
    monkeypatch.setattr("keras.saving.load_model", lambda *_, **__: pytest.fail("Keras was asked"))
    with pytest.raises(BundleError, match=r"model\.keras: its weights cannot be used \(.*copy the bundle again"):
        open_engine(folder, "keras")


@pytest.mark.parametrize("filters", [10**6, 10**8, 2**31, 10**30], ids=str)
def test_a_description_that_asks_for_more_than_its_weights_hold_takes_no_memory(tmp_path: Path, filters: int):
    import keras

    side = keras.Input((None, None, 1), name="image")
    keras.Model(side, keras.layers.Conv2D(2, 3, name="a")(side)).save(tmp_path / "sound.keras")
    with zipfile.ZipFile(tmp_path / "sound.keras") as stored:
        inside = {name: stored.read(name) for name in stored.namelist()}
    config = json.loads(inside["config.json"])
    first_convolution(config)["filters"] = filters
    harm = archive(inside | {"config.json": json.dumps(config).encode()})
    sound = bundle(tmp_path / "sound", model_keras=(tmp_path / "sound.keras").read_bytes())
    assert load_network(sound).count_params() == 20  # and what Keras takes for itself, it has
    with little_memory(), pytest.raises(BundleError, match=r"model\.keras: ") as caught:
        load_network(bundle(tmp_path / "harm", model_keras=harm))
    assert not re.search("memory|allocat|OOM", str(caught.value)), caught.value
    if filters < 2**31:
        assert f"describes {10 * filters} parameters, but its weights have 80 bytes" in str(caught.value)


# --------------------------------------------------------------------------- exports


def test_an_export_that_is_another_format_is_refused(tmp_path: Path):
    """OpenVINO reads others too, whose weights may be any file's."""
    folder = bundle(tmp_path, openvino_xml=onnx_with_weights_elsewhere(b"/etc/hostname"))
    with pytest.raises(BundleError, match=r"openvino\.xml: "):
        open_engine(folder, "openvino")


def test_an_export_with_words_that_are_no_text_is_refused(tmp_path: Path):
    """OpenVINO's own error repeats them."""
    text = real_bundle()["openvino.xml"].replace(b'type="Parameter"', b'type="\xbeParameter"', 1)
    folder = bundle(tmp_path, openvino_xml=text)
    with pytest.raises(BundleError, match=r"openvino\.xml: OpenVINO cannot read it"):
        open_engine(folder, "openvino")


def onnx_with_weights_elsewhere(location: bytes) -> bytes:
    """An ONNX model, written by hand: one Identity of an initializer whose bytes lie in another file."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    def number(place: int, value: int) -> bytes:
        return bytes([place << 3, value])

    def entry(key: bytes, value: bytes) -> bytes:
        return field(13, field(1, key) + field(2, value))

    elsewhere = entry(b"location", location) + entry(b"offset", b"0") + entry(b"length", b"4")
    tensor = number(1, 1) + number(2, 1) + field(8, b"w") + elsewhere + number(14, 1)
    shape = field(2, field(1, number(1, 1)))
    output = field(12, field(1, b"y") + field(2, field(1, number(1, 1) + shape)))
    node = field(1, field(1, b"w") + field(2, b"y") + field(4, b"Identity"))
    graph = node + field(2, b"g") + field(5, tensor) + output
    return number(1, 8) + field(8, number(2, 13)) + field(7, graph)


# --------------------------------------------------------------------------- what a training goes on from


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    model, outcome = small_network(compiled=True), FitOutcome()
    outcome.note({"epoch": 1, "loss": 0.5}, score=0.25, seconds=1.0)
    found = Checkpoint(tmp_path / "train/checkpoint")
    model.optimizer.build(model.trainable_variables)
    found.save(model, outcome, lambda path: save_values(path, model.variables))
    return found


def test_a_checkpoint_comes_back_as_it_was_saved(checkpoint: Checkpoint):
    found = checkpoint.restore(small_network(compiled=True))
    assert found == FitOutcome([{"epoch": 1, "loss": 0.5}], 0.25, 1, 1.0)
    assert isinstance(found.history[0]["epoch"], int)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"history": 3}', b'{"history": [{"loss": "x"}]}'], ids=str)
def test_an_outcome_of_another_shape_is_damaged(checkpoint: Checkpoint, content: bytes):
    (checkpoint.folder / "outcome.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"outcome\.json: damaged, .*remove .*checkpoint, and it begins anew"):
        checkpoint.restore(small_network(compiled=True))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"x" * 1000], ids=["empty", "cut", "no archive"])
@pytest.mark.parametrize("name", ["last.npz", "best.npz"])
def test_weights_of_a_checkpoint_that_are_damaged_are_told_of(checkpoint: Checkpoint, name: str, content: bytes):
    (checkpoint.folder / name).write_bytes(content)
    model = small_network(compiled=True)
    with pytest.raises(DamagedFileError, match=rf"{name}: damaged, a training cannot go on from it .*begins anew"):
        checkpoint.restore(model) if name.startswith("last") else checkpoint.load_best(model)


def test_a_checkpoint_whose_directory_leads_before_its_begin_is_damaged(checkpoint: Checkpoint):
    path = checkpoint.folder / "best.npz"
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\5\6") + 16  # where the directory begins, says the end of the archive
    data[place : place + 4] = (len(data) * 2).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"best\.npz: damaged"):
        checkpoint.load_best(small_network(compiled=True))


def test_weights_of_another_network_are_no_checkpoint(checkpoint: Checkpoint):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(DamagedFileError, match=r"best\.npz: damaged"):
        checkpoint.load_best(model)


@pytest.mark.parametrize("change", [{"shape": "x"}, {"settings": {"train": {"epochs": -1}}}, {"reasons": 3}], ids=str)
def test_a_plan_of_another_shape_is_damaged(tmp_path: Path, change: dict[str, Any]):
    plan = Plan(Settings(), (64, 64), {})
    (tmp_path / "plan.json").write_text(json.dumps(to_plain(plan)))
    assert _plan(None, tmp_path) == plan  # type: ignore[arg-type]  # a stored one needs no project
    (tmp_path / "plan.json").write_text(json.dumps(to_plain(plan) | change))
    with pytest.raises(DamagedFileError, match=r"plan\.json: damaged, holds no plan of a training .*begins anew"):
        _plan(None, tmp_path)  # type: ignore[arg-type]
