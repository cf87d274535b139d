"""Lossless JPEG and JPEG-LS for pydicom, which has no decoder of its own for them: those of imagecodecs.

Importing this module makes them known to pydicom, once in a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels.decoders import base

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

__all__ = ["DECODER_DEPENDENCIES", "decode_frame", "is_available"]

_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)

DECODER_DEPENDENCIES = dict.fromkeys(_JPEG + _JPEG_LS, ("imagecodecs",))
"""pydicom reads this of each module of decoders."""


def is_available(syntax: str) -> bool:
    """Whether the codec of a transfer syntax is there; pydicom asks."""
    codec = imagecodecs.JPEG8 if syntax in _JPEG else imagecodecs.JPEGLS
    return syntax in DECODER_DEPENDENCIES and bool(codec.available)


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """One frame as pydicom wants it: the samples of a pixel side by side, colours as they are stored."""
    samples = runner.samples_per_pixel
    shape = (runner.rows, runner.columns) if samples == 1 else (runner.rows, runner.columns, samples)
    # Memory is asked for what the header says, not for what the frame claims: another size is an error.
    out = np.empty(shape, np.uint16 if runner.bits_allocated > 8 else np.uint8)
    if runner.transfer_syntax in _JPEG:
        colours = None if samples == 1 else "RGB"  # from and to the same: no transformation
        imagecodecs.jpeg8_decode(source, colorspace=colours, outcolorspace=colours, out=out)
    else:
        imagecodecs.jpegls_decode(source, out=out)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * out.dtype.itemsize)
    return bytearray(out.tobytes())


for _syntax in DECODER_DEPENDENCIES:
    base.get_decoder(_syntax).add_plugin("imagecodecs", (__name__, decode_frame.__name__))
