"""The device that trains: what it is, how much memory it has, which precision it gains from, and how several share.

Only this module names backends: how a batch is spread over several GPUs is each backend's own affair.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import keras

from unetseg.errors import UsageError

__all__ = ["Device", "check_gpu", "find_device", "is_out_of_memory", "list_devices", "machine_memory", "spread"]

logger = logging.getLogger(__name__)

_QUERY: Final = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")
_USUAL_GPU_MEMORY: Final = 8 * 2**30  # bytes: what may be asked of a GPU that does not tell
_BFLOAT16_SINCE: Final = 8.0  # CUDA compute capability: Ampere
_TENSOR_CORES_SINCE: Final = 7.0  # Volta: halves float16's time; older ones do not gain
_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_OUT_OF_MEMORY: Final = ("resourceexhausted", "resource_exhausted", "outofmemory", "out of memory")


@dataclass(frozen=True)
class Device:
    """What trains.

    Attributes:
        name: for people.
        gpus: how many GPUs the backend sees; 0: the CPU trains.
        memory: bytes of one GPU, or of the machine.
        precision: Keras policy that it gains from.
    """

    name: str
    gpus: int
    memory: int
    precision: str = "float32"


def find_device() -> Device:
    """The device that Keras would use."""
    gpus = list_devices("gpu")
    if not gpus:
        return Device("CPU", 0, machine_memory())
    name, memory, capability = _ask_driver()
    return Device(name, len(gpus), memory, _precision(capability))


def check_gpu(rule: str) -> None:
    """Refuse to train on the CPU where the settings say so.

    Args:
        rule: ``train.gpu``.

    Raises:
        UsageError: a GPU is required, and Keras finds none.
    """
    if rule == "required" and not list_devices("gpu"):
        backend = keras.backend.backend()
        raise UsageError(
            f"train.gpu: required, but Keras on {backend} finds no GPU here; start it where there is one, install a "
            f"{backend} that knows this one (or set KERAS_BACKEND), or set train.gpu to preferred"
        )


def list_devices(kind: str | None = None) -> list[str]:
    """Names of what the backend can train on, the fastest kind where none is asked for.

    Args:
        kind: ``cpu`` or ``gpu``.
    """
    if keras.backend.backend() == "torch":  # of which Keras lists none
        gpus = [f"cuda:{number}" for number in range(import_module("torch").cuda.device_count())]
        return ["cpu"] if kind == "cpu" or not (gpus or kind) else gpus
    try:
        return list(keras.distribution.list_devices(kind))
    except RuntimeError:  # JAX, of a kind that is not there
        return []


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container around this process, has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, _CGROUP_LIMITS):
        text = path.read_text(encoding="ascii").strip() if path.exists() else ""
        if text.isdigit():
            memory = min(memory, int(text))
    return memory


def spread(devices: int) -> AbstractContextManager[Any]:
    """Where a model must be built and trained so that each of its batches is shared by several GPUs.

    Args:
        devices: how many; 1: the first one alone.

    Raises:
        UsageError: there are fewer, or the backend cannot.
    """
    if devices == 1:
        return nullcontext()
    found = list_devices()
    if devices > len(found):
        raise UsageError(f"train.devices: there are {len(found)} devices, found {devices}; 0 takes all")
    backend = keras.backend.backend()
    if backend not in _SPREAD:
        raise UsageError(
            f"train.devices: Keras on {backend} trains on one device, found {devices}; "
            f"set KERAS_BACKEND to {' or '.join(_SPREAD)}, or train.devices to 1"
        )
    return _SPREAD[backend](found[:devices])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had too little memory for a step; each backend has an error of its own for that."""
    if isinstance(error, MemoryError):
        return True
    text = f"{type(error).__name__} {error}".lower()
    return any(sign in text for sign in _OUT_OF_MEMORY)


# --------------------------------------------------------------------------- what only some machines have


def _ask_driver() -> tuple[str, int, float]:
    """Name, bytes of memory and compute capability of the first GPU; usual ones where the driver does not say."""
    try:
        answer = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True).stdout
        name, mebibytes, capability = (part.strip() for part in answer.splitlines()[0].split(","))
        return name, int(mebibytes) * 2**20, float(capability)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        logger.info("the GPU does not tell its memory: %d GB are assumed", _USUAL_GPU_MEMORY // 2**30)
        return "GPU", _USUAL_GPU_MEMORY, 0.0


def _precision(capability: float) -> str:
    if capability >= _BFLOAT16_SINCE:
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= _TENSOR_CORES_SINCE else "float32"


def _spread_jax(names: list[str]) -> AbstractContextManager[Any]:
    scope: AbstractContextManager[Any] = keras.distribution.DataParallel(devices=names).scope()
    return scope


def _spread_tensorflow(names: list[str]) -> AbstractContextManager[Any]:
    import tensorflow

    scope: AbstractContextManager[Any] = tensorflow.distribute.MirroredStrategy(names).scope()
    return scope


_SPREAD: Final[dict[str, Callable[[list[str]], AbstractContextManager[Any]]]] = {
    "jax": _spread_jax,
    "tensorflow": _spread_tensorflow,
}
