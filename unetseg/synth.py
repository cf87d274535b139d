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

All lengths are in *reference pixels*, those of a scan of 192 × 256; other sizes show the same scene, scaled. Positions
are in the eye's own frame: ``u`` from the nose outwards, ``v`` downwards, the origin between the corners of the eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from unetseg.errors import UsageError

__all__ = ["CLASS_NAMES", "GUIDE_NAMES", "Eye", "EyeFolders", "draw_eye", "write_eyes"]

Floats = NDArray[np.floating[Any]]
Booleans = NDArray[np.bool_]

CLASS_NAMES = ("sclera", "iris", "pupil")
GUIDE_NAMES = ("eye_region", "reflections")

REFERENCE_SIZE = (192, 256)  # height and width at which a reference pixel is a pixel
SMALLEST_SIDE = 64  # pixels; below, a narrow pupil is less than four pixels wide
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601: RGB to grey
# reflectances, RGB
IRISES = ((0.36, 0.47, 0.60), (0.44, 0.48, 0.50), (0.40, 0.44, 0.30), (0.46, 0.35, 0.20), (0.34, 0.22, 0.14))
SKINS = ((0.84, 0.74, 0.69), (0.76, 0.65, 0.58), (0.66, 0.53, 0.45), (0.46, 0.35, 0.28))
SCLERA = (0.78, 0.75, 0.73)  # as bright as shining or pale skin
PUPIL = (0.035, 0.03, 0.03)  # brows, moles and hair go as low
SHINE = (0.82, 0.80, 0.79)  # oily skin under a lamp: as white as the sclera
HIGHLIGHT = (1.6, 1.6, 1.6)  # over 1: saturates the sensor in weak light too
FIBRES = 120  # random values around the iris: its texture
BROW_HAIRS = 300
LASHES = 54  # on each lid
WIDEST_PUPIL = 0.55  # of the iris radius; that of the largest iris is still under 2 % of a scan
READ_NOISE = 0.006  # standard deviation, share of the full range
SHOT_NOISE = 0.015  # the same at full exposure; grows with its square root


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
    pose = _draw_pose(rng, _draw_subject(np.random.default_rng([seed, subject, 0])), closed_fraction)
    grid = _draw_grid(rng, size)
    distances = _distances(grid, pose)
    masks = np.logical_and.accumulate(distances < 0, axis=-1)  # what the lid or the iris hides is in no mask
    spots = _draw_spots(rng, grid, pose)
    region = _draw_region(rng, grid, distances[..., 0])
    scene = _paint_scene(rng, grid, pose, distances, spots)
    guides = np.stack([region, (spots > 0.5) & masks[..., 0]], axis=-1)
    return Eye(_photograph(rng, scene, colour=colour, bits=bits), masks, guides)


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


# --------------------------------------------------------------------------- what is drawn by lot
#
# Numbers that stand only once, in a range or a falloff below, are the look of that one thing; nothing else depends on
# them. Lengths are reference pixels, colours reflectances.


@dataclass(frozen=True)
class _Subject:
    """What all scans of a person share."""

    skin: Floats  # RGB, as all colours
    iris: Floats
    hair: Floats
    make_up: Floats
    make_up_strength: float
    half_width: float  # of the eye, corner to corner
    lids: tuple[float, float]  # heights of the open lids over and under the line of the corners
    skew: float  # where the upper lid is highest: > 0 outwards
    iris_radius: float
    fibres: Floats  # (FIBRES,) brightness around the iris
    brow_height: float  # over the middle of the eye
    brow_thickness: float
    moles: Floats  # (n, 3): u, v, radius


@dataclass(frozen=True)
class _Pose:
    """What one scan shows of a person's eye."""

    who: _Subject
    lids: tuple[float, float]  # heights of upper and lower lid; upper < 0: it hangs below the corners
    gaze: tuple[float, float]  # centre of the iris
    pupil_radius: float


