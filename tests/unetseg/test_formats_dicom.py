"""DICOM."""

import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from unetseg.config import ScanSource
from unetseg.errors import BadFileError
from unetseg.formats import orientation, page_distance, plane_count, plane_header, read_plane
from unetseg.planes import ScanHeader
from unetseg.readers import list_scans, read_scan

RANDOM = np.random.default_rng(0)
GREY16 = RANDOM.integers(0, 4096, (6, 8), np.uint16)
COLOUR = RANDOM.integers(0, 256, (6, 8, 3), np.uint8)


def dicom(path, pixels, frames=None, syntax=ExplicitVRLittleEndian, payload=None, **attributes):
    """A file of `pixels` (rows, columns[, samples]), behind a leading axis where `frames` is given."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    shape = pixels.shape if frames is None else pixels.shape[1:]
    if frames is not None:
        data.NumberOfFrames = frames
    data.Rows, data.Columns = shape[:2]
    data.SamplesPerPixel = shape[2] if len(shape) > 2 else 1
    data.PhotometricInterpretation = "RGB" if len(shape) > 2 else "MONOCHROME2"
    if len(shape) > 2:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() if payload is None else payload
    data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    if payload is not None:
        data["PixelData"].is_undefined_length = True
    for name, value in attributes.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def pixels_of(path, page=None):
    return read_plane(path, page, max_bytes=1e8)[1]


def refusal(path, max_bytes=1e8):
    with pytest.raises(BadFileError) as error:
        read_plane(path, 0, max_bytes=max_bytes)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("pixels", [GREY16, GREY16.astype(np.uint8), GREY16.astype(np.int16) - 999, COLOUR])
def test_pixels_keep_their_type(tmp_path, syntax, pixels):
    path = dicom(tmp_path / "a.dcm", pixels, syntax=syntax)
    found = pixels_of(path)
    assert found.dtype == pixels.dtype
    assert plane_header(path) == ScanHeader(*found.shape, pixels.dtype.name)
    np.testing.assert_array_equal(found, pixels.reshape(found.shape))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_monochrome1_is_turned_round(tmp_path, bits):
    pixels = GREY16 & np.uint16(2**bits - 1)
    path = dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(pixels_of(path)[..., 0], 2**bits - 1 - pixels)


def test_signed_monochrome1_stays_in_its_range(tmp_path):
    pixels = np.array([[-32768, -1, 0, 32767]], np.int16)
    path = dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(pixels_of(path)[..., 0], [[32767, 0, -1, -32768]])


def test_planar_colour(tmp_path):
    planar = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0)).tobytes()
    path = dicom(tmp_path / "a.dcm", COLOUR, PlanarConfiguration=1, PixelData=planar)
    np.testing.assert_array_equal(pixels_of(path), COLOUR)


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (0.37, 0), (2.5, 11.25)])
def test_rescaling_makes_physical_values(tmp_path, slope, intercept):
    path = dicom(tmp_path / "a.dcm", GREY16, RescaleSlope=slope, RescaleIntercept=intercept)
    data = pydicom.dcmread(path)
    expected = apply_modality_lut(data.pixel_array, data).astype(np.float32)
    assert plane_header(path).dtype == "float32"
    np.testing.assert_array_equal(pixels_of(path)[..., 0], expected)


def test_rescaling_by_one_changes_nothing(tmp_path):
    path = dicom(tmp_path / "a.dcm", GREY16, RescaleSlope="1.0", RescaleIntercept="0")
    assert pixels_of(path).dtype == np.uint16


def test_frames_are_planes(tmp_path):
    stack = RANDOM.integers(0, 999, (3, 4, 5), np.uint16)
    path = dicom(tmp_path / "a.dcm", stack, frames=3)
    assert plane_count(path) == 3
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["a.p0000", "a.p0001", "a.p0002"]
    assert bad == []
    for scan, expected in zip(scans, stack, strict=True):
        np.testing.assert_array_equal(read_scan(scan, max_gigabytes=1).pixels[..., 0], expected)


def test_each_frame_has_its_own_rescaling_and_spacing(tmp_path):
    def group(slope):
        values, measures, outer = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = slope, 1
        measures.PixelSpacing = [slope, 0.25]
        outer.PixelValueTransformationSequence, outer.PixelMeasuresSequence = [values], [measures]
        return outer

    stack = RANDOM.integers(0, 999, (2, 4, 5), np.uint16)
    path = dicom(tmp_path / "a.dcm", stack, frames=2, PerFrameFunctionalGroupsSequence=[group(2), group(3)])
    for page, slope in enumerate((2, 3)):
        np.testing.assert_array_equal(pixels_of(path, page)[..., 0], stack[page] * np.float32(slope) + 1)
        assert plane_header(path, page).pixel_size == (1000 * slope, 250)


FRAMES = RANDOM.integers(0, 999, (3, 4, 5), np.uint16)
OBLIQUE = [1, 0, 0, 0, 0.6, 0.8]  # of rows and columns; their normal is (0, -0.8, 0.6)


def item(**attributes):
    """What a sequence holds."""
    data = Dataset()
    for name, value in attributes.items():
        setattr(data, name, value)
    return data


def placed(positions, **more):
    """Attributes of a file whose frames are so many millimetres along the normal of `OBLIQUE`."""
    corners = [[7 + 0.5 * at, -0.8 * at, 0.6 * at] for at in positions]  # it counts for nothing that they are shifted
    frames = [item(PlanePositionSequence=[item(ImagePositionPatient=corner)]) for corner in corners]
    shared = item(PlaneOrientationSequence=[item(ImageOrientationPatient=OBLIQUE)], **more)
    return {"PerFrameFunctionalGroupsSequence": frames, "SharedFunctionalGroupsSequence": [shared]}


def measures(**attributes):
    return {"PixelMeasuresSequence": [item(PixelSpacing=[0.5, 0.25], **attributes)]}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({"SpacingBetweenSlices": "3.3"}, 3300.0, id="in the file"),
        pytest.param(
            {"SharedFunctionalGroupsSequence": [item(**measures(SpacingBetweenSlices=3))]}, 3000.0, id="of all frames"
        ),
        pytest.param(
            {"PerFrameFunctionalGroupsSequence": [item(**measures(SpacingBetweenSlices=3))] * 3}, 3000.0, id="of each"
        ),
        pytest.param(placed([0, 2.5, 5]), 2500.0, id="by positions"),
        pytest.param(placed([5, 2.5, 0]), 2500.0, id="by positions from behind"),
        pytest.param(placed([0, 2.49, 5]), 2500.0, id="by rounded positions"),
        pytest.param(placed([0, 2.5, 5], **measures(SpacingBetweenSlices=9)), 2500.0, id="positions count"),
        pytest.param(placed([0, 2.5, 7.5], **measures(SpacingBetweenSlices=2.5)), None, id="one is missing"),
        pytest.param(placed([4, 4, 4], **measures(SpacingBetweenSlices=2.5)), None, id="times"),
        pytest.param(placed([0, 2.5], **measures(SpacingBetweenSlices=3)), 3000.0, id="one without a position"),
        pytest.param({"SharedFunctionalGroupsSequence": [item(**measures(SliceThickness=3))]}, None, id="thickness"),
        pytest.param({"SpacingBetweenSlices": 0}, None, id="zero"),
        pytest.param({"SpacingBetweenSlices": -3}, None, id="negative"),
        pytest.param({"SpacingBetweenSlices": None}, None, id="empty"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_how_far_frames_are_apart(tmp_path, attributes, expected):
    path = dicom(tmp_path / "a.dcm", FRAMES, frames=3, **attributes)
    assert plane_count(path) == 3
    assert page_distance(path) == (None if expected is None else pytest.approx(expected))


def test_a_distance_that_is_no_number_hinders_nobody(tmp_path):
    path = dicom(tmp_path / "a.dcm", FRAMES, frames=3, SpacingBetweenSlices="1234")
    path.write_bytes(path.read_bytes().replace(b"1234", b"1,23"))
    assert page_distance(path) is None
    np.testing.assert_array_equal(pixels_of(path, 1)[..., 0], FRAMES[1])


def test_a_single_frame_is_apart_from_nothing(tmp_path):
    assert page_distance(dicom(tmp_path / "a.dcm", GREY16, SpacingBetweenSlices=3)) is None


def test_bilevel_frames(tmp_path):
    bits = RANDOM.random((2, 4, 6)) > 0.5
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = dicom(tmp_path / "a.dcm", bits, frames=2, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    for page in range(2):
        np.testing.assert_array_equal(pixels_of(path, page)[..., 0], bits[page])


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        pytest.param([1, 0, 0, 0, 1, 0], "LP", id="axial"),  # columns to the left of the patient, rows to the back
        pytest.param([-1, 0, 0, 0, 1, 0], "RP", id="mirrored"),
        pytest.param([0, 1, 0, 0, 0, -1], "PI", id="sagittal"),
        pytest.param([0.9, 0, 0.1, 0, -0.9, 0.1], "LA", id="oblique"),
        pytest.param(None, "", id="not-said"),
        pytest.param([1, 0, 0], "", id="broken"),
    ],
)
def test_how_a_frame_lies(tmp_path, cosines, expected):
    assert orientation(dicom(tmp_path / "a.dcm", GREY16, ImageOrientationPatient=cosines)) == expected


def test_how_frames_lie_is_found_where_it_is_said_of_all(tmp_path):
    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    shared.PlaneOrientationSequence = [plane]
    stack = RANDOM.integers(0, 999, (2, 4, 5), np.uint16)
    assert orientation(dicom(tmp_path / "a.dcm", stack, 2, SharedFunctionalGroupsSequence=[shared])) == "LA"


@pytest.mark.parametrize(
    ("spacing", "expected"), [([0.5, 0.25], (500.0, 250.0)), ([0, 1], None), (None, None), ([6.5, 6.5], (6500, 6500))]
)
def test_pixel_size_from_millimetres(tmp_path, spacing, expected):
    path = dicom(tmp_path / "a.dcm", GREY16, PixelSpacing=spacing)
    assert plane_header(path).pixel_size == expected


@pytest.mark.parametrize("pixels", [GREY16, COLOUR])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compressions(tmp_path, pixels, syntax):
    if syntax == JPEG2000Lossless:
        frame = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=False)
        path = dicom(tmp_path / "a.dcm", pixels, syntax=syntax, payload=encapsulate([frame]))
    else:
        data = pydicom.dcmread(dicom(tmp_path / "a.dcm", pixels))
        data.compress(syntax)
        path = tmp_path / "b.dcm"
        data.save_as(path)
    found = pixels_of(path)
    np.testing.assert_array_equal(found, pixels.reshape(found.shape))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(("syntax", "predictor"), [(JPEGLosslessSV1, 1), (JPEGLossless, 4), (JPEGLossless, 7)])
def test_lossless_jpeg(tmp_path, bits, syntax, predictor):
    pixels = RANDOM.integers(0, 2**bits, (6, 8), np.uint8 if bits == 8 else np.uint16)
    payload = encapsulate([imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)])
    path = dicom(tmp_path / "a.dcm", pixels, syntax=syntax, payload=payload, BitsStored=bits)
    np.testing.assert_array_equal(pixels_of(path)[..., 0], pixels)


def test_frames_of_lossless_jpeg_are_planes(tmp_path):
    stack = RANDOM.integers(0, 65536, (3, 6, 8), np.uint16)
    payload = encapsulate([imagecodecs.jpeg8_encode(frame, lossless=True) for frame in stack])
    path = dicom(tmp_path / "a.dcm", stack, 3, syntax=JPEGLosslessSV1, payload=payload)
    for page in range(3):
        np.testing.assert_array_equal(pixels_of(path, page)[..., 0], stack[page])


@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_ls(tmp_path, signed):
    pixels = GREY16.astype(np.int16) - 2000 if signed else GREY16
    payload = encapsulate([imagecodecs.jpegls_encode(pixels.view(np.uint16))])
    path = dicom(tmp_path / "a.dcm", pixels, syntax=JPEGLSLossless, payload=payload)
    found = pixels_of(path)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found[..., 0], pixels)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_lossless_colours_are_not_transformed(tmp_path, syntax):
    if syntax == JPEGLSLossless:
        frame = imagecodecs.jpegls_encode(COLOUR)
    else:
        frame = imagecodecs.jpeg8_encode(COLOUR, lossless=True, colorspace="RGB", outcolorspace="RGB")
    path = dicom(tmp_path / "a.dcm", COLOUR, syntax=syntax, payload=encapsulate([frame]))
    np.testing.assert_array_equal(pixels_of(path), COLOUR)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless", "SC_rgb_jls_lossy_line", "SC_rgb_jls_lossy_sample"])
def test_jpeg_ls_of_other_writers(name):
    folder = Path(pydicom.__path__[0]) / "data/test_files"
    plain = "MR_small" if name.startswith("MR") else "SC_rgb_rle"
    expected = pixels_of(folder / f"{plain}.dcm").astype(int)
    # the colours were compressed with an error of up to 2
    np.testing.assert_allclose(pixels_of(folder / f"{name}.dcm"), expected, atol=0 if name.startswith("MR") else 2)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_a_frame_larger_than_its_header_says_is_refused(tmp_path, syntax):
    encode = imagecodecs.jpegls_encode if syntax == JPEGLSLossless else imagecodecs.jpeg8_encode
    options = {} if syntax == JPEGLSLossless else {"lossless": True}
    payload = encapsulate([encode(np.zeros((2000, 2000), np.uint16), **options)])
    assert "cannot be read" in refusal(dicom(tmp_path / "a.dcm", GREY16, syntax=syntax, payload=payload))


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_a_broken_lossless_frame_is_refused(tmp_path, syntax):
    payload = encapsulate([b"\xff\xd8\xff\xd9"])
    assert "cannot be read" in refusal(dicom(tmp_path / "a.dcm", GREY16, syntax=syntax, payload=payload))


def test_ybr_becomes_rgb_as_pydicom_makes_it(tmp_path):
    path = dicom(tmp_path / "a.dcm", COLOUR, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(pixels_of(path), pixel_array(path))
    assert (pixels_of(path) != COLOUR).any()


def test_dicom_that_also_begins_like_a_tiff(tmp_path):
    path = dicom(tmp_path / "a.dcm", GREY16)
    path.write_bytes(b"II*\0" + path.read_bytes()[4:])
    np.testing.assert_array_equal(pixels_of(path)[..., 0], GREY16)


def test_a_file_is_told_by_its_first_bytes_not_by_its_suffix(tmp_path):
    np.testing.assert_array_equal(pixels_of(dicom(tmp_path / "a.png", GREY16))[..., 0], GREY16)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR is not read"),
        ({"PhotometricInterpretation": "CMYK"}, "CMYK is not read"),
        ({"ModalityLUTSequence": [Dataset()]}, "modality lookup table"),
        ({"SamplesPerPixel": 3, "Rows": 2}, "3 samples a pixel"),
        ({"syntax": DeflatedExplicitVRLittleEndian}, "deflated"),
        ({"syntax": HTJ2KLossless, "payload": encapsulate([b"\xff\x4f\xff\x51"])}, "JPEG 2000.* is not read"),
        ({"syntax": RLELossless, "payload": encapsulate([bytes(64)])}, "cannot be read"),
        ({"Rows": 0}, "no pixels"),
        ({"RescaleSlope": "1e300"}, "infinite"),
        ({"NumberOfFrames": 10**9}, "cut short: 1000000000 frames"),
        ({"NumberOfFrames": -1}, "-1 images"),
        ({"Rows": 65535, "Columns": 65535}, "are not in it"),
    ],
)
def test_what_is_not_read_says_why(tmp_path, attributes, reason):
    path = dicom(tmp_path / "a.dcm", GREY16, **attributes)
    with pytest.raises(BadFileError, match=reason) as error:
        pixels_of(path, 0)
    assert str(path) in str(error.value)


def test_a_compressed_file_that_claims_gigabytes_is_refused(tmp_path):
    payload = encapsulate([bytes(64)])
    path = dicom(tmp_path / "a.dcm", GREY16, syntax=RLELossless, payload=payload, Rows=65535, Columns=65535)
    assert "8.59 GB" in refusal(path)


def test_a_compressed_file_that_claims_a_billion_frames_is_refused(tmp_path):
    payload = encapsulate([bytes(64)])
    path = dicom(tmp_path / "a.dcm", GREY16, syntax=RLELossless, payload=payload, NumberOfFrames=10**9)
    assert "1000000000 images" in refusal(path)


@pytest.mark.parametrize("removed", [1, 50, 100, 200])
def test_cut_short(tmp_path, removed):
    path = dicom(tmp_path / "a.dcm", GREY16)
    path.write_bytes(path.read_bytes()[:-removed])
    assert any(words in refusal(path) for words in ("cut short", "cannot be read", "no image"))


def test_without_pixels(tmp_path):
    path = dicom(tmp_path / "a.dcm", GREY16)
    data = pydicom.dcmread(path)
    del data.PixelData, data.Rows
    data.save_as(path)
    assert "holds no image" in refusal(path)


def test_the_libraries_are_imported_only_when_a_file_needs_them():
    code = (
        "import sys, unetseg.readers; print([n for n in ('pydicom', 'nibabel', 'PIL', 'tifffile') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
