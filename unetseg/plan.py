"""What is chosen from the data and the machine where the settings leave it open, each choice with its reason.

A setting of 0 (or ``auto``) means: choose. The rules follow nnU-Net's: a patch as large as scans and device allow, a
network as deep as the patch allows, a batch that the memory holds. What somebody has set is kept, and the rest is
chosen to fit it.

Reference:
    Isensee et al. (2021). nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation.
    https://doi.org/10.1038/s41592-020-01008-z
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from unetseg.config import Settings
from unetseg.errors import UsageError
from unetseg.tiling import padded_size

if TYPE_CHECKING:
    from unetseg.devices import Device

__all__ = ["Plan", "make_plan", "patch_shape", "planned_depth", "planned_width"]

_LOWEST_SIDE: Final = 16  # pixels of the lowest features along the shorter side: fewer and they are mostly padding
_DEPTHS: Final = (1, 5)
_USUAL_SIDE: Final = 256
_WIDTHS: Final = {False: 16, True: 32}  # without and with a GPU
_PATCHES: Final = {False: 256, True: 512}  # pixels; larger ones teach little more and cost four times as much

# Bytes that training keeps per patch pixel and filter of the first level, in float32: about 30 arrays of that size over
# all levels, forward and backward. TensorFlow on a CPU grew by 108 with the batch. Mixed precision takes half of it.
_BYTES_PER_FILTER: Final = 130
_MEMORY_SHARE: Final = 0.5  # of the device: the rest is for scans held in memory, workspaces and other programs
_BATCHES: Final = (2, 8)  # normalisation over a batch wants two; more than eight slow an epoch's learning down
_SMALLEST_PATCH: Final = 64

# Of an epoch, without and with a GPU: fewer would spend the time on validation, more would be lost to a kill.
_STEPS: Final = {False: (50, 60), True: (50, 250)}
_PASSES: Final = 60  # over the training pixels
_ALL_STEPS: Final = (3_000, 25_000)


@dataclass(frozen=True)
class Plan:
    """Settings without gaps.

    Attributes:
        settings: with every 0 and ``auto`` of `model` and `train` replaced.
        shape: height and width of the patches in pixels.
        reasons: why, by setting, such as ``train.batch``; only of what was chosen here.
    """

    settings: Settings
    shape: tuple[int, int]
    reasons: Mapping[str, str]

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen and why, by setting: ``{"train.batch": "8: half of the memory ..."}``."""
        return {name: f"{self._value(name)}: {reason}" for name, reason in self.reasons.items()}

    def _value(self, name: str) -> object:
        section, field = name.split(".")
        return getattr(getattr(self.settings, section), field)


def make_plan(settings: Settings, shapes: Sequence[tuple[int, int]], device: Device) -> Plan:
    """Fill the gaps of the settings.

    Args:
        settings: of the project.
        shapes: height and width of each training scan in pixels.
        device: that trains.
    """
    draft = _Draft(settings, shapes, device)
    for choose in (_precision, _devices, _width, _patch, _depth, _smaller_patch, _batch, _steps, _epochs):
        choose(draft)
    return Plan(draft.settings, draft.shape, draft.reasons)


