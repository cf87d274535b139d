import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import distributed
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image, ImageLabel

from unetseg import ingest as ingest_module
from unetseg import ingest_scan
from unetseg.config import ClassSource, GuideSource, IngestConfig, ScanSource, Settings, Sources
from unetseg.dataset import open_dataset
from unetseg.errors import DataError, UsageError
from unetseg.formats import plane_count
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.parallel import open_workers
from unetseg.project import Project, load_project

IDS = ("a", "b", "c", "d", "e")
SHAPE = (24, 20)


class Lab:
    """A project with tiny scans, two classes in a folder each, and a guide; files and settings can be changed."""

    def __init__(self, folder):
        self.folder = folder
        sources = Sources(
            ScanSource(str(folder / "scans")),
            (ClassSource("iris", str(folder / "masks/iris")), ClassSource("pupil", str(folder / "masks/pupil"))),
        )
        self.project = Project(folder / "project", sources, Settings(ingest=IngestConfig(chunk=16, workers=2)))
        for number, name in enumerate(IDS):
            self.add(name, number)

    def add(self, name, seed):
        random = np.random.default_rng(seed)
        self.write(f"scans/{name}.tif", random.integers(0, 60000, SHAPE).astype(np.uint16))
        for kind in ("iris", "pupil"):
            self.write(f"masks/{kind}/{name}.tif", self.mask(random))

    def mask(self, random):
        return (random.random(SHAPE) < 0.3).astype(np.uint8) * np.uint8(255)

    def write(self, place, pixels, **options):
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)
        return path

    def read(self, place):
        return tifffile.imread(self.folder / place)

    def remove(self, place):
        (self.folder / place).unlink()

    def set(self, **settings):
        config = replace(self.project.settings.ingest, **settings)
        self.project = replace(self.project, settings=replace(self.project.settings, ingest=config))

    def source(self, **sources):
        self.project = replace(self.project, sources=replace(self.project.sources, **sources))

    def run(self, **settings):
        if settings:
            self.set(**settings)
        return ingest(self.project)

    def counts(self, **settings):
        found = self.run(**settings)
        return found.done, found.skipped

    @property
    def data(self):
        return open_dataset(self.project.dataset)

    def record(self, name):
        return self.data.index.scans[name]


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A project that was ingested once; it is copied for each test."""
    lab = Lab(tmp_path_factory.mktemp("stored"))
    return lab, lab.run()


@pytest.fixture
def night(stored, tmp_path):
    """The project of `stored` the night after, as a copy in another place."""
    shutil.copytree(stored[0].folder, tmp_path / "lab")
    lab = Lab.__new__(Lab)
    lab.folder, lab.project = tmp_path / "lab", moved(stored[0].project, tmp_path / "lab")
    return lab


def moved(project, folder):
    sources = project.sources
    return replace(
        project,
        folder=folder / "project",
        sources=replace(
            sources,
            scans=replace(sources.scans, path=str(folder / "scans")),
            classes=tuple(replace(item, path=str(folder / "masks" / item.name)) for item in sources.classes),
        ),
    )


def reasons(result):
    return {Path(item.path).name: item.reason for item in result.quarantined}


# --------------------------------------------------------------------------- first run


def test_every_scan_is_stored_with_its_masks_and_a_split(stored):
    lab, result = stored
    assert (result.done, result.skipped) == (5, 0)
    assert (result.quarantined, result.failed, result.unlabelled, result.vanished) == ((), (), (), ())
    assert result.splits == lab.data.index.split_sizes() == {"train": 3, "validation": 1, "test": 1}
    assert result.dataset == lab.project.dataset
    assert result.fingerprint == lab.data.index.fingerprint
    for name in IDS:
        masks = [lab.read(f"masks/{kind}/{name}.tif") == 255 for kind in ("iris", "pupil")]
        np.testing.assert_array_equal(lab.data.masks(lab.record(name)), np.stack(masks, axis=-1))
        assert lab.record(name).class_pixels == {"iris": masks[0].sum(), "pupil": masks[1].sum()}


def test_intensities_are_scaled_between_their_percentiles(stored):
    lab, _ = stored
    for name in IDS:
        pixels = lab.read(f"scans/{name}.tif").astype(float)
        low, high = np.percentile(pixels, [0.5, 99.5], method="inverted_cdf")
        found = lab.data.image(lab.record(name))
        assert found.dtype == np.float16
        np.testing.assert_allclose(found[..., 0], (pixels - low) / (high - low), atol=6e-4)  # half a float16 step at 1
        assert lab.record(name).scales[0].offset == low


def test_progress_is_told_of_every_scan(lab):
    told = []
    ingest(lab.project, progress=lambda *what: told.append(what))
    assert [(done, total) for done, total, _ in told] == [(n, 5) for n in range(1, 6)]
    assert sorted(name for _, _, name in told) == list(IDS)


def test_the_store_opens_with_ome_zarr_s_reader_and_is_valid(stored):
    lab, _ = stored
    folder = lab.project.dataset / "scans" / "a"
    nodes = {Path(node.zarr.path).name: node for node in Reader(parse_url(folder))()}
    assert set(nodes) == {"a", "labels", "classes"}
    iris, pupil = (lab.read(f"masks/{kind}/a.tif") == 255 for kind in ("iris", "pupil"))
    np.testing.assert_array_equal(np.asarray(nodes["classes"].data[0]), iris + 2 * pupil)
    image = Image.from_zarr(zarr.open_group(folder, mode="r"))
    assert image.ome_attributes.omero["channels"][0]["label"] == "grey"
    assert image.labels.attributes.ome.labels == ["classes"]
    label = ImageLabel.from_zarr(zarr.open_group(folder / "labels/classes", mode="r"))
    found = {item.label_value: item.model_dump()["class"] for item in label.attributes.ome.image_label.properties}
    assert found == {1: "iris", 2: "pupil", 3: "iris + pupil"}


def test_the_root_lists_all_scans_to_zarr(stored):
    root = zarr.open_group(stored[0].project.dataset, mode="r")
    assert sorted(root["scans"].group_keys()) == list(IDS)
    assert [root["scans"][name].attrs["unetseg"]["id"] for name in IDS] == list(IDS)


def test_pixel_size_is_kept(lab):
    pixels = lab.read("scans/a.tif")
    lab.write("scans/a.tif", pixels, resolution=(2e4, 4e4), resolutionunit="CENTIMETER")  # x, y: pixels per cm
    lab.run()
    assert lab.record("a").pixel_size == pytest.approx((0.25, 0.5))
    attributes = zarr.open_group(lab.project.dataset / "scans/a", mode="r").attrs["ome"]
    scale = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == pytest.approx([1, 0.25, 0.5])


def test_guides_are_stored_and_read_back(lab):
    for number, name in enumerate(IDS):
        lab.write(f"lids/{name}.tif", lab.mask(np.random.default_rng(90 + number)))
    lab.source(guides=(GuideSource("lid", str(lab.folder / "lids")),))
    lab.run()
    np.testing.assert_array_equal(lab.data.guides(lab.record("b"))[..., 0], lab.read("lids/b.tif") == 255)
    assert lab.data.index.guides == ("lid",)
    lab.write("lids/b.tif", lab.mask(np.random.default_rng(1)))
    assert lab.counts() == (1, 4)
    np.testing.assert_array_equal(lab.data.guides(lab.record("b"))[..., 0], lab.read("lids/b.tif") == 255)


def test_a_scan_whose_guide_is_missing_is_set_aside(lab):
    for name in IDS[1:]:
        lab.write(f"lids/{name}.tif", lab.mask(np.random.default_rng(0)))
    lab.source(guides=(GuideSource("lid", str(lab.folder / "lids")),))
    result = lab.run(max_failed_fraction=0.5)
    assert "no guide lid" in reasons(result)["a.tif"]
    assert result.done == 4


def test_ignored_pixels_are_counted_and_read_as_minus_one(lab):
    values = np.random.default_rng(0).choice(np.array([0, 1, 2, 9], np.uint8), SHAPE)
    for name in IDS:
        lab.write(f"masks/all/{name}.tif", values)
    folder = str(lab.folder / "masks/all")
    labels = [ClassSource(name, folder, encoding="labels", values=(value,)) for name, value in PAIRS]
    lab.source(classes=tuple(labels))
    lab.run()
    expected = np.stack([values == 1, values == 2], axis=-1).astype(np.int8)
    expected[values == 9] = -1
    np.testing.assert_array_equal(lab.data.masks(lab.record("a")), expected)
    assert lab.record("a").ignored_pixels == (values == 9).sum()
    assert lab.data.index.classes == ("iris", "pupil")
    assert len(lab.record("a").sources) == 2  # the scan, and the one file of all classes


PAIRS = (("iris", "1"), ("pupil", "2"), ("ignore", "9"))


def test_scans_of_a_group_are_never_torn_apart(lab):
    for name in IDS:
        lab.add(f"{name}2", ord(name))
    lab.source(scans=replace(lab.project.sources.scans, group=r"^(\w)"))
    lab.run()
    splits = {name: record.split for name, record in lab.data.index.scans.items()}
    assert all(splits[name] == splits[f"{name}2"] for name in IDS)
    assert set(lab.data.index.splits) == set(IDS)


def test_ids_that_would_share_a_folder_have_one_each(lab):
    names = ["p/x", "p__x", "p_/x", "p/_x", "zarr.json", "é" * 60, "é" * 60 + "/" + "ü" * 60]
    for number, name in enumerate(names):
        lab.add(name, 100 + number)
    assert lab.run().done == 12
    assert len({record.key for record in lab.data.index.scans.values()}) == 12
    for name in names:
        expected = np.stack([lab.read(f"masks/{kind}/{name}.tif") == 255 for kind in ("iris", "pupil")], axis=-1)
        np.testing.assert_array_equal(lab.data.masks(lab.record(name)), expected)
    assert lab.counts() == (0, 12)


# --------------------------------------------------------------------------- second run


def test_what_is_unchanged_is_not_read_again(lab, monkeypatch):
    first = lab.run()
    monkeypatch.setattr(ingest_module, "plane_count", lambda *_: pytest.fail("was read"))
    for name in ("describe_file", "open_scan", "open_masks", "describe_scan"):
        monkeypatch.setattr(ingest_scan, name, lambda *_, **__: pytest.fail("was read"))
    second = lab.run()
    assert (second.done, second.skipped) == (0, 5)
    assert (second.fingerprint, second.splits) == (first.fingerprint, first.splits)


def test_what_is_unchanged_leaves_the_index_alone(lab):
    lab.run()
    index = lab.project.dataset / "index.json"
    before = index.stat().st_mtime_ns
    lab.run()
    assert index.stat().st_mtime_ns == before


def test_only_the_scan_whose_mask_changed_is_stored_again(night, stored):
    mask = night.mask(np.random.default_rng(77))
    night.write("masks/pupil/c.tif", mask)
    result = night.run()
    assert (result.done, result.skipped) == (1, 4)
    np.testing.assert_array_equal(night.data.masks(night.record("c"))[..., 1], mask == 255)
    assert night.record("c").split == stored[0].record("c").split


def test_a_file_that_was_touched_is_compared_once_and_not_stored_again(lab, monkeypatch):
    lab.run()
    os.utime(lab.folder / "scans/a.tif", (1, 1))
    assert lab.counts() == (0, 5)
    monkeypatch.setattr(ingest_scan, "describe_file", lambda _: pytest.fail("was read"))
    assert lab.counts() == (0, 5)


def test_a_scan_that_vanished_is_marked_and_not_used_and_comes_back(lab):
    first = lab.run()
    before = lab.data.index.scans
    assert before["b"].split == "train"  # the only scan of another split could not go
    shutil.copytree(lab.folder / "scans", lab.folder / "kept")
    for place in ("scans", "kept"):
        os.utime(lab.folder / place / "b.tif", (5, 5))
    lab.remove("scans/b.tif")
    gone = lab.run()
    assert gone.vanished == ("b",)
    assert lab.record("b").vanished
    assert "b" not in [scan.id for scan in lab.data.scans(before["b"].split)]
    assert gone.fingerprint != first.fingerprint
    assert sum(gone.splits.values()) == 4
    shutil.copy2(lab.folder / "kept/b.tif", lab.folder / "scans/b.tif")
    back = lab.run()
    assert (back.done, back.skipped, back.vanished) == (0, 5, ())
    assert back.fingerprint == first.fingerprint
    assert not lab.record("b").vanished
    assert lab.record("b").split == before["b"].split


def test_new_scans_join_without_moving_others(night):
    before = {name: record.split for name, record in night.data.index.scans.items()}
    for number in range(6):
        night.add(f"new{number}", 50 + number)
    result = night.run()
    assert (result.done, result.skipped) == (6, 5)
    assert {name: night.record(name).split for name in IDS} == before
    assert {night.record(f"new{number}").split for number in range(6)} <= {"train", "validation", "test"}


@pytest.mark.parametrize(
    "change",
    [
        {"normalisation": "zscore"},
        {"low_percentile": 1.0},
        {"high_percentile": 98.0},
        {"dtype": "float32"},
    ],
    ids=str,
)
def test_a_setting_that_changes_pixels_stores_the_images_again_and_only_those(night, stored, monkeypatch, change):
    monkeypatch.setattr(ingest_scan, "open_masks", lambda *_, **__: pytest.fail("masks were read"))
    assert night.counts(**change) == (5, 0)
    assert night.data.index.fingerprint != stored[1].fingerprint
    for name in IDS:
        np.testing.assert_array_equal(
            night.data.masks(night.record(name)), stored[0].data.masks(stored[0].record(name))
        )


def test_a_changed_mask_stores_the_masks_again_and_only_those(night, stored, monkeypatch):
    mask = night.mask(np.random.default_rng(77))
    night.write("masks/pupil/c.tif", mask)
    monkeypatch.setattr(ingest_scan, "open_scan", lambda *_, **__: pytest.fail("the scan was read"))
    assert night.counts() == (1, 4)
    np.testing.assert_array_equal(night.data.masks(night.record("c"))[..., 1], mask == 255)
    np.testing.assert_array_equal(night.data.image(night.record("c")), stored[0].data.image(stored[0].record("c")))
    assert night.record("c").class_pixels["pupil"] == (mask == 255).sum()
    assert night.record("c").image == replace(stored[0].record("c").image, sources=night.record("c").image.sources)


def test_another_chunk_stores_all_again_but_training_sees_the_same(night, stored):
    assert night.counts(chunk=32) == (5, 0)
    assert night.data.index.fingerprint == stored[1].fingerprint
    assert zarr.open_array(night.project.dataset / "scans/a/0", mode="r").chunks == (1, 24, 20)


def test_a_scan_of_another_size_takes_its_masks_with_it(night):
    night.write("scans/c.tif", np.arange(48 * 40, dtype=np.uint16).reshape(48, 40))
    result = night.run(resize_masks=True)
    assert result.quarantined == ()
    assert night.data.masks(night.record("c")).shape == (48, 40, 2)


def test_the_same_pixels_in_another_file_leave_the_fingerprint(night, stored):
    """Training would see the same."""
    night.write("masks/pupil/c.tif", night.read("masks/pupil/c.tif"), compression="zlib")
    night.write("scans/a.tif", night.read("scans/a.tif"), compression="zlib", predictor=True)
    result = night.run()
    assert (result.done, result.fingerprint) == (2, stored[1].fingerprint)


def test_one_pixel_of_a_mask_changes_the_fingerprint(night, stored):
    mask = night.read("masks/pupil/c.tif")
    mask[3, 4] = 255 - mask[3, 4]
    night.write("masks/pupil/c.tif", mask)
    assert night.run().fingerprint != stored[1].fingerprint


def test_masks_of_another_size_are_resized_only_when_told(lab):
    small = (np.random.default_rng(0).random((12, 10)) < 0.5).astype(np.uint8) * np.uint8(255)
    lab.write("masks/iris/b.tif", small)
    result = lab.run(max_failed_fraction=0.5)
    assert "12x10 pixels, the scan 24x20; make them equal, or set ingest.resize_masks=true" in reasons(result)["b.tif"]
    assert lab.run(resize_masks=True).quarantined == ()
    expected = np.repeat(np.repeat(small == 255, 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(lab.data.masks(lab.record("b"))[..., 0], expected)


def test_a_mask_of_other_proportions_is_no_copy_of_the_scan(lab):
    lab.write("masks/iris/b.tif", np.zeros((12, 20), np.uint8))
    result = lab.run(max_failed_fraction=0.5, resize_masks=True)
    assert "other proportions" in reasons(result)["b.tif"]


@pytest.mark.parametrize(
    "change",
    [
        {"validation_fraction": 0.4},
        {"test_fraction": 0.4},
        {"workers": 1},
        {"max_failed_fraction": 0.5},
        {"max_scan_gigabytes": 1.0},
        {"fixed_low": 1.0},
        {"fixed_high": 9.0},
    ],
    ids=str,
)
def test_a_setting_that_changes_no_pixels_stores_nothing_again(night, stored, change):
    assert night.counts(**change) == (0, 5)
    assert night.data.index.splits == stored[0].data.index.splits
    assert night.data.index.fingerprint == stored[1].fingerprint


def test_a_class_that_takes_another_of_the_same_files_is_stored_again(lab):
    """The files are the same and in the same order: only which class reads which has changed."""
    for name in IDS:
        for place in ("one", "two"):
            lab.write(f"labels/{place}/{name}.tif", np.random.default_rng(len(place)).integers(0, 3, SHAPE, np.uint8))

    def classes(last):
        return tuple(
            ClassSource(name, str(lab.folder / "labels" / place), encoding="labels", values=("1", "2"))
            for name, place in (("x", "one"), ("y", "two"), ("z", last))
        )

    lab.source(classes=classes("one"))
    lab.run()
    lab.source(classes=classes("two"))
    assert lab.counts() == (5, 0)
    np.testing.assert_array_equal(lab.data.masks(lab.record("a"))[..., 2], lab.read("labels/two/a.tif") > 0)


# --------------------------------------------------------------------------- each setting reaches its end


def pixels_of(lab, name="a"):
    return lab.read(f"scans/{name}.tif").astype(float)


def image_of(lab, **settings):
    lab.run(dtype="float32", **settings)
    return lab.data.image(lab.record("a"))[..., 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"normalisation": "minmax"}, lambda x: (x - x.min()) / (x.max() - x.min())),
        ({"normalisation": "zscore"}, lambda x: (x - x.mean()) / x.std()),
        ({"normalisation": "none"}, lambda x: x),
        ({"normalisation": "fixed", "fixed_low": 1000.0}, lambda x: (x - 1000) / 59000),
        ({"normalisation": "fixed", "fixed_high": 30000.0}, lambda x: x / 30000),
        ({"low_percentile": 20.0}, lambda x: between(x, 20, 99.5)),
        ({"high_percentile": 80.0}, lambda x: between(x, 0.5, 80)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "scaled",
)
def test_normalisation_settings_reach_the_pixels(lab, settings, expected):
    defaults = {"fixed_high": 60000.0} if settings.get("normalisation") == "fixed" else {}
    np.testing.assert_allclose(image_of(lab, **defaults | settings), expected(pixels_of(lab)), atol=1e-5)


def between(values, low, high):
    low, high = np.percentile(values, [low, high], method="inverted_cdf")
    return (values - low) / (high - low)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_type_of_the_stored_intensities_is_set(lab, dtype):
    lab.run(dtype=dtype)
    assert zarr.open_array(lab.project.dataset / "scans/a/0", mode="r").dtype == dtype


@pytest.mark.parametrize(("chunk", "expected"), [(16, (1, 16, 16)), (64, (1, 24, 20))])
def test_the_size_of_a_chunk_is_set(lab, chunk, expected):
    lab.run(chunk=chunk)
    assert zarr.open_array(lab.project.dataset / "scans/a/0", mode="r").chunks == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"validation_fraction": 0.4, "test_fraction": 0.2}, {"train": 4, "validation": 4, "test": 2}),
        ({"validation_fraction": 0.1, "test_fraction": 0.3}, {"train": 6, "validation": 1, "test": 3}),
    ],
)
def test_the_shares_of_the_splits_are_set(lab, settings, expected):
    for number in range(5):
        lab.add(f"f{number}", 50 + number)
    assert lab.run(**settings).splits == expected


def test_the_largest_scan_is_set(lab):
    for name in IDS:  # one compressed strip must be decoded at once: 24 x 20 x 2 = 960 bytes
        lab.write(f"scans/{name}.tif", lab.read(f"scans/{name}.tif"), compression="zlib")
    lab.write("scans/b.tif", np.zeros((48, 20), np.uint16), compression="zlib")
    result = lab.run(max_scan_gigabytes=961e-9, max_failed_fraction=0.2)
    assert "more than the limit" in reasons(result)["b.tif"]
    with pytest.raises(DataError, match="5 of 5"):
        lab.run(max_scan_gigabytes=959e-9, normalisation="minmax")


@pytest.mark.parametrize(("limit", "fails"), [(0.19, True), (0.2, False)])
def test_the_share_of_scans_that_may_fail_is_set(lab, limit, fails):
    (lab.folder / "scans/b.tif").write_bytes(b"no image")
    if fails:
        with pytest.raises(DataError, match=r"1 of 5 scans .*max_failed_fraction = 0\.19 allows; .* 0\.2; b\.tif: "):
            lab.run(max_failed_fraction=limit)
    else:
        assert lab.run(max_failed_fraction=limit).done == 4


def test_where_all_may_fail_and_all_do_no_limit_is_named(lab):
    for name in IDS:
        (lab.folder / f"scans/{name}.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"^ingest: no scan of 5 can be used; a\.tif: "):
        lab.run(max_failed_fraction=1.0)


def test_workers_and_cluster_are_passed_on(lab, monkeypatch):
    passed = {}

    def opened(**options):
        passed.update(options)
        return open_workers()

    monkeypatch.setattr(ingest_module, "open_workers", opened)
    lab.set(workers=7)
    ingest(lab.project, cluster="tcp://somewhere")
    assert passed == {"workers": 7, "cluster": "tcp://somewhere"}


def test_what_is_wrong_with_one_known_scan_leaves_the_others_unread(lab, monkeypatch):
    lab.run()
    (lab.folder / "masks/iris/b.tif").unlink()
    monkeypatch.setattr(ingest_scan, "describe_file", lambda _: pytest.fail("was read"))
    result = lab.run(max_failed_fraction=0.5)
    assert (result.done, result.skipped) == (0, 4)
    assert "no mask for iris" in reasons(result)["b.tif"]


@pytest.mark.server
def test_a_cluster_stores_what_threads_store(lab):
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as cluster:
        result = ingest(lab.project, cluster=cluster.scheduler_address)
    assert result.done == 5
    assert lab.counts() == (0, 5)


# --------------------------------------------------------------------------- bad files


def test_bad_scans_are_set_aside_with_reasons_and_the_others_go_on(lab):
    truncated = lab.folder / "scans/a.tif"
    truncated.write_bytes(truncated.read_bytes()[:-500])
    lab.write("masks/iris/b.tif", np.zeros((10, 11), np.uint8))
    for name, seed in (("f", 6), ("g", 7), ("h", 8)):
        lab.add(name, seed)
    lab.remove("masks/pupil/f.tif")
    lab.write("masks/iris/g.tif", np.zeros(SHAPE, np.complex64))
    result = lab.run(max_failed_fraction=0.5)
    assert (result.done, result.failed, result.unlabelled) == (4, (), ())
    found = reasons(result)
    assert set(found) == {"a.tif", "b.tif", "f.tif", "g.tif"}
    assert str(truncated) not in found["a.tif"]  # the path is beside the reason
    assert "10x11 pixels, the scan 24x20; make them equal" in found["b.tif"]
    assert "scan f: no mask for pupil" in found["f.tif"]
    assert "are not intensities" in found["g.tif"]
    assert {Path(item.path).name: item.reason for item in lab.data.index.quarantine} == found
    assert sorted(lab.data.index.scans) == ["c", "d", "e", "h"]


@pytest.fixture
def stacks(lab):
    """Two stacks of four pages beside the scans, with masks."""
    for name in ("v", "w"):
        lab.write(f"scans/{name}.tif", np.random.default_rng(7).integers(0, 60000, (4, *SHAPE)).astype(np.uint16))
        for kind in ("iris", "pupil"):
            lab.write(f"masks/{kind}/{name}.tif", np.zeros((4, *SHAPE), np.uint8))
    lab.set(max_failed_fraction=0.5)
    return lab


def pages(lab, name):
    return [scan_id for scan_id in lab.data.index.scans if scan_id.startswith(f"{name}.p")]


@pytest.mark.parametrize("number", [pytest.param(3, id="one-too-few"), pytest.param(7, id="surplus")])
def test_a_stack_whose_mask_stack_has_another_length_is_set_aside_whole_for_one_reason(stacks, caplog, number):
    lab = stacks
    mask = lab.write("masks/pupil/w.tif", np.zeros((number, *SHAPE), np.uint8))
    result = lab.run()
    assert result.done == 5 + 4
    (reason,) = {item.reason for item in result.quarantined}
    assert [Path(item.path).name for item in result.quarantined] == ["w.tif"] * 4
    assert reason.startswith(f"scan w: mask {mask} holds {number} pages, the scan 4")
    assert [text for text in caplog.messages if text.startswith("quarantined")] == [
        f"quarantined {lab.folder / 'scans/w.tif'}: {reason} (4 pages)"
    ]
    assert len(pages(lab, "v")) == 4
    assert not pages(lab, "w")
    lab.write("masks/pupil/w.tif", np.zeros((4, *SHAPE), np.uint8))
    assert lab.counts() == (4, 9)


def test_a_stack_that_grew_without_its_masks_is_set_aside_whole(stacks):
    stacks.run()
    stacks.write("scans/w.tif", np.random.default_rng(8).integers(0, 60000, (5, *SHAPE)).astype(np.uint16))
    result = stacks.run()
    assert [Path(item.path).name for item in result.quarantined] == ["w.tif"] * 5
    assert "holds 4 pages, the scan 5" in result.quarantined[0].reason


def test_pages_of_stacks_are_counted_once_per_file_and_scans_of_one_image_not_at_all(stacks, monkeypatch):
    opened = []
    monkeypatch.setattr("unetseg.plane_counts.plane_count", lambda path: opened.append(path) or plane_count(path))
    stacks.run(workers=1)
    folders = [stacks.folder / name for name in ("scans", "masks/iris", "masks/pupil")]
    assert sorted(opened) == sorted(folder / f"{name}.tif" for name in ("v", "w") for folder in folders)


def test_a_scan_that_broke_is_no_longer_used_and_is_when_it_is_whole_again(night, stored):
    path = night.folder / "scans/b.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    result = night.run(max_failed_fraction=0.5)
    assert set(reasons(result)) == {"b.tif"}
    assert "b" not in [scan.id for split in result.splits for scan in night.data.scans(split)]
    path.write_bytes(whole)
    result = night.run()
    assert result.quarantined == ()
    assert result.fingerprint == stored[1].fingerprint


def test_scans_without_any_mask_are_unlabelled_not_bad(lab):
    lab.write("scans/z.tif", np.zeros(SHAPE, np.uint8))
    result = lab.run(max_failed_fraction=0.0)
    assert result.unlabelled == ("z",)
    assert result.quarantined == ()
    assert result.done == 5


def remove_masks(lab, name):
    for kind in ("iris", "pupil"):
        lab.remove(f"masks/{kind}/{name}.tif")


def test_a_scan_that_lost_its_masks_is_without_masks_and_has_not_vanished(lab, caplog):
    for number in range(10):
        lab.add(f"f{number}", 50 + number)
    lab.write("scans/z.tif", np.zeros(SHAPE, np.uint8))
    first = lab.run()
    assert (first.unlabelled, first.lost_masks) == (("z",), ())
    assert "; 1 without masks, 0 quarantined, 0 vanished" in first.sentence
    lost = next(name for name, scan in lab.data.index.scans.items() if scan.split == "test")
    remove_masks(lab, lost)
    caplog.clear()
    for _ in range(2):  # it is the same at each later ingest
        result = lab.run()
        assert (result.unlabelled, result.lost_masks, result.vanished) == ((lost, "z"), (lost,), ())
        assert "; 2 without masks (1 had some before), 0 quarantined, 0 vanished" in result.sentence
        assert f'1 of them had masks at an earlier ingest</h3><p class="names">{lost} (test)' in (
            result.page.read_text()
        )
    assert caplog.messages == [  # once
        f"ingest: since the last ingest all masks of 1 scan are gone: {lost} (test); scans without masks are left out"
    ]
    lab.add(lost, 77)
    assert lab.run().lost_masks == ()


@pytest.mark.parametrize("split", ["train", "test"])
def test_scans_that_go_from_validation_or_test_are_told_once(lab, caplog, split):
    for number in range(10):
        lab.add(f"f{number}", 50 + number)
    lab.run()
    gone = next(name for name, scan in lab.data.index.scans.items() if scan.split == split)
    lab.remove(f"scans/{gone}.tif")
    caplog.clear()
    assert lab.run().vanished == lab.run().vanished == (gone,)
    said = (
        f"ingest: since the last ingest 1 scan of validation or test is gone or cannot be used: {gone} (test); scores "
        "are those of the other scans"
    )
    assert caplog.messages == ([said] if split == "test" else [])


def test_a_mask_of_what_to_ignore_does_not_make_a_scan_labelled(lab):
    lab.write("scans/z.tif", np.zeros(SHAPE, np.uint8))
    for name in (*IDS, "z"):
        lab.write(f"masks/edge/{name}.tif", np.eye(*SHAPE, dtype=np.uint8) * 255)
    ignore = ClassSource("ignore", str(lab.folder / "masks/edge"))
    lab.source(classes=(*lab.project.sources.classes, ignore))
    result = lab.run(max_failed_fraction=0.0)
    assert (result.unlabelled, result.quarantined, result.done) == (("z",), (), 5)
    assert lab.record("a").ignored_pixels == 20


def test_without_any_mask_at_all_the_run_says_so(lab):
    shutil.rmtree(lab.folder / "masks/iris")
    shutil.rmtree(lab.folder / "masks/pupil")
    with pytest.raises(UsageError) as caught:
        lab.run()
    assert str(caught.value) == (
        f"ingest: no mask was found for any of 5 scans: class iris looks for {lab.folder}/masks/iris/{{id}}.*, such as "
        "a.*, and there is no mask at all; correct the pattern or path of sources.classes in "
        f"{lab.project.folder}/unetseg.yaml"
    )


def test_a_wrong_pattern_is_told_with_the_file_that_looks_most_like_a_mask(lab):
    for name in IDS:
        lab.write(f"scans/{name}_mask.tif", np.zeros(SHAPE, np.uint8))
    scans, masks = ScanSource(str(lab.folder / "scans"), exclude="*_mask.*"), str(lab.folder / "scans")
    lab.source(scans=scans, classes=(ClassSource("iris", masks, pattern="{name}_msk.*"),))
    with pytest.raises(UsageError, match=r"any of 5 scans: .*, such as a_msk\.\*, and there is a_mask\.tif; correct"):
        lab.run()


def test_beside_scans_that_cannot_be_used_it_is_told_too_that_the_others_have_no_mask(lab):
    (lab.folder / "scans/a.tif").write_bytes(b"no image")
    shutil.rmtree(lab.folder / "masks")
    with pytest.raises(
        DataError, match=r"1 of 1 scans cannot be used.*; a\.tif: .*; no mask was found for any of 4 sc"
    ):
        lab.run()


def test_where_some_scans_have_masks_nothing_is_said_of_the_pattern_of_masks(lab):
    lab.write("scans/z.tif", np.zeros(SHAPE, np.uint8))
    lab.source(scans=replace(lab.project.sources.scans, channels=("red", "green", "blue", "dapi", "gfp")))
    with pytest.raises(DataError, match="5 of 5 scans cannot be used") as caught:
        lab.run()
    assert "no mask was found" not in str(caught.value)


def test_files_that_are_no_scans_at_all_may_have_masks_too(lab):
    for name in IDS:
        (lab.folder / f"scans/{name}.tif").write_bytes(b"no image")
    lab.write("scans/z.tif", np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match="5 of 5 scans cannot be used") as caught:
        lab.run()
    assert "no mask was found" not in str(caught.value)


def test_an_error_that_nobody_foresaw_is_one_scan_s_failure(lab, monkeypatch):
    read = ingest_scan.open_scan

    def fail_on_b(ref, **options):
        if ref.id == "b":
            raise ZeroDivisionError("surprise")
        return read(ref, **options)

    monkeypatch.setattr(ingest_scan, "open_scan", fail_on_b)
    result = lab.run(max_failed_fraction=0.5)
    assert [(Path(item.path).name, item.reason) for item in result.failed] == [("b.tif", "ZeroDivisionError: surprise")]
    assert result.quarantined == ()
    assert lab.data.index.quarantine == result.failed


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_groups_are_an_error(lab, count):
    for name in IDS[count:]:
        lab.remove(f"scans/{name}.tif")
    with pytest.raises((DataError, UsageError), match="at least 3 groups" if count else "no scans found"):
        lab.run()


def test_without_classes_nothing_is_done(lab):
    lab.source(classes=())
    with pytest.raises(
        UsageError, match=r"sources\.classes: no class is set; .* MASKS --overwrite --project \S*/project$"
    ):
        lab.run()
    assert not lab.project.dataset.exists()


def test_too_many_bad_scans_leave_the_old_index(night):
    before = night.data.index
    for name in ("a", "b"):
        (night.folder / f"scans/{name}.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 of 5"):
        night.run()
    assert replace(night.data.index, quarantine=()) == before
    assert [Path(item.path).name for item in night.data.index.quarantine] == ["a.tif", "b.tif"]  # told all the same


# --------------------------------------------------------------------------- fingerprint


def touch(lab):
    os.utime(lab.folder / "masks/iris/a.tif", (9, 9))


def move_scans(lab):
    (lab.folder / "scans").rename(lab.folder / "elsewhere")
    lab.source(scans=replace(lab.project.sources.scans, path=str(lab.folder / "elsewhere")))


def rename_pattern(lab):
    lab.source(classes=tuple(replace(item, pattern="{name}.*") for item in lab.project.sources.classes))


def change_mask(lab):
    lab.write("masks/iris/a.tif", lab.mask(np.random.default_rng(5)))


def change_scan(lab):
    lab.write("scans/a.tif", lab.read("scans/a.tif")[::-1])


def rename_class(lab):
    iris, pupil = lab.project.sources.classes
    lab.source(classes=(replace(iris, name="limbus"), pupil))


def swap_classes(lab):
    lab.source(classes=lab.project.sources.classes[::-1])


def rename_channel(lab):
    lab.source(scans=replace(lab.project.sources.scans, channels=("infrared",)))


def add_scan(lab):
    lab.add("f", 6)


def remove_scan(lab):
    lab.remove("scans/b.tif")


def add_unlabelled(lab):
    lab.write("scans/z.tif", np.zeros(SHAPE, np.uint8))


def add_broken(lab):
    (lab.folder / "scans/y.tif").write_bytes(b"no image")
    lab.set(max_failed_fraction=0.5)


def nothing(lab):
    pass


@pytest.mark.parametrize("change", [nothing, touch, move_scans, rename_pattern, add_unlabelled, add_broken])
def test_the_fingerprint_stays_when_training_would_see_the_same(night, stored, change):
    change(night)
    assert night.run().fingerprint == stored[1].fingerprint


@pytest.mark.parametrize(
    "change", [change_mask, change_scan, rename_class, swap_classes, rename_channel, add_scan, remove_scan]
)
def test_the_fingerprint_changes_when_training_would_see_something_else(night, stored, change):
    change(night)
    assert night.run().fingerprint != stored[1].fingerprint


def test_the_fingerprint_does_not_depend_on_the_order_of_the_scans(night, stored):
    index = night.data.index
    turned = replace(index, scans=dict(reversed(index.scans.items())))
    assert turned.fingerprint == stored[1].fingerprint


# --------------------------------------------------------------------------- killed, full, damaged, old


def test_a_dataset_of_the_first_schema_is_stored_anew_and_keeps_its_splits(lab):
    splits = dict(zip(IDS, ["test", "validation", "test", "train", "validation"], strict=True))
    lab.project.dataset.mkdir(parents=True)
    index = {"schema_version": 1, "splits": splits, "scans": [{"id": "a", "signature": "x"}]}
    (lab.project.dataset / "index.json").write_text(json.dumps(index))
    with pytest.raises(
        DataError, match="schema version 1, from an earlier unetseg; run ingest, which keeps the splits"
    ):
        open_dataset(lab.project.dataset)
    assert lab.counts() == (5, 0)
    assert {name: lab.record(name).split for name in IDS} == splits


def test_scans_that_a_killed_run_left_are_taken_over_with_their_splits(night, stored, monkeypatch):
    (night.project.dataset / "index.json").unlink()
    night.set(validation_fraction=0.45)  # would decide the splits otherwise
    night.add("new", 99)
    # the copy has other paths: files are compared, not decoded
    read, decoded = ingest_scan.open_scan, []
    monkeypatch.setattr(ingest_scan, "open_scan", lambda ref, **o: decoded.append(ref.id) or read(ref, **o))
    result = night.run()
    assert decoded == ["new"]
    assert (result.done, result.skipped) == (1, 5)
    assert {name: night.record(name).split for name in IDS} == {name: stored[0].record(name).split for name in IDS}


def test_a_mask_that_was_changed_back_after_a_kill_is_stored_again(lab, monkeypatch):
    """The index still tells of the first masks, the store holds the second ones."""
    lab.run()
    path = lab.folder / "masks/iris/b.tif"
    first, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    lab.write("masks/iris/b.tif", lab.mask(np.random.default_rng(5)))
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "update_index", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
    path.write_bytes(first)
    os.utime(path, ns=times)
    assert lab.counts() == (1, 4)
    np.testing.assert_array_equal(lab.data.masks(lab.record("b"))[..., 0], lab.read("masks/iris/b.tif") == 255)


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_scan_that_vanished_after_a_kill_and_comes_back_as_it_was_is_stored_again(lab, monkeypatch):
    """The store holds what the killed run left; the index of the run in which the scan was away is newer than that."""
    first = lab.run()
    path = lab.folder / "scans/b.tif"
    shutil.copy2(path, lab.folder / "kept.tif")
    lab.write("scans/b.tif", lab.read("scans/b.tif") // 2 + np.arange(20, dtype=np.uint16))
    with monkeypatch.context() as patch:
        patch.setattr(ingest_module, "update_index", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
    path.unlink()
    assert lab.run().vanished == ("b",)
    shutil.copy2(lab.folder / "kept.tif", path)
    result = lab.run()
    assert (result.done, result.fingerprint) == (1, first.fingerprint)
    fresh = replace(lab.project, folder=lab.folder / "fresh")
    ingest(fresh)
    other = open_dataset(fresh.dataset)
    np.testing.assert_array_equal(lab.data.image(lab.record("b")), other.image(other.index.scans["b"]))


@pytest.mark.parametrize("part", ["0", "labels"])
def test_a_part_that_was_removed_from_the_store_is_stored_again(night, part):
    """It is seen when anything of the scan changes."""
    shutil.rmtree(night.project.dataset / "scans/d" / part)
    place = "masks/iris/d.tif" if part == "0" else "scans/d.tif"
    night.write(place, night.read(place)[::-1])
    assert night.counts() == (1, 4)
    assert night.data.read(night.record("d")).image.shape == (*SHAPE, 1)


def test_metadata_of_a_scan_in_use_are_not_written_to(night, monkeypatch):
    """Masks are carried over as links: the new scan's own files must be others."""
    place = night.project.dataset / "scans/c/labels/classes/zarr.json"
    with place.open("rb") as in_use:
        before = in_use.read()
        night.write("scans/c.tif", night.read("scans/c.tif")[::-1])
        assert night.counts() == (1, 4)
        in_use.seek(0)
        assert in_use.read() == before
        assert place.stat().st_ino != os.fstat(in_use.fileno()).st_ino


