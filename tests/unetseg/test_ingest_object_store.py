"""Sources and dataset in an object store: what is stored equals what a local disk gets."""

import io

import numpy as np
import pytest
import tifffile

from unetseg.config import ClassSource, GuideSource, IngestConfig, ScanSource, Settings, Sources
from unetseg.dataset import open_dataset
from unetseg.errors import DataError
from unetseg.ingest import ingest
from unetseg.project import Project, load_project, save_project
from unetseg.storage import write_bytes

IDS = ("a", "b", "c", "d")
SHAPE = (24, 20)
KINDS = ("masks/iris", "masks/pupil", "guides/region")


def write(path, pixels):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="minisblack")
    write_bytes(path, file.getvalue())


def mask(random):
    return (random.random(SHAPE) < 0.3).astype(np.uint8) * np.uint8(255)


def make_project(root):
    """Four tiny scans with two overlapping classes and a guide, the same wherever they are."""
    for seed, name in enumerate(IDS):
        random = np.random.default_rng(seed)
        write(root / f"scans/{name}.tif", random.integers(0, 60000, SHAPE).astype(np.uint16))
        for kind in KINDS:
            write(root / f"{kind}/{name}.tif", mask(random))
    sources = Sources(
        ScanSource(str(root / "scans")),
        tuple(ClassSource(name, str(root / f"masks/{name}")) for name in ("iris", "pupil")),
        (GuideSource("region", str(root / "guides/region")),),
    )
    save_project(Project(root / "project", sources, Settings(ingest=IngestConfig(chunk=16, workers=2))))
    return load_project(root / "project")


@pytest.fixture
def projects(bucket, tmp_path):
    """The same project in an object store and on this machine."""
    return make_project(bucket), make_project(tmp_path)


def assert_equal_datasets(found, expected):
    found, expected = open_dataset(found), open_dataset(expected)
    assert found.index.fingerprint == expected.index.fingerprint
    assert set(found.index.scans) == set(expected.index.scans)
    for name, record in expected.index.scans.items():
        ours, theirs = found.read(found.index.scans[name]), expected.read(record)
        for part in ("image", "masks", "guides"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part), strict=True)


def test_an_object_store_gets_what_a_local_disk_gets_and_once(projects):
    remote, local = projects
    results = [ingest(remote), ingest(local)]
    assert [(result.done, result.skipped, result.failed) for result in results] == [(4, 0, ())] * 2
    assert results[0].splits == results[1].splits
    assert_equal_datasets(remote.dataset, local.dataset)
    again = ingest(remote)
    assert (again.done, again.skipped, again.fingerprint) == (0, 4, results[0].fingerprint)


def test_what_changes_in_an_object_store_is_replaced(projects):
    for project in projects:
        ingest(project)
        root = project.folder.parent
        write(root / "masks/iris/b.tif", mask(np.random.default_rng(9)))
        (root / "scans/d.tif").unlink()
        write(root / "scans/e.tif", np.random.default_rng(8).integers(0, 60000, SHAPE).astype(np.uint16))
        for kind in KINDS:
            write(root / f"{kind}/e.tif", mask(np.random.default_rng(7)))
        result = ingest(project)
        assert (result.done, result.skipped, result.vanished) == (2, 2, ("d",))
    assert_equal_datasets(*(project.dataset for project in projects))


def test_a_broken_object_is_set_aside_by_its_address(projects):
    remote, _ = projects
    root = remote.folder.parent
    write_bytes(root / "scans/z.tif", b"II*\0 and then nothing that a TIFF would have")
    for kind in KINDS:
        write_bytes(root / f"{kind}/z.tif", (root / f"{kind}/a.tif").read_bytes())
    result = ingest(load_project(remote.folder, ("ingest.max_failed_fraction=0.5",)))
    assert (result.done, result.failed) == (4, ())
    assert [item.path for item in result.quarantined] == [str(root / "scans/z.tif")]
    assert str(root) not in result.quarantined[0].reason


def test_broken_objects_that_have_masks_are_no_question_of_the_pattern_of_masks(projects):
    for project in projects:
        root = project.folder.parent
        for name in IDS:
            write_bytes(root / f"scans/{name}.tif", b"no TIFF")
        write(root / "scans/bare.tif", np.zeros(SHAPE, np.uint16))
        with pytest.raises(DataError, match="4 of 4 scans cannot be used") as caught:
            ingest(project)
        assert "no mask was found" not in str(caught.value)
