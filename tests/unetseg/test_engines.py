"""Engines under several threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from unetseg.bundle import BundleInfo, save_bundle
from unetseg.config import ModelConfig, Settings
from unetseg.model import build_unet

_OPEN_IN_THREADS = """
import sys, threading
from pathlib import Path
from unetseg.engines import open_engine
start, engines = threading.Barrier(8), []
def work():
    start.wait()
    engines.append(open_engine(Path(sys.argv[1]), "openvino"))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(engines), len(set(map(id, engines))))
"""


def test_threads_that_open_at_once_share_one_engine_and_none_waits_for_ever(tmp_path: Path):
    model = build_unet(ModelConfig(depth=1, width=2), classes=1)
    folder = save_bundle(tmp_path, model, BundleInfo(("a",), (), ("grey",), Settings(), None, "d", "t", 0.5, {}))
    # A fresh process, since it is the first use of OpenVINO in a process that could dead-lock.
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _OPEN_IN_THREADS, folder], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == ["8", "1"]
