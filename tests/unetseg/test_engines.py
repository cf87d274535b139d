"""Engines under several threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg import engine_openvino
from unetseg.bundle import BundleInfo, load_bundle, save_bundle
from unetseg.config import ModelConfig, Settings
from unetseg.engine_openvino import OpenVinoEngine
from unetseg.engines import KerasEngine
from unetseg.model import build_unet
from unetseg.share import sharing

_OPEN_IN_THREADS = """
import sys, threading
from pathlib import Path
from unetseg.engines import open_engine
from unetseg.share import sharing
start, engines = threading.Barrier(8), []
def work():
    start.wait()
    engines.append(open_engine(Path(sys.argv[1]), "openvino"))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(engines), len(set(map(id, engines))))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = build_unet(ModelConfig(depth=1, width=2), classes=1)
    info = BundleInfo(("a",), (), ("grey",), Settings(), None, "d", "t", 0.5, {})
    return save_bundle(tmp_path_factory.mktemp("models"), model, info)


def test_threads_that_open_at_once_share_one_engine_and_none_waits_for_ever(bundle: Path):
    # A fresh process, since it is the first use of OpenVINO in a process that could dead-lock.
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _OPEN_IN_THREADS, bundle], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == ["8", "1"]


def scan(side: int) -> dict[str, NDArray[np.float32]]:
    return {"image": np.random.default_rng(side).random((1, side, side, 1)).astype(np.float32)}


def test_sizes_that_come_again_are_compiled_for_and_give_the_same(bundle: Path):
    engine = OpenVinoEngine(load_bundle(bundle))
    first = {side: engine(scan(side)) for side in (32, 48)}
    assert len(engine._compiled) == 1
    for side, found in first.items():
        np.testing.assert_allclose(engine(scan(side)), found, atol=1e-6)
    assert len(engine._compiled) == 3


def test_one_of_several_processes_takes_no_more_threads_than_its_share(bundle: Path):
    alone = OpenVinoEngine(load_bundle(bundle))
    with sharing(1, processes=2):
        engine = OpenVinoEngine(load_bundle(bundle))
        shared = [engine(scan(32)) for _ in range(2)]  # of any size, and compiled for this one
    threads = [compiled.network.get_property("INFERENCE_NUM_THREADS") for compiled in engine._compiled.values()]
    assert threads == [1, 1]
    for found in shared:
        np.testing.assert_allclose(found, alone(scan(32)), atol=1e-6)


def test_no_more_sizes_are_kept_than_wanted_and_any_size_still_works(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_openvino, "_LARGE", 48**2)
    engine = OpenVinoEngine(load_bundle(bundle))
    keras = KerasEngine(load_bundle(bundle))
    for side in (16, 24, 32, 48, 56, 40, 64, 16, 24, 32, 40):
        np.testing.assert_allclose(engine(scan(side)), keras(scan(side)), atol=1e-5)
    assert len(engine._compiled) == engine_openvino._SIZES_COMPILED
    for side in (48, 56, 64):  # each compiled for at once, and the one before forgotten
        engine(scan(side))
        assert [shapes for shapes in engine._compiled if engine_openvino._is_large(shapes)] == [((1, side, side, 1),)]


def test_threads_that_share_an_engine_get_each_their_own(bundle: Path):
    engine = OpenVinoEngine(load_bundle(bundle))
    sides = [16, 24, 32] * 8
    expected = {side: engine(scan(side)) for side in set(sides)}
    with ThreadPoolExecutor(4) as executor:
        for side, found in zip(sides, executor.map(lambda side: engine(scan(side)), sides), strict=True):
            np.testing.assert_allclose(found, expected[side], atol=1e-6)


def test_memory_per_pixel_is_that_of_the_tensors_alive_at_once(bundle: Path):
    """One level of two filters: at most, in single precision, skip, upsampled and both joined are alive."""
    found = OpenVinoEngine(load_bundle(bundle)).pixel_bytes
    assert 4 * 6 <= found <= 4 * 24