@dataclass(frozen=True)
class _Grid:
    """Pixels in the frame of the eye.

    Attributes:
        u: ``(H, W)`` outwards from the middle of the eye, reference pixels.
        v: ``(H, W)`` downwards from the middle of the eye, reference pixels.
        unit: Pixels per reference pixel.
        origin: Column and row of the middle of the eye.
        axes: ``(2, 2)``: its columns are the directions of u and v, as (column, row).
    """

    u: Floats
    v: Floats
    unit: float
    origin: Floats
    axes: Floats

    def cover(self, distance: Floats) -> Floats:
        """Share of each pixel inside an outline, from its signed distance (negative inside)."""
        return np.asarray(np.clip(0.5 - distance * self.unit, 0, 1))

    def disc(self, u: float, v: float, radius: float) -> Floats:
        """Signed distance from a circle."""
        return np.asarray(np.hypot(self.u - float(u), self.v - float(v)) - float(radius))


def _draw_subject(rng: np.random.Generator) -> _Subject:
    """Draw a person; independent of size, colour and depth."""
    moles = rng.uniform((-110, 46, 4), (110, 80, 13), (4, 3))
    moles[0, 1] *= -1  # one over the eye
    return _Subject(
        skin=_draw_colour(rng, SKINS),
        iris=_draw_colour(rng, IRISES),
        hair=rng.uniform(0.02, 0.07) * np.array((1.2, 0.9, 0.8)),
        make_up=_draw_colour(rng, IRISES),
        make_up_strength=rng.uniform(0, 0.9),
        half_width=rng.uniform(62, 74),
        lids=(rng.uniform(29, 37), rng.uniform(18, 23)),
        skew=rng.uniform(-0.12, 0.12),
        iris_radius=rng.uniform(26, 31),
        fibres=rng.normal(0, 1, FIBRES),
        brow_height=rng.uniform(54, 64),
        brow_thickness=rng.uniform(5, 9),
        moles=moles,
    )


def _draw_colour(rng: np.random.Generator, palette: tuple[tuple[float, float, float], ...]) -> Floats:
    """Draw a colour between two neighbours of the palette, a little off."""
    place = rng.uniform(0, len(palette) - 1)
    colour = [np.interp(place, range(len(palette)), channel) for channel in zip(*palette, strict=True)]
    return np.array(colour) * rng.uniform(0.93, 1.07, 3)


def _draw_pose(rng: np.random.Generator, who: _Subject, closed_fraction: float) -> _Pose:
    """Draw gaze, lids and pupil; a closing eye turns upwards, behind the lid (Bell's phenomenon)."""
    gaze = (rng.uniform(-24, 24), rng.uniform(-7, 6))
    lids = (who.lids[0] * rng.uniform(0.6, 1), who.lids[1])
    slit = rng.uniform(5, 8)
    if rng.random() < closed_fraction:
        gaze = (gaze[0] / 2, who.lids[1] - slit / 2 - who.iris_radius)  # the iris' lower edge is in the slit
        lids = (slit - who.lids[1], who.lids[1])
    return _Pose(who, lids, gaze, who.iris_radius * rng.uniform(0.28, WIDEST_PUPIL))


def _draw_grid(rng: np.random.Generator, size: tuple[int, int]) -> _Grid:
    """Place a left or right eye in the picture, slightly off and tilted."""
    unit = min(side / reference for side, reference in zip(size, REFERENCE_SIZE, strict=True))
    origin = np.array((size[1] / 2, size[0] / 2)) + unit * rng.uniform((-16, 4), (16, 20))
    tilt = np.deg2rad(rng.uniform(-10, 10))
    side = rng.choice((-1, 1))
    axes = np.array(((side * np.cos(tilt), -np.sin(tilt)), (side * np.sin(tilt), np.cos(tilt))))
    rows, columns = np.indices(size)
    u, v = np.tensordot(axes.T / unit, np.stack([columns - origin[0], rows - origin[1]]), axes=1).astype(np.float32)
    return _Grid(u, v, unit, origin, axes)


