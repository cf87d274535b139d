"""What Keras and OpenVINO are given: a real bundle and a real checkpoint, and how inputs are made of them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz import outputs
from tests.fuzz.samples import archive, as_text, changed_json, damaged, put
from unetseg.config import LossConfig, ModelConfig, Settings, TrainConfig, to_plain
from unetseg.plan import Plan

__all__ = [
    "exports",
    "keras_networks",
    "lay_export",
    "lay_network",
    "lay_training",
    "members",
    "real_bundle",
    "small_network",
    "trainings",
    "with_right_digests",
]

_SMALL = ModelConfig(depth=1, width=2)
_ATTRIBUTES = ["0", "-1", "1", "2", "3", "255", "65536", "2147483647", "4294967296", "9223372036854775807", "", "f32",
               "dynamic", "i64", "Const", "Result", "../../secret", "1e400", "0,0,0", "-1,-1", "4294967295,4294967295"]  # fmt: skip  # noqa: E501


def small_network(*, compiled: bool = False) -> Any:
    """The smallest U-Net."""
    from unetseg.fitting import compile_model
    from unetseg.model import build_unet

    model = build_unet(_SMALL, classes=2)
    if compiled:
        compile_model(model, TrainConfig(), LossConfig(), [1.0, 1.0])
    return model


@cache
def real_bundle() -> dict[str, bytes]:
    """The files of the bundle of an untrained network."""
    from unetseg.bundle import save_bundle

    info = replace(outputs.info(), settings=Settings(model=_SMALL))
    with TemporaryDirectory() as folder:
        bundle = save_bundle(Path(folder), small_network(), info)
        return {item.name: item.read_bytes() for item in bundle.iterdir()}


def with_right_digests(files: dict[str, bytes]) -> dict[str, bytes]:
    """A bundle with the digests of its files, as somebody who wants to deceive would make it."""
    about = json.loads(files["bundle.json"])
    about["files"] = {name: sha256(data).hexdigest() for name, data in files.items() if name != "bundle.json"}
    return files | {"bundle.json": outputs.sealed(about)}


def members() -> dict[str, bytes]:
    """What is in the network's archive."""
    with zipfile.ZipFile(io.BytesIO(real_bundle()["model.keras"])) as stored:
        return {name: stored.read(name) for name in stored.namelist()}


def keras_networks() -> SearchStrategy[dict[str, bytes]]:
    """Networks of which weights, description or archive are damaged, or the description is changed."""
    inside = members()
    config = changed_json(st.just(json.loads(inside["config.json"]))).map(as_text)
    weights = damaged(lambda: {"a": inside["model.weights.h5"]}).map(lambda made: made[1])
    made = st.one_of(
        config.map(lambda text: archive(inside | {"config.json": text})),
        weights.map(lambda data: archive(inside | {"model.weights.h5": data})),
        weights.map(lambda data: archive(inside | {"model.weights.h5": data})),
        damaged(lambda: {"a": real_bundle()["model.keras"]}).map(lambda made: made[1]),
    )
    return made.map(lambda data: with_right_digests(real_bundle() | {"model.keras": data}))


def exports() -> SearchStrategy[dict[str, bytes]]:
    """Exports to OpenVINO whose graph is changed or damaged, or whose weights are."""
    files = real_bundle()
    both = {name: files[name] for name in ("openvino.xml", "openvino.bin")}
    change = st.tuples(st.integers(0, 10_000), st.sampled_from(_ATTRIBUTES))
    graph = st.lists(change, min_size=1, max_size=3).map(
        lambda changes: {"openvino.xml": _changed_graph(both["openvino.xml"], changes)}
    )
    return st.one_of(graph, graph, damaged(lambda: both).map(lambda made: {made[0]: made[1]})).map(
        lambda made: with_right_digests(files | made)
    )


def _changed_graph(text: bytes, changes: list[tuple[int, str]]) -> bytes:
    """Attributes and dimensions replaced."""
    for number, new in changes:
        places = list(re.finditer(rb'(?<=")[^"]*(?=")|(?<=<dim>)[^<]*(?=</dim>)', text))
        place = places[number % len(places)]
        text = text[: place.start()] + new.encode() + text[place.end() :]
    return text


@cache
def _real_training() -> dict[str, bytes]:
    """The folder of a training that was killed after its first epoch."""
    from unetseg.checkpoint import Checkpoint, FitOutcome, save_values  # Keras takes seconds

    model, outcome = small_network(compiled=True), FitOutcome()
    outcome.note({"epoch": 1, "loss": 0.5, "validation_score": 0.25}, score=0.25, seconds=1.0)
    model.optimizer.build(model.trainable_variables)
    with TemporaryDirectory() as folder:
        Checkpoint(Path(folder) / "checkpoint").save(model, outcome, lambda path: save_values(path, model.variables))
        files = {f"checkpoint/{item.name}": item.read_bytes() for item in (Path(folder) / "checkpoint").iterdir()}
    plan = Plan(Settings(model=_SMALL), (64, 64), {"train.batch": "fits"})
    return files | {"plan.json": as_text(to_plain(plan))}


def trainings() -> SearchStrategy[dict[str, bytes]]:
    """What a training goes on from, one file of it changed or damaged."""
    whole = _real_training()
    texts = {name: json.loads(data) for name, data in whole.items() if name.endswith(".json")}
    changed = st.sampled_from(sorted(texts)).flatmap(
        lambda name: changed_json(st.just(texts[name])).map(lambda value: {name: as_text(value)})
    )
    weights = {name: data for name, data in whole.items() if name.endswith(".npz")}
    return st.one_of(
        changed,
        damaged(lambda: whole).map(lambda made: {made[0]: made[1]}),
        damaged(lambda: weights).map(lambda made: {made[0]: made[1]}),
    ).map(lambda made: whole | made)


def _into(name: str, target: str) -> Callable[[Path, dict[str, bytes]], str]:
    def lay(folder: Path, files: dict[str, bytes]) -> str:
        put(folder / name, files)
        return target

    return lay


lay_network = _into("0001", "network")
lay_export = _into("0001", "export")
lay_training = _into("train", "training")