@pytest.mark.parametrize("name", ["zarr.json", "scans/zarr.json", "splits.json", "quarantine.json"])
def test_a_file_of_the_root_that_was_removed_is_no_loss(night, stored, name):
    expected = stored[0].data.index.splits
    (night.project.dataset / name).unlink()
    assert night.counts() == (0, 5)
    assert night.data.index.splits == expected
    assert {key: record.split for key, record in night.data.index.scans.items()} == expected
    assert (night.project.dataset / name).exists() or name == "quarantine.json"


@pytest.mark.parametrize("content", ["[]", '{"a": "trian"}', "{"])
def test_splits_that_are_damaged_are_named_with_the_way_out(night, stored, content):
    path = night.project.dataset / "splits.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"splits\.json: damaged.* remove it"):
        night.run()
    path.unlink()
    assert night.counts() == (0, 5)
    assert night.data.index.splits == stored[0].data.index.splits


def test_a_full_disk_is_told_by_the_system_s_error(monkeypatch):
    from unetseg import zarr_arrays

    with pytest.raises(OSError, match="No space left") as caught, zarr_arrays._disk_errors():
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']")
    assert caught.value.errno == 28
    with pytest.raises(ValueError, match="shape"), zarr_arrays._disk_errors():
        raise ValueError("shape")