def _draw_clouds(rng: np.random.Generator, size: tuple[int, ...], bumps: int) -> Floats:
    """``(H, W)`` smooth noise about 0, deviation about 1, with ``bumps`` down the picture."""
    coarse = rng.normal(0, 1.4, (bumps, round(bumps * 4 / 3))).astype(np.float32)
    zoom = [side / count for side, count in zip(size, coarse.shape, strict=True)]
    return np.asarray(ndimage.zoom(coarse, zoom, order=3, mode="nearest", grid_mode=True))


# --------------------------------------------------------------------------- outlines


def _lid_edges(pose: _Pose, u: Floats) -> tuple[Floats, Floats]:
    """Heights ``v`` of the upper and the lower lid's edge; they cross at the corners of the eye."""
    along = u / pose.who.half_width
    arch = 1 - along**2
    return -pose.lids[0] * arch * (1 + pose.who.skew * np.clip(along, -1, 1)), pose.lids[1] * arch


def _distances(grid: _Grid, pose: _Pose) -> Floats:
    """``(H, W, 3)`` signed distances from the outlines of eye opening, iris and pupil, negative inside."""
    upper, lower = _lid_edges(pose, grid.u)
    slope = 2 * grid.u / pose.who.half_width**2  # of an edge of height 1
    over = (upper - grid.v) / np.hypot(1, pose.lids[0] * slope)
    under = (grid.v - lower) / np.hypot(1, pose.lids[1] * slope)
    iris = grid.disc(*pose.gaze, pose.who.iris_radius)
    nasal = 0.04 * pose.who.iris_radius  # pupils sit a little towards the nose
    pupil = grid.disc(pose.gaze[0] - nasal, pose.gaze[1], pose.pupil_radius)
    aside = np.abs(grid.u) - pose.who.half_width  # beyond a corner
    return np.stack([np.maximum.reduce([over, under, aside]), iris, pupil], axis=-1)


def _draw_spots(rng: np.random.Generator, grid: _Grid, pose: _Pose) -> Floats:
    """``(H, W)`` cover of the lamps' reflections, the first on the pupil's edge, others anywhere on the cornea."""
    cover = np.zeros_like(grid.u)
    for index in range(rng.integers(1, 4)):
        away = pose.pupil_radius if index == 0 else pose.who.iris_radius * rng.uniform(0.3, 1)
        angle = rng.uniform(0, 2 * np.pi)
        u, v = pose.gaze[0] + away * np.cos(angle), pose.gaze[1] + away * np.sin(angle)
        cover = np.maximum(cover, grid.cover(grid.disc(u, v, rng.uniform(1.5, 4.5))))
    return cover


def _draw_region(rng: np.random.Generator, grid: _Grid, opening: Floats) -> Booleans:
    """``(H, W)`` the eye opening, drawn generously and carelessly."""
    return opening < np.maximum(14 + 6 * _draw_clouds(rng, grid.u.shape, 5), 4)


def _cover_hairs(grid: _Grid, roots: Floats, tips: Floats, width: float) -> Floats:
    """``(H, W)`` cover of hairs that leave the skin upright, bend and thin out; ends are ``(n, 2)`` of (u, v)."""
    lengths = np.linalg.norm(tips - roots, axis=1) * grid.unit
    t = np.linspace(0, 1, int(2 * lengths.max()) + 2)[:, None, None]  # two points per pixel
    bends = np.stack([roots[:, 0], tips[:, 1]], axis=-1)
    points = (1 - t) ** 2 * roots + 2 * t * (1 - t) * bends + t**2 * tips  # quadratic Bézier curves
    columns, rows = np.rint(grid.origin + grid.unit * points @ grid.axes.T).astype(int).reshape(-1, 2).T
    ink = (lengths / len(t) * (1 - 0.7 * t[..., 0])).ravel()  # one per pixel of length, less towards the tip
    height, breadth = grid.u.shape
    seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < breadth)
    drops = np.bincount((rows * breadth + columns)[seen], ink[seen], height * breadth).reshape(height, breadth)
    sigma = width * grid.unit / 2
    return np.asarray(np.clip(np.sqrt(2 * np.pi) * sigma * ndimage.gaussian_filter(drops, sigma), 0, 1))


# --------------------------------------------------------------------------- paint and light


