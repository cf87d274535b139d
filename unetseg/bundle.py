"""The bundle: one immutable trained model with all it needs.

::

    models/0001/
      bundle.json      schema version, names, settings, fingerprints, software, SHA-256 of itself and of the files below
      model.keras      network and weights
      openvino.xml     the same network for OpenVINO (and openvino.bin), where OpenVINO is installed
      replay.npz       a small test input and its expected output
      evaluation/      scores, curves and thresholds, added by evaluate (:mod:`unetseg.evaluation_files`)

A bundle that is damaged, comes from a newer schema or does not reproduce its test output is refused. Keras' safe mode,
a look into the network's description before that (:mod:`unetseg.network_file`) and NumPy without pickles mean that a
bundle from elsewhere cannot run code.

Schema version 4. Bundles of older versions are read too: those before 4 do not tell what their training data looked
like, before 3 bundle.json has no digest of itself, and the settings of version 1 get the names that they have now.
"""

from __future__ import annotations

import datetime
import logging
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from unetseg.aliases import read_aliases, versions_named
from unetseg.array_archive import read_arrays
from unetseg.bundle_checks import check_files, check_schema, checked_record
from unetseg.config import Settings, to_plain
from unetseg.decisions import Decision, decision_rule
from unetseg.errors import BundleError, DamagedFileError, UsageError
from unetseg.evaluation_files import read_evaluation_files
from unetseg.evaluation_shape import check_evaluation
from unetseg.old_settings import renew_settings
from unetseg.openvino_export import export_openvino
from unetseg.records import write_record
from unetseg.storage import add_folder, file_hash, find, local_copy
from unetseg.training_data import TrainingData

if TYPE_CHECKING:
    import keras

__all__ = [
    "Bundle",
    "BundleInfo",
    "load_bundle",
    "read_description",
    "read_evaluation",
    "save_bundle",
    "software_versions",
    "versions",
]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 4
_SEALED = 3  # the first schema whose bundle.json has a digest of itself
_VERSION_NAME = re.compile(r"\d{4,}")
_REPLAY_SIDE = 4  # strides: the smallest picture in which the lowest level still has neighbours
_REPLAY_BYTES = 256 << 20  # of all arrays of the test input and its output; a U-Net of depth 6 has 2 MB
_ANEW = "run unetseg evaluate again"
_TELL_SOFTWARE = ("unetseg", "keras", "tensorflow", "jax", "torch", "openvino", "numpy", "zarr")


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    Attributes:
        classes: names, in the order of the network's outputs.
        guides: names of the guide inputs, in order.
        channels: names of the image's channels, in order.
        settings: of all stages, as they were for this training; ``settings.ingest`` normalises new scans.
        pixel_size: ``(y, x)`` in micrometres, the median of the training scans where they agree within 5 %; else None.
        dataset_fingerprint: of the data.
        training_fingerprint: of the data and the settings.
        validation_score: highest score on the validation split, by what ``settings.train.monitor`` says.
        software: versions that trained it.
        stride: scan sides are padded to multiples of this.
        halo: pixels on each side that a kept pixel depends on.
        exact: whether tiles with that halo equal the whole-image result.
        plan: settings that were chosen from data and machine, each with its reason.
        notes: what was noticed while it was trained, such as overfitting.
        training_scans: marks of the scans that trained and validated it, as :func:`unetseg.leakage.scan_marks` makes
            them: they tell whether a scan is among them, and name no patient. Empty in old bundles.
        training_data: what those scans looked like; None in bundles before schema 4.
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
    training_scans: tuple[str, ...] = ()
    training_data: TrainingData | None = None
    created: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk or in an object store, its files checked.

    Attributes:
        folder: where it is.
        info: what it says of itself.
        digest: SHA-256 that stands for all of it, evaluation aside; empty before schema 3.
    """

    folder: Path
    info: BundleInfo
    digest: str = ""

    @property
    def version(self) -> str:
        """Name of its folder, such as ``0003``."""
        return self.folder.name

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """What evaluate found, or None before it; see `read_evaluation`."""
        return read_evaluation(self.folder)

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """Probability cut of each class, ``(K,)``; 0.5 before evaluate has chosen."""
        if self.evaluation is None:
            return np.full(len(self.info.classes), 0.5, np.float32)
        try:
            chosen = self.evaluation["thresholds"]
            found = np.array([float(chosen[name]["value"]) for name in self.info.classes], np.float32)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(
                f"{self.folder}: its evaluation names no threshold per class ({error!r}); {_ANEW}"
            ) from None
        if not np.isfinite(found).all():
            raise BundleError(f"{self.folder}: its evaluation has thresholds that are no numbers, {found}; {_ANEW}")
        return found

    @property
    def decision(self) -> Decision:
        """What a pixel is, as it was evaluated; before that, as the settings of the training say."""
        settings = self.info.settings
        if self.evaluation is None:
            rule = decision_rule(settings.evaluate, settings.model)
        else:
            rule = self.evaluation.get("decision", "thresholds")  # before schema 2 of evaluations there was no other
        return Decision(rule, tuple(self.thresholds.tolist()))

    def replay(self) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """The test input, by input name, and the output it must give, ``(1, H, W, K)``.

        Raises:
            BundleError: there is none, or it is not made of plain arrays.
        """
        path = self.folder / "replay.npz"
        try:
            with local_copy(path) as local:
                arrays = read_arrays(local, _REPLAY_BYTES)
            return {name: value for name, value in arrays.items() if name != "expected"}, arrays["expected"]
        except Exception as error:  # broken archives make zipfile raise nearly everything
            raise BundleError(
                f"{path}: holds no plain arrays of a test input and its output ({error}); pickles are never loaded; "
                "copy the bundle again, or use another version"
            ) from error


def save_bundle(models: Path, model: keras.Model, info: BundleInfo) -> Path:
    """Write a model as the next version; it appears at once, complete.

    Of several processes that end at once each gets a number of its own, also in an object store.

    Args:
        models: the project's folder of models.
        model: trained network.
        info: what it was trained for and on; stride and halo are filled in from the model.

    Returns:
        The new bundle's folder.
    """
    return add_folder(models, lambda folder: _fill(folder, model, info), _next_names(models))


def _next_names(models: Path) -> Iterator[str]:
    """Numbers above all that are or were taken; looked for when the first is asked for.

    A version whose folder somebody deleted lives on in the aliases: a new model of that number would be the previous
    one, or rolled back, from the start.
    """
    names = {item.name for item in find(models, "*")} | _named_in_aliases(models)
    for number in count(max((int(name) for name in names if _VERSION_NAME.fullmatch(name)), default=0) + 1):
        yield f"{number:04d}"


def _named_in_aliases(models: Path) -> set[str]:
    try:
        return versions_named(read_aliases(models))
    except DamagedFileError as error:  # hours of training must not be lost for it
        logger.warning("the next version is numbered by folders alone: %s", error)
        return set()


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
    write_record(folder / "bundle.json", {"schema_version": SCHEMA_VERSION, **plain})


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle and check its schema and the hash of every file.

    Raises:
        UsageError: no bundle is there.
        BundleError: it is damaged or from a newer schema version.
    """
    path = folder / "bundle.json"
    if not path.is_file():
        raise UsageError(f"{folder}: no bundle is there (no bundle.json); unetseg models list shows what there is")
    plain = _plain(path)
    check_files(folder, plain.get("files"))
    return Bundle(folder, _info(path, plain), plain.get("sha256", ""))