def test_a_file_name_that_is_no_text_is_set_aside_like_others(lab):
    try:
        lab.write(os.fsdecode(b"scans/b\xe4d.tif"), lab.read("scans/a.tif"))
    except OSError:
        pytest.skip("the file system takes only names that are text")
    result = lab.run(max_failed_fraction=0.5)
    assert len(result.quarantined) == 1
    assert lab.data.index.quarantine == result.quarantined
    assert lab.counts() == (0, 5)


def test_a_link_to_nothing_is_set_aside(lab):
    (lab.folder / "scans/b.tif").rename(lab.folder / "b.tif")
    (lab.folder / "scans/b.tif").symlink_to(lab.folder / "b.tif")
    lab.run()
    (lab.folder / "b.tif").unlink()
    result = lab.run(max_failed_fraction=0.5)
    assert (result.skipped, result.vanished) == (4, ("b",))


def test_guides_that_came_and_went_leave_the_fingerprint(lab):
    first = lab.run()
    for name in IDS:
        lab.write(f"lids/{name}.tif", lab.mask(np.random.default_rng(3)))
    lab.source(guides=(GuideSource("lid", str(lab.folder / "lids")),))
    assert lab.run().fingerprint != first.fingerprint
    lab.source(guides=())
    assert lab.run().fingerprint == first.fingerprint


