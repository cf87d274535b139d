"""NIfTI."""

import errno
import gzip
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest

from unetseg import format_nifti
from unetseg.config import ScanSource
from unetseg.errors import BadFileError
from unetseg.formats import page_distance, plane_count, plane_header, read_plane
from unetseg.planes import ScanHeader
from unetseg.readers import list_scans, name_of, read_scan

RANDOM = np.random.default_rng(0)
VOLUME = RANDOM.integers(-999, 999, (7, 5, 3), np.int16)  # x, y, z
VERSIONS = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}


def nifti(path, volume, version=1, units="mm", zooms=None, scaling=None):
    image = VERSIONS[version](volume, np.eye(4))
    image.header.set_data_dtype(volume.dtype)
    image.header.set_xyzt_units(units)
    if zooms:
        image.header.set_zooms(zooms)
    if scaling:
        image.header.set_slope_inter(*scaling)
    nibabel.save(image, path)
    return path


def changed(path, at, value):
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def pixels_of(path, page=None):
    return read_plane(path, page, max_bytes=1e8)[1]


def refusal(path):
    with pytest.raises(BadFileError) as error:
        read_plane(path, 0, max_bytes=1e8)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "uint16", "int32", "float32", "float64"])
def test_slices_are_planes_with_rows_as_y(tmp_path, suffix, version, dtype):
    volume = np.abs(VOLUME).astype(dtype) % 200
    path = nifti(tmp_path / f"a{suffix}", volume.astype(dtype), version)
    proxy = nibabel.load(path).dataobj
    assert plane_count(path) == 3
    assert plane_header(path, 0).dtype == np.dtype(dtype).name
    for page in range(3):
        found = pixels_of(path, page)
        assert found.dtype.isnative
        assert found.shape == (5, 7, 1)
        np.testing.assert_array_equal(found[..., 0], np.asarray(proxy)[:, :, page].T)
        np.testing.assert_array_equal(found[..., 0], volume[:, :, page].T)


def test_ids_of_gzipped_volumes(tmp_path):
    assert name_of("a.nii.gz") == name_of("a.NII.GZ") == name_of("a.nii") == "a"
    nifti(tmp_path / "one.nii.gz", VOLUME[..., :1])
    nifti(tmp_path / "vol.nii.gz", VOLUME)
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["one", "vol.p0000", "vol.p0001", "vol.p0002"]
    assert bad == []
    np.testing.assert_array_equal(read_scan(scans[2], max_gigabytes=1).pixels[..., 0], VOLUME[:, :, 1].T)


def test_volumes_of_the_fourth_axis_follow_each_other(tmp_path):
    series = RANDOM.integers(0, 99, (4, 5, 3, 2), np.uint8)
    path = nifti(tmp_path / "a.nii", series)
    assert plane_count(path) == 6
    np.testing.assert_array_equal(pixels_of(path, 4)[..., 0], series[:, :, 1, 1].T)


def test_a_flat_image_is_one_plane(tmp_path):
    path = nifti(tmp_path / "a.nii", VOLUME[..., 0])
    np.testing.assert_array_equal(pixels_of(path)[..., 0], VOLUME[..., 0].T)


@pytest.mark.parametrize("scaling", [(0.5, 0), (1, -7), (0.1, 3.7)])
def test_scaling_makes_values_as_nibabel_does(tmp_path, scaling):
    path = tmp_path / "a.nii"
    nifti(path, VOLUME)
    head = np.array(scaling, "<f4").tobytes()
    changed(path, 112, head)  # scl_slope, scl_inter
    proxy = nibabel.load(path).dataobj
    assert proxy.slope == np.float32(scaling[0])
    assert plane_header(path, 1).dtype == "float64"
    np.testing.assert_array_equal(pixels_of(path, 1)[..., 0], np.asarray(proxy)[:, :, 1].T)


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours(tmp_path, names):
    colours = RANDOM.integers(0, 256, (7, 5, 2, len(names)), np.uint8)
    records = colours.view([(name, "u1") for name in names])[..., 0]
    path = nifti(tmp_path / "a.nii", records)
    assert plane_header(path, 0) == ScanHeader(5, 7, 3, "uint8", (1000.0, 1000.0))
    np.testing.assert_array_equal(pixels_of(path, 1), np.moveaxis(colours[:, :, 1, :3], 0, 1))


@pytest.mark.parametrize(
    ("units", "expected"), [("mm", (250.0, 500.0)), ("micron", (0.25, 0.5)), ("meter", (2.5e5, 5e5)), ("unknown", None)]
)
def test_pixel_size(tmp_path, units, expected):
    path = nifti(tmp_path / "a.nii", VOLUME, units=units, zooms=(0.5, 0.25, 3))
    assert plane_header(path, 0).pixel_size == expected


def test_sizes_are_those_that_were_meant_not_the_noise_of_single_precision(tmp_path):
    path = nifti(tmp_path / "a.nii", VOLUME, zooms=(0.8, 0.7, 3.3))
    assert float(np.float32(0.8)) * 1e3 != 800
    assert plane_header(path, 0).pixel_size == (700.0, 800.0)
    assert page_distance(path) == 3300.0


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("units", "expected"), [("mm", 3e3), ("micron", 3.0), ("meter", 3e6), ("unknown", None)])
def test_slices_are_apart_by_the_third_size(tmp_path, suffix, version, units, expected):
    path = nifti(tmp_path / f"a{suffix}", VOLUME, version, units=units, zooms=(0.5, 0.25, 3))
    assert page_distance(path) == expected


