"""The network of a bundle for OpenVINO: the fastest on CPUs, and prediction then starts without Keras."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__all__ = ["export_openvino", "silence_openvino"]

logger = logging.getLogger(__name__)

_EXPORT = """
import sys, keras
sys.modules["openvino_telemetry"] = None
model = keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)
model.export(sys.argv[2], format="openvino", verbose=False)
"""


def export_openvino(model: keras.Model, path: Path) -> None:
    """Convert a network once, where Keras is loaded; where that cannot be done, say so and leave no file.

    Args:
        model: in float32, with one output.
        path: of the ``.xml`` file; the weights go beside it, as ``.bin``.
    """
    import keras

    if find_spec("openvino") is None:
        logger.warning("OpenVINO is not installed: the bundle will predict with Keras only")
    elif keras.backend.backend() == "tensorflow":
        silence_openvino()
        model.export(str(path), format="openvino", verbose=False)
    else:
        _export_by_tensorflow(model, path)


def silence_openvino() -> None:
    """Before OpenVINO is imported: it tells its maker of each use, from forked processes, which JAX does not bear."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: cannot be imported


def _export_by_tensorflow(model: keras.Model, path: Path) -> None:
    """Have another process convert: other backends export one size of picture only, or nothing at all."""
    # A GPU, which this process may hold, is not needed for it.
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "model.keras"
        model.save(network)
        command = [sys.executable, "-c", _EXPORT, str(network), str(Path(folder) / path.name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            logger.warning("TensorFlow cannot convert it, so the bundle will predict with Keras only: %s", reason)
            return
        for suffix in (".xml", ".bin"):
            shutil.copyfile((Path(folder) / path.name).with_suffix(suffix), path.with_suffix(suffix))