def test_two_channels_of_which_one_is_opaque_become_three_alike(lab):
    grey = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
    pixels = np.stack([grey, np.full_like(grey, 65535)], axis=-1)
    lab.write("scans/b.tif", pixels, planarconfig="contig", extrasamples=["unspecified"])
    lab.source(scans=replace(lab.project.sources.scans, channels=("red", "green", "blue")))
    lab.run()
    image = lab.data.image(lab.record("b"))
    assert len(lab.record("b").scales) == 3
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], image[..., 0])
    assert 0.3 < image.mean() < 0.7


def test_new_groups_take_the_split_that_their_scans_have_been_in(lab, caplog):
    """Defining groups anew moves a scan only where its group would be torn otherwise, and says so."""
    for name in ("a", "b", "c"):
        lab.add(f"{name}2", ord(name))
    lab.run()
    before = {name: record.split for name, record in lab.data.index.scans.items()}
    lab.source(scans=replace(lab.project.sources.scans, group=r"^(\w)"))
    lab.run()
    after = {name: record.split for name, record in lab.data.index.scans.items()}
    moved = {name for name in before if before[name] != after[name]}
    torn = {name for name in ("a", "b", "c") if before[name] != before[f"{name}2"]}
    assert {name[0] for name in moved} == torn
    assert len(moved) == len(torn)
    assert any("moved with their new groups" in line for line in caplog.messages) == bool(moved)