def planned_depth(side: int | None) -> int:
    """How often an encoder halves patches of this side: 2 for 64 pixels, 3 for 128, 4 for 256, 5 from 512 on.

    Args:
        side: the shorter one, in pixels; None where it varies: 256.
    """
    halvings = ((side or _USUAL_SIDE) // _LOWEST_SIDE).bit_length() - 1
    return min(max(halvings, _DEPTHS[0]), _DEPTHS[1])


def planned_width(*, gpu: bool) -> int:
    """Filters of the first level."""
    return _WIDTHS[gpu]


def patch_shape(shapes: Sequence[tuple[int, int]], patch: int, stride: int) -> tuple[int, int]:
    """Height and width of patches: at most ``patch``, no larger than the median scan, multiples of the stride."""
    sides = [int(np.median([shape[axis] for shape in shapes])) for axis in (0, 1)]
    largest = max(patch // stride * stride, stride)
    height, width = (min(largest, padded_size(side, stride)) for side in sides)
    return height, width


# --------------------------------------------------------------------------- one choice each


class _Draft:
    """The settings while they are being filled."""

    def __init__(self, settings: Settings, shapes: Sequence[tuple[int, int]], device: Device) -> None:
        self.settings, self.shapes, self.device = settings, shapes, device
        self.reasons: dict[str, str] = {}

    def set(self, name: str, value: object, reason: str) -> None:
        section, field = name.split(".")
        changed = replace(getattr(self.settings, section), **{field: value})
        self.settings = replace(self.settings, **{section: changed})
        self.reasons[name] = reason

    @property
    def gpu(self) -> bool:
        return self.device.gpus > 0

    @property
    def shape(self) -> tuple[int, int]:
        """Of the patches; before depth is chosen, as if any size were fine."""
        return patch_shape(self.shapes, self.settings.train.patch, 2**self.settings.model.depth)

    @property
    def fits(self) -> int:
        """How many patches a training step may hold."""
        patch = math.prod(self.shape) * _pixel_bytes(self.settings)
        return int(_MEMORY_SHARE * self.device.memory / patch)

    @property
    def steps_per_pass(self) -> int:
        """Batches that hold as many pixels as the training scans do."""
        pixels = sum(height * width for height, width in self.shapes)
        return math.ceil(pixels / (self.settings.train.batch * math.prod(self.shape)))


def _precision(draft: _Draft) -> None:
    if draft.settings.train.precision == "auto":
        name = draft.device.name
        why = f"{name} gains from it" if draft.device.precision != "float32" else f"{name} gains nothing from less"
        draft.set("train.precision", draft.device.precision, why)


def _devices(draft: _Draft) -> None:
    if draft.settings.train.devices == 0:
        draft.set("train.devices", max(draft.device.gpus, 1), f"GPUs that are there: {draft.device.gpus}")


def _patch(draft: _Draft) -> None:
    if draft.settings.train.patch:
        return
    height, width = (int(np.median([shape[axis] for shape in draft.shapes])) for axis in (0, 1))
    largest = _PATCHES[draft.gpu]
    draft.set(
        "train.patch",
        min(largest, max(height, width, 16)),
        f"the median scan is {height} x {width}, and {draft.device.name} gets at most {largest}",
    )


def _depth(draft: _Draft) -> None:
    if draft.settings.model.depth:
        return
    side = min(draft.shape)
    depth = planned_depth(side)
    why = f"{side} pixels, the shorter side of patches, halved {depth} times, leave {side // 2**depth}"
    draft.set("model.depth", depth, why)


def _width(draft: _Draft) -> None:
    if draft.settings.model.width == 0:
        draft.set("model.width", planned_width(gpu=draft.gpu), f"what {draft.device.name} trains in reasonable time")


def _smaller_patch(draft: _Draft) -> None:
    """Where not even two of the chosen patches fit into memory: a batch of one normalises badly."""
    while draft.fits < _BATCHES[0] and "train.patch" in draft.reasons:
        patch = draft.settings.train.patch // 2
        if patch < _SMALLEST_PATCH:
            return
        draft.set("train.patch", patch, f"two patches of {2 * patch} do not fit into {_gigabytes(draft.device)}")
        if "model.depth" in draft.reasons:
            draft.set("model.depth", 0, "")
            _depth(draft)


def _batch(draft: _Draft) -> None:
    train = draft.settings.train
    if train.batch % train.devices:
        raise UsageError(
            f"train.batch: must be a multiple of train.devices ({train.devices}), which share it, found {train.batch}"
        )
    if train.batch:
        return
    fits = draft.fits
    batch = 2 ** (max(min(fits, _BATCHES[1]), _BATCHES[0]).bit_length() - 1) * train.devices
    why = f"{_MEMORY_SHARE:.0%} of {_gigabytes(draft.device)} hold about {fits} patches, {_BATCHES[1]} are enough"
    draft.set("train.batch", batch, why + (f" for each of {train.devices} devices" if train.devices > 1 else ""))


def _gigabytes(device: Device) -> str:
    return f"{device.memory / 2**30:.0f} GB"


def _pixel_bytes(settings: Settings) -> float:
    half = settings.train.precision != "float32"
    return settings.model.width * _BYTES_PER_FILTER * (0.5 if half else 1.0)


def _steps(draft: _Draft) -> None:
    if draft.settings.train.steps_per_epoch:
        return
    low, high = _STEPS[draft.gpu]
    steps = min(max(draft.steps_per_pass, low), high)
    why = f"{draft.steps_per_pass} see every training pixel about once; at least {low}, at most {high}"
    draft.set("train.steps_per_epoch", steps, why)


def _epochs(draft: _Draft) -> None:
    if draft.settings.train.epochs:
        return
    wanted = min(max(_PASSES * draft.steps_per_pass, _ALL_STEPS[0]), _ALL_STEPS[1])
    epochs = math.ceil(wanted / draft.settings.train.steps_per_epoch)
    limit = draft.settings.train.max_minutes
    why = f"{wanted} steps in all: {_PASSES} passes, at least {_ALL_STEPS[0]}, at most {_ALL_STEPS[1]}"
    draft.set("train.epochs", epochs, why + (f"; train.max_minutes={limit:g} may end it before" if limit else ""))
