"""Engines: what runs the network. One small contract: a batch of inputs in, probabilities out.

OpenVINO is the fastest on CPUs and starts without Keras; Keras runs everywhere and on GPUs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle, load_bundle
from unetseg.engine_openvino import OpenVinoEngine
from unetseg.errors import BundleError, UsageError
from unetseg.network_file import check_network_file
from unetseg.storage import file_hash, local_copy

if TYPE_CHECKING:
    import keras

__all__ = ["Engine", "KerasEngine", "OpenVinoEngine", "load_network", "open_engine"]

logger = logging.getLogger(__name__)

_OPENING = threading.Lock()
"""Engines are opened, and run once, by one thread at a time: OpenVINO's bindings set up their NumPy interface at first
use, and two threads that do so at once wait for each other for ever."""

Inputs = Mapping[str, NDArray[np.float32]]

_BYTES_PER_FILTER = 20  # and pixel, of the first level: what OpenVINO takes, TensorFlow takes no less
_REPLAY_TOLERANCE = 1e-3  # of a probability: engines order their sums differently, damaged weights differ far more


class Engine(Protocol):
    """Runs a network; may be called from several threads at once.

    Attributes:
        name: as in `PredictConfig.engine`.
    """

    name: str

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

    def __init__(self, bundle: Bundle) -> None:
        from unetseg.heads import main_output

        self._model = main_output(load_network(bundle.folder))
        self.pixel_bytes = float(_BYTES_PER_FILTER * bundle.info.settings.model.width)
        # Keras builds its prediction function at the first call, which two threads must not do at once.
        self._lock = threading.Lock()

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """See `Engine`."""
        with self._lock:
            return np.asarray(self._model.predict_on_batch(dict(inputs)), dtype=np.float32)


def open_engine(folder: Path, name: str = "auto") -> Engine:
    """Open a bundle's network, once per process, and replay its test input.

    Whatever the engine, no network is opened whose ``model.keras`` holds code.

    Args:
        folder: of the bundle, also in an object store.
        name: ``openvino``, ``keras``, or ``auto``: OpenVINO where bundle and machine have it and no GPU is there.

    Raises:
        UsageError: OpenVINO is asked for but not there.
        BundleError: it is damaged, holds code, or does not reproduce its test output.
    """
    bundle = folder.absolute() / "bundle.json"
    # The digest is part of the key: another model may have taken the place of one that was opened before.
    digest = file_hash(bundle) if bundle.is_file() else ""
    with _OPENING:
        return _open_engine(folder.absolute(), name, digest)


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
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # whatever is wrong with a foreign file, it is refused in one way
            raise BundleError(f"{path}: cannot be loaded safely: {error}") from error


@lru_cache(maxsize=2)  # production and challenger
def _open_engine(folder: Path, name: str, digest: str) -> Engine:
    with local_copy(folder) as local:
        engine = _checked_engine(local, name)
    logger.info("engine %s runs %s", engine.name, folder)
    return engine


def _checked_engine(folder: Path, name: str) -> Engine:
    bundle = load_bundle(folder)
    check_network_file(folder / "model.keras")
    exported = (folder / "openvino.xml").exists() and find_spec("openvino") is not None
    if name == "openvino" and not exported:
        raise UsageError(f"predict.engine: openvino is not installed or {folder} has no openvino.xml; use keras")
    use_openvino = name == "openvino" or (name == "auto" and exported and not _gpu_is_near())
    engine: Engine = OpenVinoEngine(bundle) if use_openvino else KerasEngine(bundle)
    _replay(engine, bundle)
    if not bundle.info.exact:
        logger.warning(
            "%s: its normalisation sees whole tiles, so large scans are segmented nearly as in one piece", folder
        )
    return engine


def _replay(engine: Engine, bundle: Bundle) -> None:
    inputs, expected = bundle.replay()
    try:
        found = engine(inputs)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{bundle.folder}: its network does not take its test input ({error})") from error
    if found.shape != expected.shape or not np.allclose(found, expected, atol=_REPLAY_TOLERANCE, rtol=0):
        raise BundleError(
            f"{bundle.folder}: does not reproduce its test output with {engine.name} (allowed difference "
            f"{_REPLAY_TOLERANCE}); copy the bundle again, or use another version"
        )


def _gpu_is_near() -> bool:
    """Whether a GPU may be there, found without importing a framework."""
    return Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in {"", "-1"}
