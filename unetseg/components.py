"""Objects of a mask: connected components, counted, filtered and numbered.

Masks larger than memory go through `unetseg.component_bands`, with the same results.

*Conventions.* Holes are filled first, then small objects are dropped, and those that are left are numbered from 1 in
raster order of their first pixels. A hole is background that objects enclose: it does not touch the border of the
scan, as in ``scipy.ndimage.binary_fill_holes``, while ``skimage.morphology.remove_small_holes`` also fills small
corners of background at the border. Objects at the border are treated like others, as in
``skimage.morphology.remove_small_objects``, whose ``max_size`` is our ``min_pixels - 1``. Where objects are connected
through corners, background is connected through sides alone, and the other way round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetseg.component_bands import Numbers, join, summary
from unetseg.mask_runs import Components, Connectivity, Mask, find_components, foreground, opposite

__all__ = ["clean", "number"]


def clean(
    mask: Mask, *, min_pixels: int = 0, max_hole_pixels: int = 0, connectivity: Connectivity = 2
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Fill small holes of a mask in memory, then drop small objects.

    Args:
        mask: foreground where not 0, ``(H, W)``.
        min_pixels: objects of fewer pixels are dropped; 0 and 1 drop none.
        max_hole_pixels: enclosed holes of at most so many pixels are filled; 0 fills none.
        connectivity: 1: pixels that share a side are one object; 2: also those that share a corner.

    Returns:
        The mask, ``(H, W)``, itself where it is one of bool and stays as it is; and its objects' areas, in pixels.

    Raises:
        UsageError: the mask is not an image of whole numbers, or there is no such connectivity.
    """
    whole, components = _components(mask, max_hole_pixels, connectivity)
    large = components.areas >= min_pixels
    if large.all():
        return whole, components.areas
    return components.painted(large), components.areas[large]


def number(
    mask: Mask, *, min_pixels: int = 0, max_hole_pixels: int = 0, connectivity: Connectivity = 2
) -> tuple[Numbers, NDArray[np.int64]]:
    """Number the objects of a mask in memory, filtered as by `clean`.

    Returns:
        Per pixel the number of its object, ``(H, W)``, 0 for background; and the areas of the objects, in pixels.
    """
    _, components = _components(mask, max_hole_pixels, connectivity)
    objects = join([summary(components)]).at_least(min_pixels)
    return components.painted(objects.bands[0]), objects.areas


def _components(mask: Mask, max_hole_pixels: int, connectivity: Connectivity) -> tuple[NDArray[np.bool_], Components]:
    """The mask as one band: filled, and its components."""
    whole = foreground(mask)
    if max_hole_pixels > 0:
        background = find_components(~whole, connectivity=opposite(connectivity))
        holes = join([summary(background)]).holes(max_hole_pixels).bands[0]
        if holes.any():
            whole = whole | background.painted(holes > 0)
    return whole, find_components(whole, connectivity=connectivity)
