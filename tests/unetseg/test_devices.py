"""The device that trains."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from unetseg import devices
from unetseg.devices import Device, find_device, is_out_of_memory, machine_memory, spread
from unetseg.errors import UsageError


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, answer: str | None) -> None:
    """Pretend that there are GPUs, and a driver that answers so; None: there is no driver to ask."""

    def run(*arguments: object, **named: object) -> subprocess.CompletedProcess[str]:
        if answer is None:
            raise FileNotFoundError("nvidia-smi")
        return subprocess.CompletedProcess([], 0, stdout=answer)

    monkeypatch.setattr(devices, "list_devices", lambda kind=None: [f"gpu:{i}" for i in range(count)])
    monkeypatch.setattr(devices.subprocess, "run", run)


def test_without_a_gpu_the_machine_trains_in_float32(monkeypatch: pytest.MonkeyPatch):
    gpus(monkeypatch, 0, None)
    assert find_device() == Device("CPU", 0, machine_memory(), "float32")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("NVIDIA H200, 143771, 9.0\n", Device("NVIDIA H200", 2, 143771 * 2**20, "mixed_bfloat16")),
        ("Tesla V100, 16160, 7.0\nTesla V100, 16160, 7.0\n", Device("Tesla V100", 2, 16160 * 2**20, "mixed_float16")),
        ("GeForce GTX 1080, 8192, 6.1\n", Device("GeForce GTX 1080", 2, 8 * 2**30, "float32")),
        ("[N/A]\n", Device("GPU", 2, 8 * 2**30, "float32")),
        (None, Device("GPU", 2, 8 * 2**30, "float32")),
    ],
    ids=["hopper", "volta", "pascal", "no numbers", "no driver"],
)
def test_a_gpu_is_what_its_driver_says(monkeypatch: pytest.MonkeyPatch, answer: str | None, expected: Device):
    gpus(monkeypatch, 2, answer)
    assert find_device() == expected


def test_memory_is_that_of_the_container_where_it_is_less(monkeypatch: pytest.MonkeyPatch, tmp_path):
    whole = machine_memory()
    (tmp_path / "limit").write_text("123456\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(devices, "_CGROUP_LIMITS", (str(tmp_path / "limit"), str(tmp_path / "none")))
    assert machine_memory() == 123456 < whole


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (ResourceExhaustedError("OOM when allocating tensor"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes."), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("shapes differ"), False),
    ],
    ids=["python", "tensorflow", "jax", "torch", "another", "no memory error"],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, expected: bool):
    assert is_out_of_memory(error) is expected


def test_more_devices_than_there_are_cannot_share_a_batch():
    with pytest.raises(UsageError, match=r"train.devices: there are \d+ devices, found 64; 0 takes all"), spread(64):
        pass


def test_a_backend_that_cannot_share_a_batch_says_which_can(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "list_devices", lambda kind=None: ["gpu:0", "gpu:1"])
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UsageError, match="torch trains on one device, found 2; set KERAS_BACKEND to jax or tensorflow"):
        spread(2)


_SHARED = """
import keras, numpy as np
from unetseg.config import LossConfig, ModelConfig, TrainConfig
from unetseg.dataset import Planes
from unetseg.devices import spread
from unetseg.fitting import compile_model
from unetseg.model import build_unet
from unetseg.probes import Probe

image = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
masks, guides = (image > 0.5).astype(np.int8), np.zeros((8, 8, 0), np.uint8)
for devices in (1, 2):
    keras.utils.set_random_seed(0)
    config = TrainConfig(batch=2, devices=devices, learning_rate=0.01)
    with spread(devices):
        model = build_unet(ModelConfig(depth=1, width=2))
        compile_model(model, config, LossConfig(), [1.0])
        losses = model.fit({"image": image}, masks, batch_size=2, epochs=2, shuffle=False, verbose=0).history["loss"]
        score = Probe(model, config)([Planes(image[i], guides, masks[i]) for i in range(3)]).monitored
    print(len(model.trainable_variables[0].value.sharding.device_set), *losses, score)
"""


def test_devices_that_share_batches_learn_and_score_what_one_does():
    # Two devices that JAX makes of one processor; 3 patches cannot be shared evenly.
    if find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    more = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", _SHARED], env=os.environ | more, capture_output=True, text=True, timeout=600, check=True
    )
    (one, *alone), (two, *shared) = ([float(text) for text in line.split()] for line in done.stdout.splitlines())
    assert (one, two) == (1, 2)
    np.testing.assert_allclose(shared, alone, rtol=1e-4)
