"""Which engine runs a network here, and in which precision: found without importing a framework."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from unetseg.config import PredictConfig
from unetseg.errors import UsageError

__all__ = ["Precision", "gpu_is_near", "has_bfloat16", "has_openvino", "keras_sees_gpu", "settled", "uses_openvino"]

Precision = Literal["float32", "bfloat16"]

_DEVICES: Final = Path("/dev")
_PROCESSOR: Final = Path("/proc/cpuinfo")
_HAS_BFLOAT16: Final = "avx512_bf16"  # the flag without which OpenVINO emulates it, which takes six times as long


def settled(config: PredictConfig, folder: Path) -> PredictConfig:
    """The settings with the precision that the network runs in on this machine, in place of ``auto``.

    Whoever starts a prediction settles it, once, so that all processes of a cluster do the same, whatever processors
    they have, and what is recorded is what was done.

    Args:
        config: the settings.
        folder: of the bundle.
    """
    if config.precision != "auto":
        return config
    half = has_bfloat16() and uses_openvino(folder, config.engine)
    return replace(config, precision="bfloat16" if half else "float32")


def uses_openvino(folder: Path, name: str) -> bool:
    """Whether OpenVINO runs a bundle here: where both have it, and no GPU is there or it is asked for.

    Args:
        folder: of the bundle.
        name: ``openvino``, ``keras`` or ``auto``.

    Raises:
        UsageError: OpenVINO is asked for but not there.
    """
    exported = has_openvino(folder)
    if name == "openvino" and not exported:
        raise UsageError(f"predict.engine: openvino is not installed or {folder} has no openvino.xml; use keras")
    return name == "openvino" or (name == "auto" and exported and not gpu_is_near())


def has_openvino(folder: Path) -> bool:
    """Whether bundle and machine have what OpenVINO needs."""
    return (folder / "openvino.xml").exists() and find_spec("openvino") is not None


def gpu_is_near() -> bool:
    """Whether an NVIDIA GPU may be there: a container may have got any of a machine's."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}
    return not hidden and any(_DEVICES.glob("nvidia[0-9]*"))


def keras_sees_gpu() -> bool:
    """Whether Keras can use a GPU, for which it is imported: the package for CPUs cannot, whatever the machine has."""
    from unetseg.devices import list_devices

    return bool(list_devices("gpu"))


def has_bfloat16() -> bool:
    """Whether this processor calculates in bfloat16; False where the system does not say."""
    try:
        return _HAS_BFLOAT16 in _PROCESSOR.read_text().split()
    except OSError:
        return False
