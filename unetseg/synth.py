"""Synthetic eyes: scans with overlapping masks, rare pupils and much that looks like a pupil.

For demonstrations, benchmarks and tests: the truth is known to the pixel, and the files lie as a user would have them::

    scans/s01_1.tif          subject 01, scan 1: the subject is the group that must not be torn between splits
    masks/sclera/s01_1.tif   the visible eye opening; contains iris and pupil
    masks/iris/s01_1.tif     the visible iris; contains the pupil
    masks/pupil/s01_1.tif    the visible pupil, under 2 % of all pixels
    guides/...               rough hints that a network may get as extra inputs

Lids hide what lies behind them, and hidden parts are in no mask. Single lashes are not subtracted and reflections
belong to what they lie on: nobody annotates hairs one by one. Brows, moles, hair and shadows are as dark as pupils;
skin is as bright as the sclera where it shines; make-up has the colours of irises: no threshold and no colour rule
works.

What is in a scene is drawn in `unetseg.synth_scene`, and painted and photographed in `unetseg.synth_paint`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetseg.errors import UsageError
from unetseg.synth_paint import paint_scene, photograph
from unetseg.synth_scene import (
    REFERENCE_SIZE,
    Booleans,
    draw_grid,
    draw_pose,
    draw_region,
    draw_spots,
    draw_subject,
    signed_distances,
)

__all__ = ["CLASS_NAMES", "GUIDE_NAMES", "Eye", "EyeFolders", "draw_eye", "write_eyes"]

CLASS_NAMES = ("sclera", "iris", "pupil")
GUIDE_NAMES = ("eye_region", "reflections")
SMALLEST_SIDE = 64  # pixels; below, a narrow pupil is less than four pixels wide


@dataclass(frozen=True)
class Eye:
    """One scan with its truth.

    Attributes:
        image: ``(H, W)`` grey or ``(H, W, 3)`` RGB, uint8 or uint16.
        masks: ``(H, W, 3)`` bool, in the order of ``CLASS_NAMES``.
        guides: ``(H, W, 2)`` bool, in the order of ``GUIDE_NAMES``.
    """

    image: NDArray[Any]
    masks: Booleans
    guides: Booleans


@dataclass(frozen=True)
class EyeFolders:
    """Where the files were written; ``masks`` has a folder per class, ``guides`` one per guide."""

    scans: Path
    masks: Path
    guides: Path


def draw_eye(
    subject: int,
    scan: int,
    *,
    seed: int = 0,
    size: tuple[int, int] = REFERENCE_SIZE,
    colour: bool = False,
    bits: int = 8,
    closed_fraction: float = 0.05,
) -> Eye:
    """Draw one scan of one subject; the same arguments give the same pixels.

    Masks do not depend on ``colour`` and ``bits``, and no scan depends on which others are drawn.

    Args:
        subject: Number of the person: iris, skin, brow and shape of the eye. At least 0.
        scan: Number of the scan: gaze, opening, width of the pupil, light and noise. At least 0.
        seed: Start of all random numbers, at least 0.
        size: Height and width in pixels, at least 64 each.
        colour: RGB instead of grey.
        bits: Depth of the image, 8 or 16.
        closed_fraction: Probability of a nearly closed eye: a slit of sclera and iris, no pupil. 0 to 1.

    Raises:
        UsageError: An argument is out of its range.
    """
    _check_at_least(0, subject=subject, scan=scan, seed=seed)
    _check_picture(size, bits, closed_fraction)
    rng = np.random.default_rng([seed, subject, 1 + scan])  # 0 is the subject's own
    pose = draw_pose(rng, draw_subject(np.random.default_rng([seed, subject, 0])), closed_fraction)
    grid = draw_grid(rng, size)
    distances = signed_distances(grid, pose)
    masks = np.logical_and.accumulate(distances < 0, axis=-1)  # what the lid or the iris hides is in no mask
    spots = draw_spots(rng, grid, pose)
    region = draw_region(rng, grid, distances[..., 0])
    scene = paint_scene(rng, grid, pose, distances, spots)
    guides = np.stack([region, (spots > 0.5) & masks[..., 0]], axis=-1)
    return Eye(photograph(rng, scene, colour=colour, bits=bits), masks, guides)


def write_eyes(
    folder: Path,
    *,
    subjects: int = 12,
    scans_per_subject: int = 4,
    seed: int = 0,
    size: tuple[int, int] = REFERENCE_SIZE,
    colour: bool = False,
    bits: int = 8,
) -> EyeFolders:
    """Write scans, masks and guides as zlib TIFFs without metadata; masks are uint8, 0 or 255.

    Scan ``s03_2`` is ``draw_eye(3, 2, ...)``, whatever the number of subjects. Files of the same name are replaced.

    Args:
        folder: Where the folders ``scans``, ``masks`` and ``guides`` are made.
        subjects: Number of people, at least 1.
        scans_per_subject: Number of scans of each, at least 1.
        seed: Start of all random numbers, at least 0.
        size: Height and width in pixels, at least 64 each.
        colour: RGB instead of grey.
        bits: Depth of the scans, 8 or 16.

    Raises:
        UsageError: An argument is out of its range; nothing was written.
    """
    _check_at_least(1, subjects=subjects, scans_per_subject=scans_per_subject)
    _check_at_least(0, seed=seed)
    _check_picture(size, bits, closed_fraction=0)
    folders = EyeFolders(folder / "scans", folder / "masks", folder / "guides")
    for subject in range(1, subjects + 1):
        for scan in range(1, scans_per_subject + 1):
            eye = draw_eye(subject, scan, seed=seed, size=size, colour=colour, bits=bits)
            _write_eye(folders, f"s{subject:02d}_{scan}.tif", eye)
    return folders


def _write_eye(folders: EyeFolders, name: str, eye: Eye) -> None:
    _write_tiff(folders.scans / name, eye.image)
    for index, kind in enumerate(CLASS_NAMES):
        _write_tiff(folders.masks / kind / name, eye.masks[..., index] * np.uint8(255))
    for index, kind in enumerate(GUIDE_NAMES):
        _write_tiff(folders.guides / kind / name, eye.guides[..., index] * np.uint8(255))


def _write_tiff(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(path, image, photometric=photometric, compression="zlib", metadata=None, software=False)


def _check_at_least(smallest: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < smallest:
            raise UsageError(f"{name} must be at least {smallest}, got {number}: choose a larger number")


def _check_picture(size: tuple[int, int], bits: int, closed_fraction: float) -> None:
    if len(size) != 2 or min(size) < SMALLEST_SIDE:
        raise UsageError(
            f"size must be (height, width), at least {SMALLEST_SIDE} pixels each, got {size}: "
            f"choose a larger one, such as {REFERENCE_SIZE}"
        )
    if bits not in (8, 16):
        raise UsageError(f"bits must be 8 or 16, got {bits}: choose 16 for 12-bit sensors")
    if not 0 <= closed_fraction <= 1:
        raise UsageError(f"closed_fraction must lie in [0, 1], got {closed_fraction}: choose a probability")
