"""DICOM: grey and RGB; each frame is a plane, rescaled to its physical values where the file says how."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import SEEK_CUR
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.embedded import check_picture
from unetseg.errors import BadFileError
from unetseg.orientations import axis_codes
from unetseg.photometric import inverted
from unetseg.planes import Format, ScanHeader

__all__ = ["DICOM"]

_DEFLATED = "1.2.840.10008.1.2.1.99"  # transfer syntax: the whole file in one zlib stream
_ELEMENT_BYTES = 12  # before the frames: tag, kind and length
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # pydicom turns YBR into RGB
_TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM counts to the left and to the back
_UNEVEN = 0.05  # of the mean step: positions are rounded; frames of other times are further off
_TAGS = [  # all that is looked at; the rest of a header may be large
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation", "NumberOfFrames", "PixelSpacing", "SpacingBetweenSlices", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "ImageOrientationPatient",
]  # fmt: skip


class _Dicom:
    """A file of which everything before the pixels has been read."""

    def __init__(self, path: Path, data: Any) -> None:  # noqa: ANN401 (a pydicom dataset)
        self.path, self.data = path, data
        if "Rows" not in data or "Columns" not in data:
            raise BadFileError(f"{path}: holds no image")
        self.count = int(data.get("NumberOfFrames") or 1)
        self._check_transfer_syntax()

    def header(self, page: int) -> ScanHeader:
        data = self.data
        colours = data.get("PhotometricInterpretation")
        if colours not in _GREY + _COLOUR or "ModalityLUTSequence" in data:
            kind = "a modality lookup table" if colours in _GREY + _COLOUR else f"colours of kind {colours}"
            raise BadFileError(f"{self.path}: DICOM with {kind} is not read; save as grey or RGB")
        channels = int(data.SamplesPerPixel)
        if channels != (1 if colours in _GREY else 3):
            raise BadFileError(f"{self.path}: is broken: {channels} samples a pixel of {colours}")
        dtype = "float32" if self._rescaling(page) != (1, 0) else self._stored()
        return ScanHeader(int(data.Rows), int(data.Columns), channels, dtype, self._pixel_size(page))

    def pixels(self, page: int, max_bytes: float) -> NDArray[Any]:
        from pydicom.pixels.utils import pixel_array

        if self.data.file_meta.TransferSyntaxUID.is_compressed:
            check_picture(self.path, self._frame(page), int(self.data.Rows) * int(self.data.Columns))
        stored = pixel_array(self.path, index=page)
        if self.data.BitsAllocated == 1:
            stored = stored.astype(np.bool_)
        if self.data.PhotometricInterpretation == "MONOCHROME1":
            stored = inverted(stored, int(self.data.BitsStored))
        slope, intercept = self._rescaling(page)
        if (slope, intercept) != (1, 0):
            with np.errstate(over="ignore"):  # infinite values are refused afterwards
                stored = (stored * slope + intercept).astype(np.float32)
        return stored if stored.ndim == 3 else stored[..., np.newaxis]

    def _frame(self, page: int) -> bytes:
        """A compressed frame as it is stored."""
        import pydicom
        from pydicom.encaps import get_frame

        with self.path.open("rb") as file:
            pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["NumberOfFrames"])
            file.seek(_ELEMENT_BYTES, SEEK_CUR)
            return get_frame(file, page, number_of_frames=self.count)

    def _check_transfer_syntax(self) -> None:
        """The compression must be one that is installed; uncompressed frames must fit into the file."""
        from pydicom.pixels.decoders.base import get_decoder

        syntax = self.data.file_meta.TransferSyntaxUID
        if syntax.is_compressed:
            if not get_decoder(syntax).is_available:
                raise BadFileError(f"{self.path}: compression {syntax.name} is not read; save uncompressed")
            return
        bits = math.prod(
            int(self.data.get(name, 1)) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
        )
        if self.count * bits / 8 > self.path.stat().st_size:
            raise BadFileError(f"{self.path}: is cut short: {self.count} frames of {bits / 8:.0f} bytes are not in it")

    def _stored(self) -> str:
        bits = int(self.data.BitsAllocated)
        return "bool" if bits == 1 else f"{'int' if self.data.PixelRepresentation else 'uint'}{bits}"

    def _rescaling(self, page: int) -> tuple[float, float]:
        for group in self._groups(page, "PixelValueTransformationSequence"):
            if "RescaleSlope" in group or "RescaleIntercept" in group:
                return float(group.get("RescaleSlope", 1)), float(group.get("RescaleIntercept", 0))
        return 1.0, 0.0

    def _pixel_size(self, page: int) -> tuple[float, float] | None:
        """Micrometres ``(y, x)`` from the millimetres between rows and between columns."""
        spacing = self._value(page, "PixelMeasuresSequence", "PixelSpacing")
        if not spacing:
            return None
        y, x = (1e3 * float(size) for size in spacing)
        return (y, x) if 0 < y < math.inf and 0 < x < math.inf else None

    def page_distance(self) -> float | None:
        """From where the frames are, as it is that which the standard relies on; else as the file says it.

        Slice Thickness says how thick a slice is: slices overlap, or have gaps between them (PS3.3 C.7.6.16.2.1).
        """
        steps = self._steps()
        if steps is None:
            spacing = self._value(0, "PixelMeasuresSequence", "SpacingBetweenSlices")
            return 1e3 * float(spacing) if spacing else None
        mean = float(steps.mean())
        return 1e3 * abs(mean) if np.allclose(steps, mean, rtol=_UNEVEN, atol=0) else None

    def _steps(self) -> NDArray[np.float64] | None:
        """Millimetres from each frame to the next along the normal of the first; None where one has no place."""
        sides = self._value(0, "PlaneOrientationSequence", "ImageOrientationPatient")
        corners = [self._value(page, "PlanePositionSequence", "ImagePositionPatient") for page in range(self.count)]
        if not sides or not all(corners):
            return None
        row, column = np.array(sides, np.float64).reshape(2, 3)
        return np.diff(np.array(corners, np.float64) @ np.cross(row, column))

    def _value(self, page: int, sequence: str, name: str) -> Any:  # noqa: ANN401 (what pydicom makes of it)
        """The first that there is of a frame's attribute in a sequence."""
        return next((value for group in self._groups(page, sequence) if (value := group.get(name))), None)

    def orientation(self) -> str:
        """Axis codes of the first frame; where it says how it lies, so do the others, but for their place."""
        cosines = self._value(0, "PlaneOrientationSequence", "ImageOrientationPatient")
        return axis_codes((np.reshape(cosines, (2, 3)).astype(float) * _TO_RAS).T) if cosines else ""

    def _groups(self, page: int, name: str) -> Iterator[Any]:
        """Where a frame's attributes may stand: for it alone, for all frames, in the file itself."""
        per_frame = self.data.get("PerFrameFunctionalGroupsSequence") or []
        shared = self.data.get("SharedFunctionalGroupsSequence") or []
        for group in [*per_frame[page : page + 1], *shared[:1]]:
            yield from (group.get(name) or [])[:1]
        yield self.data


@contextmanager
def _open(path: Path) -> Iterator[_Dicom]:
    import pydicom
    from pydicom.filereader import read_file_meta_info

    import unetseg.dicom_codecs  # noqa: F401 (adds decoders to pydicom)

    # pydicom warns of values against the standard, which scanners write, and reads them. A filter of its own rather
    # than catch_warnings, which threads must not use side by side; setting it again changes nothing.
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    if read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED:
        # It would be inflated as a whole, to whatever size.
        raise BadFileError(f"{path}: deflated DICOM is not read; save uncompressed")
    yield _Dicom(path, pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS))


def _orientation(path: Path) -> str:
    with _open(path) as frames:
        return frames.orientation()


DICOM = Format("DICOM", (".dcm", ".dicom", ".ima"), lambda head: head[128:132] == b"DICM", _open, _orientation)
