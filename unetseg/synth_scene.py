"""What a synthetic eye is: a person, a pose, the outlines and the hairs, drawn by lot.

All lengths are in *reference pixels*, those of a scan of 192 × 256; other sizes show the same scene, scaled. Positions
are in the eye's own frame: ``u`` from the nose outwards, ``v`` downwards, the origin between the corners of the eye.

Numbers that stand only once, in a range or a falloff below, are the look of that one thing; nothing else depends on
them. Colours are reflectances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = [
    "FIBRES",
    "REFERENCE_SIZE",
    "Booleans",
    "Floats",
    "Grid",
    "Pose",
    "Subject",
    "cover_hairs",
    "draw_clouds",
    "draw_grid",
    "draw_pose",
    "draw_region",
    "draw_spots",
    "draw_subject",
    "lid_edges",
    "signed_distances",
]

Floats = NDArray[np.floating[Any]]
Booleans = NDArray[np.bool_]

REFERENCE_SIZE = (192, 256)  # height and width at which a reference pixel is a pixel
# reflectances, RGB
IRISES = ((0.36, 0.47, 0.60), (0.44, 0.48, 0.50), (0.40, 0.44, 0.30), (0.46, 0.35, 0.20), (0.34, 0.22, 0.14))
SKINS = ((0.84, 0.74, 0.69), (0.76, 0.65, 0.58), (0.66, 0.53, 0.45), (0.46, 0.35, 0.28))
FIBRES = 120  # random values around the iris: its texture
WIDEST_PUPIL = 0.55  # of the iris radius; that of the largest iris is still under 2 % of a scan


@dataclass(frozen=True)
class Subject:
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
class Pose:
    """What one scan shows of a person's eye."""

    who: Subject
    lids: tuple[float, float]  # heights of upper and lower lid; upper < 0: it hangs below the corners
    gaze: tuple[float, float]  # centre of the iris
    pupil_radius: float


@dataclass(frozen=True)
class Grid:
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


def draw_subject(rng: np.random.Generator) -> Subject:
    """Draw a person; independent of size, colour and depth."""
    moles = rng.uniform((-110, 46, 4), (110, 80, 13), (4, 3))
    moles[0, 1] *= -1  # one over the eye
    return Subject(
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


def draw_pose(rng: np.random.Generator, who: Subject, closed_fraction: float) -> Pose:
    """Draw gaze, lids and pupil; a closing eye turns upwards, behind the lid (Bell's phenomenon)."""
    gaze = (rng.uniform(-24, 24), rng.uniform(-7, 6))
    lids = (who.lids[0] * rng.uniform(0.6, 1), who.lids[1])
    slit = rng.uniform(5, 8)
    if rng.random() < closed_fraction:
        gaze = (gaze[0] / 2, who.lids[1] - slit / 2 - who.iris_radius)  # the iris' lower edge is in the slit
        lids = (slit - who.lids[1], who.lids[1])
    return Pose(who, lids, gaze, who.iris_radius * rng.uniform(0.28, WIDEST_PUPIL))


def draw_grid(rng: np.random.Generator, size: tuple[int, int]) -> Grid:
    """Place a left or right eye in the picture, slightly off and tilted."""
    unit = min(side / reference for side, reference in zip(size, REFERENCE_SIZE, strict=True))
    origin = np.array((size[1] / 2, size[0] / 2)) + unit * rng.uniform((-16, 4), (16, 20))
    tilt = np.deg2rad(rng.uniform(-10, 10))
    side = rng.choice((-1, 1))
    axes = np.array(((side * np.cos(tilt), -np.sin(tilt)), (side * np.sin(tilt), np.cos(tilt))))
    rows, columns = np.indices(size)
    u, v = np.tensordot(axes.T / unit, np.stack([columns - origin[0], rows - origin[1]]), axes=1).astype(np.float32)
    return Grid(u, v, unit, origin, axes)


def draw_clouds(rng: np.random.Generator, size: tuple[int, ...], bumps: int) -> Floats:
    """``(H, W)`` smooth noise about 0, deviation about 1, with ``bumps`` down the picture."""
    coarse = rng.normal(0, 1.4, (bumps, round(bumps * 4 / 3))).astype(np.float32)
    zoom = [side / count for side, count in zip(size, coarse.shape, strict=True)]
    return np.asarray(ndimage.zoom(coarse, zoom, order=3, mode="nearest", grid_mode=True))


# --------------------------------------------------------------------------- outlines


def lid_edges(pose: Pose, u: Floats) -> tuple[Floats, Floats]:
    """Heights ``v`` of the upper and the lower lid's edge; they cross at the corners of the eye."""
    along = u / pose.who.half_width
    arch = 1 - along**2
    return -pose.lids[0] * arch * (1 + pose.who.skew * np.clip(along, -1, 1)), pose.lids[1] * arch


def signed_distances(grid: Grid, pose: Pose) -> Floats:
    """``(H, W, 3)`` signed distances from the outlines of eye opening, iris and pupil, negative inside."""
    upper, lower = lid_edges(pose, grid.u)
    slope = 2 * grid.u / pose.who.half_width**2  # of an edge of height 1
    over = (upper - grid.v) / np.hypot(1, pose.lids[0] * slope)
    under = (grid.v - lower) / np.hypot(1, pose.lids[1] * slope)
    iris = grid.disc(*pose.gaze, pose.who.iris_radius)
    nasal = 0.04 * pose.who.iris_radius  # pupils sit a little towards the nose
    pupil = grid.disc(pose.gaze[0] - nasal, pose.gaze[1], pose.pupil_radius)
    aside = np.abs(grid.u) - pose.who.half_width  # beyond a corner
    return np.stack([np.maximum.reduce([over, under, aside]), iris, pupil], axis=-1)


def draw_spots(rng: np.random.Generator, grid: Grid, pose: Pose) -> Floats:
    """``(H, W)`` cover of the lamps' reflections, the first on the pupil's edge, others anywhere on the cornea."""
    cover = np.zeros_like(grid.u)
    for index in range(rng.integers(1, 4)):
        away = pose.pupil_radius if index == 0 else pose.who.iris_radius * rng.uniform(0.3, 1)
        angle = rng.uniform(0, 2 * np.pi)
        u, v = pose.gaze[0] + away * np.cos(angle), pose.gaze[1] + away * np.sin(angle)
        cover = np.maximum(cover, grid.cover(grid.disc(u, v, rng.uniform(1.5, 4.5))))
    return cover


def draw_region(rng: np.random.Generator, grid: Grid, opening: Floats) -> Booleans:
    """``(H, W)`` the eye opening, drawn generously and carelessly."""
    return opening < np.maximum(14 + 6 * draw_clouds(rng, grid.u.shape, 5), 4)


def cover_hairs(grid: Grid, roots: Floats, tips: Floats, width: float) -> Floats:
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
