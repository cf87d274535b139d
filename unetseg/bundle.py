"""The bundle: one immutable trained model with all it needs.

::

    models/0001/
      bundle.json      schema version, names, settings, fingerprints, software, SHA-256 of the files below
      model.keras      network and weights
      openvino.xml     the same network for OpenVINO (and openvino.bin), where OpenVINO is installed
      replay.npz       a small test input and its expected output
      evaluation/      scores, curves and thresholds, added by evaluate

A bundle that is damaged, comes from a newer schema or does not reproduce its test output is refused. Keras' safe mode
and NumPy without pickles mean that a bundle from elsewhere cannot run code.

Schema version 2. Bundles of version 1 are read too; their settings get the names that they have now.
"""

from __future__ import annotations

import datetime
import logging
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from unetseg.config import Settings, to_plain
from unetseg.errors import BundleError, UsageError
from unetseg.old_settings import renew_settings
from unetseg.openvino_export import export_openvino
from unetseg.storage import file_hash, locked, read_json, write_folder, write_json

if TYPE_CHECKING:
    import keras

__all__ = ["Bundle", "BundleInfo", "load_bundle", "save_bundle", "software_versions", "versions"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
_READABLE = (1, 2)
_VERSION_NAME = re.compile(r"\d{4,}")
_REPLAY_SIDE = 4  # strides: the smallest picture in which the lowest level still has neighbours
_TELL_SOFTWARE = ("unetseg", "keras", "tensorflow", "jax", "torch", "openvino", "numpy", "zarr")


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    Attributes:
        classes: names, in the order of the network's outputs.
        guides: names of the guide inputs, in order.
        channels: names of the image's channels, in order.
        settings: of all stages, as they were for this training; ``settings.ingest`` normalises new scans.
        pixel_size: ``(y, x)`` in micrometres of all training scans, where they agree.
        dataset_fingerprint: of the data.
        training_fingerprint: of the data and the settings.
        validation_score: highest score on the validation split, by what ``settings.train.monitor`` says.
        software: versions that trained it.
        stride: scan sides are padded to multiples of this.
        halo: pixels on each side that a kept pixel depends on.
        exact: whether tiles with that halo equal the whole-image result.
        plan: settings that were chosen from data and machine, each with its reason.
        notes: what was noticed while it was trained, such as overfitting.
        created: time in UTC.
    """

    classes: tuple[str, ...]
    guides: tuple[str, ...]
    channels: tuple[str, ...]
    settings: Settings
    pixel_size: tuple[float, float] | None
    dataset_fingerprint: str
    training_fingerprint: str
    validation_score: float
    software: Mapping[str, str]
    stride: int = 0
    halo: int = 0
    exact: bool = True
    plan: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    created: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its files checked."""

    folder: Path
    info: BundleInfo

    @property
    def version(self) -> str:
        """Name of its folder, such as ``0003``."""
        return self.folder.name

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """What evaluate found, or None before it."""
        path = self.folder / "evaluation" / "evaluation.json"
        return read_json(path) if path.exists() else None

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """Probability cut of each class, ``(K,)``; 0.5 before evaluate has chosen."""
        if self.evaluation is None:
            return np.full(len(self.info.classes), 0.5, np.float32)
        chosen = self.evaluation["thresholds"]
        return np.array([chosen[name]["value"] for name in self.info.classes], np.float32)

    def replay(self) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """The test input, by input name, and the output it must give, ``(1, H, W, K)``."""
        with np.load(self.folder / "replay.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return {name: value for name, value in arrays.items() if name != "expected"}, arrays["expected"]


def save_bundle(models: Path, model: keras.Model, info: BundleInfo) -> Path:
    """Write a model as the next version; it appears at once, complete.

    Args:
        models: the project's folder of models.
        model: trained network.
        info: what it was trained for and on; stride and halo are filled in from the model.

    Returns:
        The new bundle's folder.
    """
    with locked(models):  # the number is taken until the folder is there
        path = models / f"{_next_number(models):04d}"
        with write_folder(path, replace=False) as folder:
            _fill(folder, model, info)
    return path


def _fill(folder: Path, model: keras.Model, info: BundleInfo) -> None:
    """Write everything that a bundle holds; bundle.json last, since it has the hashes of the rest."""
    import keras

    from unetseg.field_of_view import receptive_field
    from unetseg.heads import main_output

    seen, main = receptive_field(model), main_output(model)
    # A compiled model would take its optimiser along, which is twice as large as itself.
    keras.Model(model.inputs, model.output, name=model.name).save(folder / "model.keras")
    export_openvino(main, folder / "openvino.xml")
    inputs = _replay_input(info, seen.stride)
    # One answer: a network that several devices trained may give one from each.
    expected = np.asarray(main.predict_on_batch(inputs), dtype=np.float32)[:1]
    np.savez_compressed(folder / "replay.npz", **(inputs | {"expected": expected}))  # type: ignore[arg-type]
    files = {item.name: file_hash(item) for item in sorted(folder.iterdir())}
    plain = to_plain(info) | vars(seen) | {"files": files}
    write_json(folder / "bundle.json", {"schema_version": SCHEMA_VERSION, **plain})


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle and check its schema and the hash of every file.

    Raises:
        UsageError: no bundle is there.
        BundleError: it is damaged or from another schema version.
    """
    path = folder / "bundle.json"
    if not path.is_file():
        raise UsageError(f"{folder}: no bundle is there (no bundle.json); unetseg models list shows what there is")
    try:
        plain = read_json(path)
    except ValueError as error:
        raise BundleError(f"{path}: damaged, not valid JSON ({error}); use another version or train again") from None
    _check_schema(folder, plain)
    _check_files(folder, plain.pop("files", {}))
    plain = _renewed(plain, str(path))
    try:
        info = TypeAdapter(BundleInfo).validate_python({k: v for k, v in plain.items() if k != "schema_version"})
    except ValidationError as error:
        raise BundleError(f"{path}: damaged, {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None
    return Bundle(folder, info)


def versions(models: Path) -> list[str]:
    """All versions, oldest first."""
    if not models.exists():
        return []
    return sorted((item.name for item in models.iterdir() if _VERSION_NAME.fullmatch(item.name)), key=int)


def software_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for name in _TELL_SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _renewed(plain: dict[str, Any], where: str) -> dict[str, Any]:
    """What version 1 wrote, with the names of version 2."""
    if "validation_dice" in plain:
        plain["validation_score"] = plain.pop("validation_dice")
    if isinstance(plain.get("settings"), dict):
        plain["settings"] = renew_settings(plain["settings"], where)
    return plain


def _check_schema(folder: Path, plain: object) -> None:
    found = plain.get("schema_version") if isinstance(plain, dict) else None
    if found not in _READABLE:
        raise BundleError(
            f"{folder}: bundle schema {found!r}, this version of unetseg reads {_READABLE[0]} to {SCHEMA_VERSION}; "
            "use the unetseg version that wrote it, or train again"
        )


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    if "model.keras" not in files:
        raise BundleError(f"{folder}: bundle.json lists no model.keras; use another version or train again")
    for name, digest in files.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing; copy the bundle again or use another version")
        if file_hash(folder / name) != digest:
            raise BundleError(f"{folder}: {name} was changed or damaged (SHA-256 differs); copy the bundle again")


def _next_number(models: Path) -> int:
    return max(map(int, versions(models)), default=0) + 1


def _replay_input(info: BundleInfo, stride: int) -> dict[str, NDArray[np.float32]]:
    """Noise, not a scan: a model can be handed on without anybody's picture in it."""
    random = np.random.default_rng(0)
    side = _REPLAY_SIDE * stride
    inputs = {"image": random.random((1, side, side, len(info.channels)), dtype=np.float32)}
    if info.guides:
        inputs["guides"] = random.integers(0, 2, (1, side, side, len(info.guides))).astype(np.float32)
    return inputs