def _over(scene: Floats, colour: Floats | tuple[float, ...], cover: Floats) -> Floats:
    """Paint ``colour``, ``(3,)`` or ``(H, W, 3)``, over the scene ``(H, W, 3)`` where ``cover`` ``(H, W)`` says."""
    layer = np.asarray(colour, np.float32) - scene
    return np.asarray(scene + cover[..., None] * layer, np.float32)


def _paint_scene(rng: np.random.Generator, grid: _Grid, pose: _Pose, distances: Floats, spots: Floats) -> Floats:
    """``(H, W, 3)`` reflectances of the face, the eye in it and the lashes before it."""
    face = _paint_skin(rng, grid, pose.who, distances[..., 0])
    face = _paint_hair(rng, grid, pose.who, face)
    face = _paint_lids(grid, pose, face)
    scene = _over(face, _paint_eyeball(grid, pose, distances, spots), grid.cover(distances[..., 0]))
    return _over(scene, pose.who.hair, _draw_lashes(rng, grid, pose))


def _paint_skin(rng: np.random.Generator, grid: _Grid, who: _Subject, opening: Floats) -> Floats:
    """Blotchy, shining skin with make-up on the upper lid and moles as dark and round as pupils."""
    size = opening.shape
    above = np.clip(0.5 - grid.v / 30, 0, 1)
    blotches = 1 + 0.05 * _draw_clouds(rng, size, 8) + 0.04 * _draw_clouds(rng, size, 60)
    shadow = 0.35 * np.exp(-((opening / 45) ** 2)) * above  # of the brow
    bare = who.skin * (blotches * (1 - shadow))[..., None]
    skin = _over(bare, who.make_up, who.make_up_strength * np.exp(-((opening / 16) ** 2)) * above)
    skin = _over(skin, SHINE, np.clip(0.9 * _draw_clouds(rng, size, 5) - 0.4, 0, 0.95))
    for u, v, radius in who.moles:
        skin = _over(skin, who.hair, 0.95 * grid.cover(grid.disc(u, v, radius)))
    return skin


def _paint_hair(rng: np.random.Generator, grid: _Grid, who: _Subject, face: Floats) -> Floats:
    """The brow, hair by hair, and a lock across one side of the picture that leaves the eye free."""
    along = rng.uniform(-0.9, 1.1, BROW_HAIRS)
    scatter = rng.uniform(-who.brow_thickness, who.brow_thickness, BROW_HAIRS)
    roots = np.stack([along * who.half_width, scatter - who.brow_height - 8 * (1 - along**2)], axis=-1)
    tips = roots + rng.uniform((6, -7), (16, 1), roots.shape)
    face = _over(face, who.hair, _cover_hairs(grid, roots, tips, width=1.4))
    angle = rng.uniform(0, 2 * np.pi)
    u, v = float(np.cos(angle)), float(np.sin(angle))  # towards the lock
    free = float(np.hypot(who.half_width * u, who.lids[0] * v)) + rng.uniform(14, 45)
    wavy = free - grid.u * u - grid.v * v + 4 * _draw_clouds(rng, grid.u.shape, 12)
    return _over(face, who.hair, 0.95 * grid.cover(wavy))


def _paint_lids(grid: _Grid, pose: _Pose, face: Floats) -> Floats:
    """The crease over the upper lid, and the lids' dark edges: the eye has a sharp outline, whatever the skin."""
    upper, lower = _lid_edges(pose, grid.u)
    shade = 0.4 * pose.who.skin
    within = np.clip(1.15 - np.abs(grid.u) / pose.who.half_width, 0, 0.15) / 0.15  # fades out beyond the corners
    face = _over(face, shade, 0.7 * within * np.exp(-(((grid.v - upper + 11) / 2.5) ** 2)))
    face = _over(face, pose.who.hair, within * np.clip(1.5 - np.abs(grid.v - upper + 1), 0, 1))
    return _over(face, shade, within * np.clip(2 - np.abs(grid.v - lower - 1), 0, 1))