def test_groups_that_leave_a_split_empty_are_told_as_the_reason_and_splits_can_be_decided_anew(lab, caplog):
    for name in IDS:
        lab.remove(f"scans/{name}.tif")
    for number in range(12):
        lab.add(f"Maus {number // 3 + 1} Schnitt {number % 3 + 1}", number)
    lab.run()
    validated = {name for name, scan in lab.data.index.scans.items() if scan.split == "validation"}
    assert validated == {"Maus 1 Schnitt 1", "Maus 3 Schnitt 1"}  # the other two of each mouse train
    lab.source(scans=replace(lab.project.sources.scans, group="^(Maus [0-9]+)"))
    with pytest.raises(DataError) as caught:
        lab.run()
    assert str(caught.value) == (
        "splits: no group is left in validation, because its scans would move: sources.scans.group, or the table, "
        "defines groups anew: Maus 1 Schnitt 1 with 'Maus 1' to train, Maus 3 Schnitt 1 with 'Maus 3' to train; define "
        "the groups as they were, or delete dataset.zarr to decide the splits anew"
    )
    assert "moved with their new groups" not in caplog.text
    shutil.rmtree(lab.project.dataset)
    assert all(lab.run().splits.values())
    assert set(lab.data.index.splits) == {f"Maus {number}" for number in range(1, 5)}