@pytest.mark.parametrize("size", [0, -3, np.nan, np.inf], ids=str)
def test_what_is_no_distance_between_slices_is_none(tmp_path, size):
    path = nifti(tmp_path / "a.nii", VOLUME)
    assert page_distance(path) == 1000
    assert page_distance(changed(path, 76 + 3 * 4, np.array([size], "<f4").tobytes())) is None  # pixdim[3]


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 1, 3), (4, 5, 3, 2)], ids=str)
def test_slices_of_one_volume_alone_have_a_distance(tmp_path, shape):
    path = nifti(tmp_path / "a.nii", np.zeros(shape, np.uint8), zooms=(1,) * len(shape))
    assert page_distance(path) is None


def test_complex_is_refused(tmp_path):
    assert "complex64" in refusal(nifti(tmp_path / "a.nii", VOLUME.astype(np.complex64)))


def test_values_that_are_no_number_are_refused(tmp_path):
    volume = VOLUME.astype(np.float32)
    volume[2, 2, 0] = np.nan
    assert "1 values" in refusal(nifti(tmp_path / "a.nii", volume))


@pytest.mark.parametrize("removed", [1, 150, 300, 500])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_cut_short(tmp_path, suffix, removed):
    path = nifti(tmp_path / f"a{suffix}", RANDOM.integers(0, 255, (50, 50, 1), np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - removed])
    if suffix == ".nii":
        assert "cut short" in refusal(path) or "cannot be read" in refusal(path)
    elif removed > 8:  # gzip's own eight last bytes are behind the pixels
        assert "cannot be read" in refusal(path)


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (40, np.array([3, 30000, 30000, 30000], "<i2").tobytes(), "cut short"),
        (40, np.array([3, 7, -5, 3], "<i2").tobytes(), "not planes"),
        (40, np.array([5, 7, 1, 1, 1, 15], "<i2").tobytes(), "not planes"),
        (40, np.array([1, 105], "<i2").tobytes(), "not planes"),
        (70, np.array([77], "<i2").tobytes(), "cannot be read"),
        (108, np.array([1e9], "<f4").tobytes(), "cut short"),
        (108, np.array([np.nan], "<f4").tobytes(), "cannot be read"),
        (344, b"ni1\0", "not a DICOM, TIFF"),
    ],
)
def test_broken_headers(tmp_path, at, value, reason):
    assert reason in refusal(changed(nifti(tmp_path / "a.nii", VOLUME), at, value))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((30000, 30000, 1), "1.8 GB"), ((30000, 30000, 30000), "cut short"), ((1, 1, 30000), "images")],
)
def test_gzipped_headers_that_claim_too_much(tmp_path, shape, reason):
    path = changed(nifti(tmp_path / "a.nii", VOLUME), 40, np.array([3, *shape], "<i2").tobytes())
    content = gzip.compress(path.read_bytes())
    path = tmp_path / "a.nii.gz"
    # Bytes behind the stream make the file long enough for the claim of one plane, not for more.
    path.write_bytes(content + bytes(2_000_000 if shape[2] == 1 else 0))
    assert reason in refusal(path)


def test_gzip_of_something_else(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"hello"))
    assert "not a DICOM, TIFF" in refusal(tmp_path / "a.nii.gz")


# --------------------------------------------------------------------------- gzipped volumes


def test_a_gzipped_volume_is_inflated_once_for_all_slices(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii.gz", VOLUME)
    opened, real = [], gzip.open
    monkeypatch.setattr(format_nifti.gzip, "open", lambda *args: opened.append(args) or real(*args))
    for page in (2, 0, 1):
        np.testing.assert_array_equal(pixels_of(path, page)[..., 0], VOLUME[:, :, page].T)
    assert len(opened) == 1


def test_a_gzipped_volume_that_changes_is_inflated_again(tmp_path):
    path = nifti(tmp_path / "a.nii.gz", VOLUME)
    pixels_of(path, 0)
    nifti(path, VOLUME + 1)
    np.testing.assert_array_equal(pixels_of(path, 0)[..., 0], VOLUME[:, :, 0].T + 1)


def test_threads_read_slices_of_one_gzipped_volume(tmp_path):
    volume = RANDOM.integers(-999, 999, (64, 48, 40), np.int16)
    path = nifti(tmp_path / "a.nii.gz", volume)
    with ThreadPoolExecutor(4) as pool:
        for page, found in enumerate(pool.map(lambda page: pixels_of(path, page), range(40))):
            np.testing.assert_array_equal(found[..., 0], volume[:, :, page].T)


def test_no_more_of_a_gzipped_file_is_inflated_than_its_header_tells(tmp_path):
    whole = nifti(tmp_path / "a.nii", VOLUME).read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(whole + bytes(50_000_000)))
    assert pixels_of(path, 0).shape == (5, 7, 1)
    status = path.stat()
    assert len(format_nifti._inflated(path, status.st_size, status.st_mtime_ns, len(whole))) == len(whole)


def test_a_full_disk_is_not_the_volumes_fault(tmp_path, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(format_nifti, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left"):
        pixels_of(nifti(tmp_path / "a.nii.gz", VOLUME), 0)
