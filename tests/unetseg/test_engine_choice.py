"""Which engine `auto` takes: by what is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unetseg import engine_choice, engines
from unetseg.bundle import BundleInfo, load_bundle, save_bundle
from unetseg.config import ModelConfig, Settings
from unetseg.engine_choice import gpu_is_near
from unetseg.engines import _checked_engine
from unetseg.model import build_unet


@pytest.mark.parametrize(
    ("files", "visible", "near"),
    [
        pytest.param(["null", "nvidiactl", "nvidia-uvm"], None, False, id="driver-but-no-card"),
        pytest.param(["nvidia0", "nvidiactl"], None, True, id="first-card"),
        pytest.param(["nvidia3", "nvidiactl"], None, True, id="fourth-card-of-a-container"),
        pytest.param(["nvidia0"], "-1", False, id="hidden"),
        pytest.param(["nvidia0"], "", False, id="none-visible"),
        pytest.param(["nvidia0", "nvidia1"], "1", True, id="second-visible"),
    ],
)
def test_a_gpu_is_there_where_a_card_is_and_may_be_used(
    files: list[str], visible: str | None, near: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(engine_choice, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_is_near() is near


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = build_unet(ModelConfig(depth=1, width=2), classes=1)
    info = BundleInfo(("a",), (), ("grey",), Settings(), None, "d", "t", 0.5, {})
    return save_bundle(tmp_path_factory.mktemp("models"), model, info)


@pytest.mark.parametrize(
    ("near", "usable", "exported", "engine"),
    [
        pytest.param(False, False, True, "openvino", id="processor"),
        pytest.param(True, True, True, "keras", id="gpu"),
        pytest.param(True, False, True, "openvino", id="gpu-that-keras-cannot-use"),
        pytest.param(False, False, False, "keras", id="nothing-exported"),
        pytest.param(True, False, False, "keras", id="gpu-unusable-nothing-exported"),
    ],
)
def test_auto_takes_what_is_fastest_there(
    near: bool, usable: bool, exported: bool, engine: str, bundle: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    monkeypatch.setattr(engine_choice, "gpu_is_near", lambda: near)
    monkeypatch.setattr(engines, "keras_sees_gpu", lambda: usable)
    monkeypatch.setattr(engines, "load_bundle", lambda _: load_bundle(bundle))
    shutil.copy(bundle / "model.keras", tmp_path)
    if exported:
        (tmp_path / "openvino.xml").touch()
    assert _checked_engine(tmp_path, "auto", "float32").name == engine
    assert ("there is a GPU" in caplog.text) == (near and engine == "openvino")
