"""Engines: what runs the network. One small contract: a batch of inputs in, probabilities out.

OpenVINO is the fastest on CPUs and starts without Keras; Keras runs everywhere and on GPUs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle, load_bundle
from unetseg.config import PredictConfig
from unetseg.engine_choice import Precision, has_bfloat16, has_openvino, keras_sees_gpu, settled, uses_openvino
from unetseg.engine_openvino import OpenVinoEngine
from unetseg.errors import BundleError
from unetseg.flips import Flipped
from unetseg.memory import pixel_bytes
from unetseg.network_file import check_network_file, check_network_weights
from unetseg.storage import file_hash, local_copy

if TYPE_CHECKING:
    import keras

__all__ = ["Engine", "KerasEngine", "engine_for", "load_network", "open_engine"]

logger = logging.getLogger(__name__)

_OPENING = threading.Lock()
"""Engines are opened, and run once, by one thread at a time: OpenVINO's bindings set up their NumPy interface at first
use, and two threads that do so at once wait for each other for ever."""

Inputs = Mapping[str, NDArray[np.float32]]

# Of a probability: engines order their sums differently, damaged weights differ far more.
_MOST_OFF = 1e-3  # of any pixel, in float32
_EMULATED = "this processor has no bfloat16 and emulates it, which takes longer than predict.precision=float32"
_NOT_EVEN_EMULATED = (
    "this processor has no bfloat16 and cannot emulate it: OpenVINO calculates in float32, as with "
    "predict.precision=float32; predict.engine=keras calculates in bfloat16 here"
)
_MEAN_OFF = 0.02  # in bfloat16, in which trained networks differ by 0.002, and single pixels by 0.05
_HEADS = ("head", "crop", "softmax", "probabilities")  # how the names of layers begin that stay in float32


class Engine(Protocol):
    """Runs a network; may be called from several threads at once.

    Attributes:
        name: as in `PredictConfig.engine`.
        precision: of the network's sums.
    """

    name: str
    precision: Precision

    @property
    def pixel_bytes(self) -> float:
        """Memory that a call takes, about, per pixel."""
        ...

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Probabilities of a batch.

        Args:
            inputs: ``image`` ``(N, H, W, C)`` and, where the model has guides, ``guides`` ``(N, H, W, G)``; H and W
                are multiples of the model's stride.

        Returns:
            ``(N, H, W, K)`` in [0, 1].
        """
        ...


class KerasEngine:
    """The network as Keras loads it, in safe mode."""

    name = "keras"

    def __init__(self, bundle: Bundle, precision: Precision = "float32") -> None:
        from unetseg.heads import main_output

        model = main_output(load_network(bundle.folder))
        self._model = model if precision == "float32" else _in_bfloat16(model)
        self.precision = precision
        self.pixel_bytes = pixel_bytes(bundle.info.settings.model)
        # Keras builds its prediction function at the first call, which two threads must not do at once.
        self._lock = threading.Lock()

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """See `Engine`."""
        with self._lock:
            return np.asarray(self._model.predict_on_batch(dict(inputs)), dtype=np.float32)


def engine_for(folder: Path, config: PredictConfig) -> Engine:
    """What runs a bundle's network as the settings of prediction say: engine, precision and flips.

    Args:
        folder: of the bundle, also in an object store.
        config: the settings.

    Raises:
        UsageError, BundleError: as `open_engine`.
    """
    precision: Any = settled(config, folder).precision  # no longer auto
    engine = open_engine(folder, config.engine, precision=precision)
    return engine if config.flips == "none" else Flipped(engine, config.flips)


def open_engine(folder: Path, name: str = "auto", *, precision: Precision = "float32") -> Engine:
    """Open a bundle's network, once per process, and replay its test input.

    Whatever the engine, no network is opened whose ``model.keras`` holds code.

    Args:
        folder: of the bundle, also in an object store.
        name: ``openvino``, ``keras``, or ``auto``: OpenVINO where bundle and machine have it and there is no GPU that
            Keras can use.
        precision: of the network's sums.

    Raises:
        UsageError: OpenVINO is asked for but not there.
        BundleError: it is damaged, holds code, or does not reproduce its test output.
    """
    bundle = folder.absolute() / "bundle.json"
    # The digest is part of the key: another model may have taken the place of one that was opened before.
    digest = file_hash(bundle) if bundle.is_file() else ""
    with _OPENING:
        return _open_engine(folder.absolute(), name, digest, precision)


def load_network(folder: Path) -> keras.Model:
    """The network of a bundle as Keras loads it in safe mode, which runs no code of strangers; not compiled.

    Args:
        folder: of the bundle.

    Raises:
        BundleError: it holds code, or cannot be loaded so.
    """
    import keras

    with local_copy(folder / "model.keras") as path:
        check_network_file(path)
        check_network_weights(path)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # whatever is wrong with a foreign file, it is refused in one way
            raise BundleError(f"{path}: cannot be loaded safely: {error}") from error


@lru_cache(maxsize=2)  # production and challenger
def _open_engine(folder: Path, name: str, digest: str, precision: Precision) -> Engine:
    with local_copy(folder) as local:
        engine = _checked_engine(local, name, precision)
    logger.info("engine %s runs %s%s", engine.name, folder, "" if precision == "float32" else f" in {precision}")
    return engine


def _checked_engine(folder: Path, name: str, precision: Precision) -> Engine:
    bundle = load_bundle(folder)
    check_network_file(folder / "model.keras")
    on_cpu = uses_openvino(folder, name) or _only_openvino_gains(folder, name)
    engine: Engine = (OpenVinoEngine if on_cpu else KerasEngine)(bundle, precision)
    _replay(engine, bundle)
    if isinstance(engine, OpenVinoEngine) and precision == "bfloat16" and not has_bfloat16():
        logger.warning(_EMULATED if engine.emulates_bfloat16 else _NOT_EVEN_EMULATED)
    if not bundle.info.exact:
        logger.warning(
            "%s: its normalisation sees whole tiles, so scans that do not fit into one are segmented in tiles that "
            "overlap and are blended: nearly as in one piece, in up to four times the time",
            folder,
        )
    return engine


def _only_openvino_gains(folder: Path, name: str) -> bool:
    """Whether a GPU is there that Keras cannot use, while OpenVINO could use the processor."""
    if name != "auto" or not has_openvino(folder) or keras_sees_gpu():
        return False
    logger.warning("there is a GPU, which Keras on %s cannot use: OpenVINO runs on the processor", _backend())
    return True


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


def _replay(engine: Engine, bundle: Bundle) -> None:
    inputs, expected = bundle.replay()
    try:
        found = engine(inputs)
    except Exception as error:  # each backend has errors of its own
        raise BundleError(f"{bundle.folder}: its network does not take its test input ({error})") from error
    if found.shape != expected.shape or not _is_close(found, expected, engine.precision):
        raise BundleError(
            f"{bundle.folder}: does not reproduce its test output with {engine.name} in {engine.precision}; copy the "
            "bundle again, or use another version"
        )


def _is_close(found: NDArray[np.float32], expected: NDArray[np.float32], precision: Precision) -> bool:
    off = np.abs(found - expected)
    return bool(off.max() <= _MOST_OFF if precision == "float32" else off.mean() <= _MEAN_OFF)


def _in_bfloat16(model: keras.Model) -> keras.Model:
    """The same weights, in layers that calculate in bfloat16 as in mixed training; the heads stay in float32."""
    import keras

    def copied(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if not isinstance(layer, keras.layers.InputLayer) and not layer.name.startswith(_HEADS):
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, clone_function=copied)
    clone.set_weights(model.get_weights())
    return clone
