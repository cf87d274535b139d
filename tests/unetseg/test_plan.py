"""What is chosen where the settings leave it open."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from pydantic import TypeAdapter

from unetseg.config import ModelConfig, Settings, TrainConfig, to_plain
from unetseg.devices import Device
from unetseg.errors import UsageError
from unetseg.plan import Plan, make_plan, patch_shape, planned_depth, planned_width

GB = 2**30
CPU = Device("CPU", 0, 24 * GB)
GPU = Device("GPU of a test", 1, 80 * GB, "mixed_bfloat16")
SCANS = [(1000, 1200)] * 20


def test_nothing_is_left_open_and_each_choice_has_its_reason():
    plan = make_plan(Settings(), SCANS, CPU)
    assert set(plan.reasons) == {
        *("model.depth", "model.width"),
        *("train.patch", "train.batch", "train.steps_per_epoch", "train.epochs", "train.precision"),
    }
    assert plan.settings.model.depth == 4
    assert plan.settings.model.width == 16
    assert plan.settings.train.patch == 256
    assert plan.settings.train.batch == 8
    assert plan.settings.train.precision == "float32"
    assert plan.shape == (256, 256)
    assert plan.reasons["train.patch"] == "the median scan is 1000 x 1200, and CPU gets at most 256"


def test_what_is_set_is_kept_and_the_rest_fits_it():
    chosen = Settings(model=ModelConfig(width=24), train=TrainConfig(patch=128, epochs=7, precision="mixed_float16"))
    plan = make_plan(chosen, SCANS, CPU)
    assert plan.settings.model == ModelConfig(width=24, depth=3)
    assert plan.settings.train.epochs == 7
    assert plan.settings.train.patch == 128
    assert plan.settings.train.precision == "mixed_float16"
    assert plan.shape == (128, 128)
    assert not {"model.width", "train.patch", "train.epochs", "train.precision"} & set(plan.reasons)


def test_a_plan_of_settings_without_gaps_changes_nothing():
    once = make_plan(Settings(), SCANS, CPU)
    again = make_plan(once.settings, SCANS, GPU)
    assert again.settings == once.settings
    assert again.reasons == {}


def test_a_gpu_gets_larger_patches_wider_networks_and_its_precision():
    plan = make_plan(Settings(), SCANS, GPU)
    assert (plan.settings.train.patch, plan.settings.model.depth, plan.settings.model.width) == (512, 5, 32)
    assert plan.settings.train.precision == "mixed_bfloat16"


def test_patches_are_no_larger_than_the_median_scan():
    plan = make_plan(Settings(), [(60, 100), (64, 100), (900, 100)], CPU)
    assert plan.settings.train.patch == 100
    assert plan.settings.model.depth == planned_depth(64)
    assert plan.shape == (64, 100)


@pytest.mark.parametrize(("memory", "batch"), [(24 * GB, 8), (1 * GB, 2), (2 * GB, 4)])
def test_the_batch_is_what_half_of_the_memory_holds(memory: int, batch: int):
    # By hand: 256 * 256 pixels * 16 filters * 130 bytes = 136 MB a patch.
    assert make_plan(Settings(), SCANS, Device("CPU", 0, memory)).settings.train.batch == batch


def test_patches_shrink_where_two_of_them_do_not_fit():
    plan = make_plan(Settings(), SCANS, Device("CPU", 0, GB // 4))
    assert plan.settings.train.patch == 128
    assert plan.settings.model.depth == 3
    assert plan.settings.train.batch == 2
    assert "two patches of 256 do not fit" in plan.reasons["train.patch"]


def test_a_batch_that_devices_cannot_share_evenly_is_refused():
    with pytest.raises(UsageError, match=r"train.batch: must be a multiple of train.devices \(2\).*, found 3"):
        make_plan(Settings(train=TrainConfig(devices=2, batch=3)), SCANS, CPU)


def test_a_smaller_patch_of_long_scans_still_leaves_sixteen_pixels():
    plan = make_plan(Settings(), [(40, 600)] * 5, Device("CPU", 0, GB // 64))
    assert plan.shape[1] < 256
    assert min(plan.shape) // 2**plan.settings.model.depth >= 16


def test_all_devices_share_a_batch():
    several = Device("GPU of a test", 4, 80 * GB, "mixed_bfloat16")
    plan = make_plan(Settings(train=TrainConfig(devices=0)), SCANS, several)
    assert plan.settings.train.devices == 4
    assert plan.settings.train.batch == 32


@pytest.mark.parametrize(
    ("scans", "device", "steps", "all_steps"),
    [
        (1, CPU, 50, 3_000),  # 19 patches' worth, 3 batches a pass: the least there is
        (1000, GPU, 250, 25_000),  # 572 batches of 8 patches of 512 pixels a pass: the most there is
        (100, GPU, 58, 60 * 58),
    ],
)
def test_steps_follow_the_pixels_within_limits(scans: int, device: Device, steps: int, all_steps: int):
    train = make_plan(Settings(), [(1000, 1200)] * scans, device).settings.train
    assert train.steps_per_epoch == steps
    assert steps * (train.epochs - 1) < all_steps <= steps * train.epochs


def test_depth_leaves_sixteen_pixels():
    assert [planned_depth(side) for side in (16, 32, 64, 128, 255, 256, 512, 4096)] == [1, 1, 2, 3, 3, 4, 5, 5]
    assert planned_depth(None) == planned_depth(256)
    assert planned_width(gpu=False) < planned_width(gpu=True)


def test_patches_fit_the_stride():
    assert patch_shape([(80, 112)], 64, 16) == (64, 64)
    assert patch_shape([(80, 112)], 100, 16) == (80, 96)
    assert patch_shape([(80, 112)], 512, 32) == (96, 128)


def test_a_plan_survives_json():
    plan = make_plan(Settings(), SCANS, CPU)
    assert TypeAdapter(Plan).validate_python(json.loads(json.dumps(to_plain(plan)))) == plan


def test_each_number_of_0_in_model_and_train_that_means_choose_is_chosen():
    defaults = Settings()
    open_ended = {
        f"{section}.{item.name}"
        for section in ("model", "train")
        for item in fields(getattr(defaults, section))
        if getattr(getattr(defaults, section), item.name) in (0, "auto")
    }
    meant_as_zero = {"model.attention", "model.fusion", "train.ema", "train.warm_start", "train.seed"}
    assert open_ended - meant_as_zero == set(make_plan(defaults, SCANS, CPU).reasons)