def test_an_expression_that_fits_no_scan_stops_before_any_work(lab):
    lab.source(scans=replace(lab.project.sources.scans, group="^(patient)"))
    with pytest.raises(UsageError, match=r"sources\.scans\.group: .* in none of 5 scans, such as 'a'"):
        lab.run()
    assert not lab.project.dataset.exists()


def test_scans_that_are_only_scored_may_have_other_names(lab, caplog):
    lab.source(scans=replace(lab.project.sources.scans, group="^(patient)"))
    assert ingest(lab.project, only_split="test").splits["test"] == 5
    assert "is not found in 5 of 5 scans" in caplog.text


def test_a_table_that_tears_a_group_stops_before_any_work(lab):
    lab.add("ax", 70)
    lab.add("ay", 71)
    (lab.folder / "table.csv").write_text("scan,split\nax,train\nay,test\n")
    lab.source(scans=replace(lab.project.sources.scans, group=r"^(a)", table=str(lab.folder / "table.csv")))
    with pytest.raises(UsageError, match="must lie in one split"):
        lab.run()
    assert not (lab.project.dataset / "scans").exists()


def test_a_table_decides_groups_and_splits(lab):
    table = lab.folder / "table.csv"
    table.write_text("scan,group,split\na,p1,test\nb,p1,test\nc,p2,train\nd,,validation\n")
    lab.source(scans=replace(lab.project.sources.scans, table=str(table)))
    lab.run()
    found = {name: (record.group, record.split) for name, record in lab.data.index.scans.items()}
    assert found["a"] == found["b"] == ("p1", "test")
    assert found["c"] == ("p2", "train")
    assert found["d"] == ("d", "validation")


