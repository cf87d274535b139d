"""How a synthetic eye looks: skin, hair, the eyeball, light and the camera.

Lengths and positions are those of `unetseg.synth_scene`; numbers that stand only once are the look of that one thing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetseg.synth_scene import FIBRES, Floats, Grid, Pose, Subject, cover_hairs, draw_clouds, lid_edges

__all__ = ["paint_scene", "photograph"]

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601: RGB to grey
# reflectances, RGB
SCLERA = (0.78, 0.75, 0.73)  # as bright as shining or pale skin
PUPIL = (0.035, 0.03, 0.03)  # brows, moles and hair go as low
SHINE = (0.82, 0.80, 0.79)  # oily skin under a lamp: as white as the sclera
HIGHLIGHT = (1.6, 1.6, 1.6)  # over 1: saturates the sensor in weak light too
BROW_HAIRS = 300
LASHES = 54  # on each lid
READ_NOISE = 0.006  # standard deviation, share of the full range
SHOT_NOISE = 0.015  # the same at full exposure; grows with its square root


def _over(scene: Floats, colour: Floats | tuple[float, ...], cover: Floats) -> Floats:
    """Paint ``colour``, ``(3,)`` or ``(H, W, 3)``, over the scene ``(H, W, 3)`` where ``cover`` ``(H, W)`` says."""
    layer = np.asarray(colour, np.float32) - scene
    return np.asarray(scene + cover[..., None] * layer, np.float32)


def paint_scene(rng: np.random.Generator, grid: Grid, pose: Pose, distances: Floats, spots: Floats) -> Floats:
    """``(H, W, 3)`` reflectances of the face, the eye in it and the lashes before it."""
    face = _paint_skin(rng, grid, pose.who, distances[..., 0])
    face = _paint_hair(rng, grid, pose.who, face)
    face = _paint_lids(grid, pose, face)
    scene = _over(face, _paint_eyeball(grid, pose, distances, spots), grid.cover(distances[..., 0]))
    return _over(scene, pose.who.hair, _draw_lashes(rng, grid, pose))


def _paint_skin(rng: np.random.Generator, grid: Grid, who: Subject, opening: Floats) -> Floats:
    """Blotchy, shining skin with make-up on the upper lid and moles as dark and round as pupils."""
    size = opening.shape
    above = np.clip(0.5 - grid.v / 30, 0, 1)
    blotches = 1 + 0.05 * draw_clouds(rng, size, 8) + 0.04 * draw_clouds(rng, size, 60)
    shadow = 0.35 * np.exp(-((opening / 45) ** 2)) * above  # of the brow
    bare = who.skin * (blotches * (1 - shadow))[..., None]
    skin = _over(bare, who.make_up, who.make_up_strength * np.exp(-((opening / 16) ** 2)) * above)
    skin = _over(skin, SHINE, np.clip(0.9 * draw_clouds(rng, size, 5) - 0.4, 0, 0.95))
    for u, v, radius in who.moles:
        skin = _over(skin, who.hair, 0.95 * grid.cover(grid.disc(u, v, radius)))
    return skin


def _paint_hair(rng: np.random.Generator, grid: Grid, who: Subject, face: Floats) -> Floats:
    """The brow, hair by hair, and a lock across one side of the picture that leaves the eye free."""
    along = rng.uniform(-0.9, 1.1, BROW_HAIRS)
    scatter = rng.uniform(-who.brow_thickness, who.brow_thickness, BROW_HAIRS)
    roots = np.stack([along * who.half_width, scatter - who.brow_height - 8 * (1 - along**2)], axis=-1)
    tips = roots + rng.uniform((6, -7), (16, 1), roots.shape)
    face = _over(face, who.hair, cover_hairs(grid, roots, tips, width=1.4))
    angle = rng.uniform(0, 2 * np.pi)
    u, v = float(np.cos(angle)), float(np.sin(angle))  # towards the lock
    free = float(np.hypot(who.half_width * u, who.lids[0] * v)) + rng.uniform(14, 45)
    wavy = free - grid.u * u - grid.v * v + 4 * draw_clouds(rng, grid.u.shape, 12)
    return _over(face, who.hair, 0.95 * grid.cover(wavy))


def _paint_lids(grid: Grid, pose: Pose, face: Floats) -> Floats:
    """The crease over the upper lid, and the lids' dark edges: the eye has a sharp outline, whatever the skin."""
    upper, lower = lid_edges(pose, grid.u)
    shade = 0.4 * pose.who.skin
    within = np.clip(1.15 - np.abs(grid.u) / pose.who.half_width, 0, 0.15) / 0.15  # fades out beyond the corners
    face = _over(face, shade, 0.7 * within * np.exp(-(((grid.v - upper + 11) / 2.5) ** 2)))
    face = _over(face, pose.who.hair, within * np.clip(1.5 - np.abs(grid.v - upper + 1), 0, 1))
    return _over(face, shade, within * np.clip(2 - np.abs(grid.v - lower - 1), 0, 1))