def _paint_eyeball(grid: _Grid, pose: _Pose, distances: Floats, spots: Floats) -> Floats:
    """The round white, the iris, the pupil and the lamps' reflections, as if there were no lids."""
    upper, _ = _lid_edges(pose, grid.u)
    roundness = 0.2 * (grid.u / pose.who.half_width) ** 2
    shadow = 0.35 * np.exp(-np.clip(grid.v - upper, 0, None) / 6)  # of the upper lid
    white = np.array(SCLERA) * np.clip(1 - roundness - shadow, 0.2, 1)[..., None]
    ball = _over(white, _paint_iris(grid, pose, distances), grid.cover(distances[..., 1]))
    ball = _over(ball, PUPIL, grid.cover(distances[..., 2]))
    return _over(ball, HIGHLIGHT, spots)


def _paint_iris(grid: _Grid, pose: _Pose, distances: Floats) -> Floats:
    """``(H, W, 3)`` fibres from the pupil outwards, light around the pupil, dark at the limbus."""
    angle = np.arctan2(grid.v - pose.gaze[1], grid.u - pose.gaze[0]) / (2 * np.pi) * FIBRES
    spiral = angle + 0.15 * distances[..., 1]
    fibres = np.interp(spiral, np.arange(FIBRES), pose.who.fibres, period=FIBRES)
    collar = 0.25 * np.exp(-((distances[..., 2] / 5) ** 2))
    limbus = 0.45 * np.exp(-((distances[..., 1] / 2.5) ** 2))
    return np.asarray(pose.who.iris * (1 + 0.12 * fibres + collar - limbus)[..., None])


def _draw_lashes(rng: np.random.Generator, grid: _Grid, pose: _Pose) -> Floats:
    """``(H, W)`` cover of the lashes: most point away from the eye, some of the upper hang into it."""
    u = np.linspace(-0.92, 0.95, LASHES) * pose.who.half_width
    fan = u + 0.12 * u + rng.normal(0, 2, LASHES)
    upper, lower = _lid_edges(pose, u)
    hanging = rng.random(LASHES) < 0.2
    drop = np.where(hanging, rng.uniform(4, 10, LASHES), rng.uniform(-15, -7, LASHES))
    above = _cover_hairs(grid, np.stack([u, upper], axis=-1), np.stack([fan, upper + drop], axis=-1), width=1.0)
    tips = np.stack([fan, lower + rng.uniform(4, 9, LASHES)], axis=-1)
    below = _cover_hairs(grid, np.stack([u, lower + 1], axis=-1), tips, width=0.8)
    return np.asarray(np.maximum(above, 0.6 * below))


def _photograph(rng: np.random.Generator, scene: Floats, *, colour: bool, bits: int) -> NDArray[Any]:
    """Light the scene ``(H, W, 3)`` unevenly, blur it, expose it; noise comes last, as it depends on ``colour``."""
    lit = scene * _draw_light(rng, scene.shape[:2])
    blur, gamma = rng.uniform(0.3, 0.8), rng.uniform(0.75, 1.2)
    black, contrast = rng.uniform(0, 0.12), rng.uniform(0.6, 1)
    seen = np.clip(lit if colour else lit @ LUMINANCE, 0, 1.2)
    focused = np.asarray(ndimage.gaussian_filter(seen, blur, axes=(0, 1)))
    exposed = black + contrast * focused**gamma
    noise = rng.normal(0, 1, exposed.shape) * np.sqrt(READ_NOISE**2 + SHOT_NOISE**2 * exposed)
    full = 2**bits - 1
    return np.asarray(np.rint(np.clip(exposed + noise, 0, 1) * full), f"uint{bits}")


def _draw_light(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """``(H, W, 3)`` a coloured light that falls off to one side, and a second of another colour."""
    down, across = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in size), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    fall = 0.3 * (down * float(np.sin(angle)) + across * float(np.cos(angle))) + 0.06 * _draw_clouds(rng, size, 3)
    tint, second = rng.uniform(0.85, 1.05, 3), rng.uniform(-0.1, 0.1, 3)
    return np.asarray(tint * (np.exp(fall)[..., None] + second * across[..., None]), np.float32)