def read_description(folder: Path) -> BundleInfo:
    """What a bundle says of itself; of its files only ``bundle.json`` is read and checked.

    Raises:
        BundleError: it is damaged or from a newer schema version.
    """
    path = folder / "bundle.json"
    return _info(path, _plain(path))


def _plain(path: Path) -> dict[str, Any]:
    plain = checked_record(path, _SEALED, "use another version, or train again")
    check_schema(path, plain, SCHEMA_VERSION)
    return plain


def _info(path: Path, plain: dict[str, Any]) -> BundleInfo:
    try:
        return TypeAdapter(BundleInfo).validate_python(_renewed(plain, str(path)))
    except ValidationError as error:
        raise BundleError(f"{path}: damaged, {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """What evaluate found of a bundle, or None before it; also while it is replaced, the old one or the new.

    Args:
        folder: of the bundle.

    Raises:
        BundleError: ``evaluation.json``, or a file that its ``files`` names with its SHA-256, is no longer what
            evaluate wrote: a threshold that was changed by hand must not become the operating point unseen. Or it is
            none.
    """
    found = read_evaluation_files(folder / "evaluation")
    if found:
        check_evaluation(folder / "evaluation" / "evaluation.json", found)
    return found


def versions(models: Path) -> list[str]:
    """All complete versions, oldest first."""
    found = (path.parent.name for path in find(models, "*/bundle.json"))
    return sorted((name for name in found if _VERSION_NAME.fullmatch(name)), key=int)


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


def _replay_input(info: BundleInfo, stride: int) -> dict[str, NDArray[np.float32]]:
    """Noise, not a scan: a model can be handed on without anybody's picture in it."""
    random = np.random.default_rng(0)
    side = _REPLAY_SIDE * stride
    inputs = {"image": random.random((1, side, side, len(info.channels)), dtype=np.float32)}
    if info.guides:
        inputs["guides"] = random.integers(0, 2, (1, side, side, len(info.guides))).astype(np.float32)
    return inputs