def _paint_eyeball(grid: Grid, pose: Pose, distances: Floats, spots: Floats) -> Floats:
    """The round white, the iris, the pupil and the lamps' reflections, as if there were no lids."""
    upper, _ = lid_edges(pose, grid.u)
    roundness = 0.2 * (grid.u / pose.who.half_width) ** 2
    shadow = 0.35 * np.exp(-np.clip(grid.v - upper, 0, None) / 6)  # of the upper lid
    white = np.array(SCLERA) * np.clip(1 - roundness - shadow, 0.2, 1)[..., None]
    ball = _over(white, _paint_iris(grid, pose, distances), grid.cover(distances[..., 1]))
    ball = _over(ball, PUPIL, grid.cover(distances[..., 2]))
    return _over(ball, HIGHLIGHT, spots)


def _paint_iris(grid: Grid, pose: Pose, distances: Floats) -> Floats:
    """``(H, W, 3)`` fibres from the pupil outwards, light around the pupil, dark at the limbus."""
    angle = np.arctan2(grid.v - pose.gaze[1], grid.u - pose.gaze[0]) / (2 * np.pi) * FIBRES
    spiral = angle + 0.15 * distances[..., 1]
    fibres = np.interp(spiral, np.arange(FIBRES), pose.who.fibres, period=FIBRES)
    collar = 0.25 * np.exp(-((distances[..., 2] / 5) ** 2))
    limbus = 0.45 * np.exp(-((distances[..., 1] / 2.5) ** 2))
    return np.asarray(pose.who.iris * (1 + 0.12 * fibres + collar - limbus)[..., None])


def _draw_lashes(rng: np.random.Generator, grid: Grid, pose: Pose) -> Floats:
    """``(H, W)`` cover of the lashes: most point away from the eye, some of the upper hang into it."""
    u = np.linspace(-0.92, 0.95, LASHES) * pose.who.half_width
    fan = u + 0.12 * u + rng.normal(0, 2, LASHES)
    upper, lower = lid_edges(pose, u)
    hanging = rng.random(LASHES) < 0.2
    drop = np.where(hanging, rng.uniform(4, 10, LASHES), rng.uniform(-15, -7, LASHES))
    above = cover_hairs(grid, np.stack([u, upper], axis=-1), np.stack([fan, upper + drop], axis=-1), width=1.0)
    tips = np.stack([fan, lower + rng.uniform(4, 9, LASHES)], axis=-1)
    below = cover_hairs(grid, np.stack([u, lower + 1], axis=-1), tips, width=0.8)
    return np.asarray(np.maximum(above, 0.6 * below))


def photograph(rng: np.random.Generator, scene: Floats, *, colour: bool, bits: int) -> NDArray[Any]:
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
    fall = 0.3 * (down * float(np.sin(angle)) + across * float(np.cos(angle))) + 0.06 * draw_clouds(rng, size, 3)
    tint, second = rng.uniform(0.85, 1.05, 3), rng.uniform(-0.1, 0.1, 3)
    return np.asarray(tint * (np.exp(fall)[..., None] + second * across[..., None]), np.float32)