@pytest.mark.parametrize("damage", ["folder", "attributes", "other"])
def test_a_scan_that_is_damaged_in_the_store_is_stored_again(night, damage):
    folder = night.project.dataset / "scans/d"
    if damage == "folder":
        shutil.rmtree(folder)
    else:
        (folder / "zarr.json").write_text("{" if damage == "attributes" else '{"attributes": {}}')
    assert night.counts() == (1, 4)
    assert night.data.image(night.record("d")).shape == (*SHAPE, 1)


def test_a_full_disk_ends_the_run_and_the_same_command_completes_it(lab, monkeypatch):
    write, written = ingest_scan.describe_scan, []

    def fill_up(folder, record, index):
        if len(written) == 2:
            (folder / "half").write_text("written")
            raise OSError(28, "No space left on device")
        write(folder, record, index)
        written.append(record.id)

    lab.set(workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(ingest_scan, "describe_scan", fill_up)
        with pytest.raises(OSError, match=f"No space left on device: {lab.project.folder}; make space there and run"):
            lab.run()
    assert not (lab.project.dataset / "index.json").exists()
    assert sorted(item.name for item in (lab.project.dataset / "scans").iterdir()) == sorted(written)
    result = lab.run()
    assert (result.done, result.skipped, result.failed) == (3, 2, ())


def test_hidden_temporary_files_and_folders_are_swept(night):
    dataset = night.project.dataset
    (dataset / "scans/.tmp-a-0123abcd/labels").mkdir(parents=True)
    (dataset / ".tmp-index.json-0123abcd").write_text("{")
    (dataset / "scans/.tmp-zarr.json-0123abcd").write_text("{")
    night.run()
    assert list(dataset.rglob(".tmp-*")) == []
    assert sorted(item.name for item in (dataset / "scans").iterdir() if item.is_dir()) == list(IDS)


# --------------------------------------------------------------------------- init


def init_lab(lab, **options):
    return init(lab.folder / "scans", lab.folder / "masks", project=lab.folder / "new", **options)


def test_init_writes_a_project_that_ingest_takes(lab):
    smooth_masks(lab)
    findings = init_lab(lab, overrides=("ingest.chunk=32", "predict.pattern=*.tif"))
    project = load_project(lab.folder / "new")
    assert project.sources == findings.sources
    assert {item.name for item in project.sources.classes} == {"iris", "pupil"}
    assert (project.settings.ingest.chunk, project.settings.predict.pattern) == (32, "*.tif")
    assert ingest(project).done == 5


def smooth_masks(lab):
    """Noise does not look like a mask to init."""
    for name in IDS:
        for kind, size in (("iris", 16), ("pupil", 8)):
            mask = np.zeros(SHAPE, np.uint8)
            mask[2:size, 2:size] = 255
            lab.write(f"masks/{kind}/{name}.tif", mask)


def test_init_leaves_a_project_that_may_have_been_edited_unless_told(lab):
    smooth_masks(lab)
    init_lab(lab)
    path = lab.folder / "new/unetseg.yaml"
    path.write_text("edited")
    with pytest.raises(UsageError, match="is there already and may have been edited; --overwrite replaces it"):
        init_lab(lab)
    assert path.read_text() == "edited"
    init_lab(lab, overwrite=True)
    assert load_project(lab.folder / "new").settings == Settings()


def test_init_refuses_a_wrong_setting_before_it_looks_at_files(tmp_path):
    with pytest.raises(UsageError, match="'epoch' is no setting of train"):
        init(tmp_path / "none", None, project=tmp_path, overrides=("train.epoch=3",))
    assert list(tmp_path.iterdir()) == []


def test_two_candidate_masks_are_a_mistake_and_not_a_missing_label(lab):
    lab.source(classes=lab.project.sources.classes[:1])
    lab.write(f"masks/iris/{IDS[0]}.png.tif", lab.read(f"masks/iris/{IDS[0]}.tif"))
    lab.write(f"masks/iris/{IDS[0]}.tiff", lab.read(f"masks/iris/{IDS[0]}.tif"))
    found = lab.run(max_failed_fraction=0.5)
    assert found.unlabelled == ()
    assert len(found.quarantined) == 1
    assert "make the pattern narrower" in found.quarantined[0].reason


def test_a_failed_ingest_that_replaced_scans_makes_the_dataset_unusable_until_it_is_run_again(lab):
    lab.run()
    place = lab.folder / f"scans/{IDS[0]}.tif"
    good = place.read_bytes()
    place.write_bytes(b"II*")
    with pytest.raises(DataError, match="max_failed_fraction"):
        lab.run(normalisation="zscore", max_failed_fraction=0.0)
    with pytest.raises(DataError, match=r"did not end; run it again: unetseg ingest --project \S*/project$"):
        open_dataset(lab.project.dataset)
    place.write_bytes(good)
    lab.run()
    assert lab.data.index.ingest.normalisation == "zscore"


def test_a_failed_ingest_that_replaced_nothing_leaves_the_dataset_usable(lab):
    lab.run()
    (lab.folder / f"scans/{IDS[0]}.tif").write_bytes(b"II*")
    with pytest.raises(DataError, match="max_failed_fraction"):
        lab.run(max_failed_fraction=0.0)
    assert len(lab.data.index.scans) == len(IDS)


def test_two_ingests_of_one_project_wait_for_each_other(lab):
    with ThreadPoolExecutor(2) as pool:
        found = [future.result() for future in [pool.submit(ingest, lab.project) for _ in range(2)]]
    assert sorted((item.done, item.skipped) for item in found) == [(0, len(IDS)), (len(IDS), 0)]
    assert all(lab.data.masks(scan).shape == (*SHAPE, 2) for scan in lab.data.index.scans.values())
