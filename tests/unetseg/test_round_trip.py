"""Any scan, through the store and back, is the normalised original; in one piece or band by band."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg import formats
from unetseg.config import ClassSource, GuideSource, IngestConfig, ScanSource, Settings, Sources
from unetseg.dataset import Dataset
from unetseg.dataset_index import empty_index
from unetseg.ingest_scan import ScanUnit, ingest_scan
from unetseg.normalise import METHODS
from unetseg.project import Project
from unetseg.readers import list_scans

NAMES = ("a", "b", "c")
FLOAT16_STEP = 2.0**-10  # of a float16 between 1 and 2

scans = st.tuples(
    st.sampled_from(["u1", "u2", "i2", "u4", "f4", "f8"]),
    st.tuples(st.integers(1, 60), st.integers(1, 40)),
    st.sampled_from([1, 3]),
    st.integers(0, 2**20),
)
methods = st.sampled_from(sorted(METHODS))


def write_project(folder, scan, method, dtype):
    kind, shape, channels, seed = scan
    random = np.random.default_rng(seed)
    pixels = (random.normal(100, 40, (*shape, channels)).clip(0 if kind[0] == "u" else -300, 255)).astype(kind)
    masks = random.random((*shape, 2)) < 0.3
    guide = random.random(shape) < 0.5
    options = {"photometric": "rgb"} if channels == 3 else {"photometric": "minisblack"}
    for name in ("scans", "m", "n", "g"):
        (folder / name).mkdir()
    tifffile.imwrite(folder / "scans/s.tif", pixels if channels == 3 else pixels[..., 0], rowsperstrip=4, **options)
    for k, name in enumerate("mn"):
        tifffile.imwrite(folder / name / "s.tif", masks[..., k].astype(np.uint8) * 255, rowsperstrip=3)
    tifffile.imwrite(folder / "g/s.tif", guide.astype(np.uint8), tile=(16, 16))
    sources = Sources(
        ScanSource(str(folder / "scans"), channels=NAMES[:channels]),
        tuple(ClassSource(name, str(folder / name)) for name in "mn"),
        (GuideSource("g", str(folder / "g")),),
    )
    config = IngestConfig(normalisation=method, dtype=dtype, chunk=16)
    return Project(folder / "project", sources, Settings(ingest=config)), pixels, masks, guide


def stored(project):
    (ref,), _ = list_scans(project.sources.scans)
    record = ingest_scan(project, ScanUnit(ref, "s")).record
    return Dataset(project.dataset, empty_index(project)), record


def normalised(channel, config):
    """The rule, said again: slow, in doubles."""
    values = channel.astype(np.float64)
    ordered = np.sort(values.ravel())
    if config.normalisation == "zscore":
        return (values - values.mean()) / values.std() if values.std() else np.zeros_like(values)
    if config.normalisation == "none":
        return values
    if config.normalisation == "fixed":
        low, high = config.fixed_low, config.fixed_high
    elif config.normalisation == "percentile":
        percents = (config.low_percentile, config.high_percentile)
        inner = [ordered[max(1, int(np.ceil(len(ordered) * (percent / 100)))) - 1] for percent in percents]
        low, high = inner if inner[1] > inner[0] else (ordered[0], ordered[-1])
    elif config.normalisation == "minmax":
        low, high = ordered[0], ordered[-1]
    else:
        raise NotImplementedError(f"say here, too, what {config.normalisation!r} does")
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


@settings(max_examples=60, deadline=None)
@given(scans, methods, st.sampled_from(["float16", "float32"]))
def test_what_is_stored_is_the_normalised_original(scan, method, dtype):
    with tempfile.TemporaryDirectory() as name:
        project, pixels, masks, guide = write_project(Path(name), scan, method, dtype)
        dataset, record = stored(project)
        planes = dataset.read(record)
    clip = 65504.0 if method in ("fixed", "none") else 8.0
    for channel in range(pixels.shape[-1]):
        expected = normalised(pixels[..., channel], project.settings.ingest).clip(-clip, clip)
        rounding = FLOAT16_STEP if dtype == "float16" else 2.0**-20
        np.testing.assert_allclose(planes.image[..., channel], expected, rtol=rounding, atol=2.0**-14)
    np.testing.assert_array_equal(planes.masks, masks)
    np.testing.assert_array_equal(planes.guides[..., 0], guide)
    assert planes.image.dtype == dtype


@settings(max_examples=25, deadline=None)
@given(scans, methods)
def test_bands_leave_the_same_scan_as_one_piece(scan, method):
    with tempfile.TemporaryDirectory() as name:
        project, *_ = write_project(Path(name), scan, method, "float16")
        dataset, whole = stored(project)
        before = dataset.read(whole)
        again = replace(project, folder=project.folder / "again")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(formats, "WHOLE", 0.0)
            patch.setattr("unetseg.zarr_arrays._SHARD_CHUNKS", 1)
            dataset, record = stored(again)
        after = dataset.read(record)
    for part in ("image", "masks", "guides"):
        np.testing.assert_array_equal(getattr(after, part), getattr(before, part))
    assert record == whole
