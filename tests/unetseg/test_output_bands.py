import json
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from unetseg import output_bands, storage
from unetseg.errors import DataError, UsageError
from unetseg.output_bands import Bands
from unetseg.outputs import FORMATS, LABELS, MASKS, OBJECTS, PROBABILITIES

BOTH = pytest.mark.parametrize("form", sorted(FORMATS))
KINDS = pytest.mark.parametrize("kind", [MASKS, PROBABILITIES, LABELS, OBJECTS], ids=lambda kind: kind.name)
NAMES, SIZE = ("iris", "pupil"), (0.5, 0.25)
SHAPE = 1300, 90  # two bands and a rest; two levels
STARTS = [0, 512, 1024]


def some_planes(kind=MASKS):
    random = np.random.default_rng(0)
    if kind is LABELS:
        labels = random.integers(0, 3, SHAPE)
        return np.stack([labels == 1, labels == 2]).astype(np.uint8)
    most = {MASKS: 2, PROBABILITIES: 256, OBJECTS: 2**32}[kind]
    return random.integers(0, most, (2, *SHAPE)).astype(kind.dtype)


def make_bands(folder, kind=MASKS, rows=512):
    return Bands(folder / "work", (2, *SHAPE), NAMES, SIZE, rows=rows, kind=kind)


def fill(bands, planes, starts=(1024, 0, 512)):
    for start in starts:
        for left, right in reversed(bands.strips):
            bands.write(start, left, planes[:, start : start + bands.rows, left:right])
        bands.commit(start, [start])


def contents(path):
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return {item.relative_to(path).as_posix(): item.read_bytes() for item in files}


def written_at_once(folder, form, planes, kind=MASKS):
    path = folder / "whole" / f"a{FORMATS[form].suffix}"
    FORMATS[form].write(path, planes, NAMES, SIZE, kind=kind)
    return path


@BOTH
@KINDS
def test_bands_in_any_order_become_what_is_written_at_once(tmp_path, form, kind):
    planes, path = some_planes(kind), tmp_path / f"a{FORMATS[form].suffix}"
    bands = make_bands(tmp_path, kind)
    bands.begin()
    fill(bands, planes)
    bands.finish(path, FORMATS[form])
    bands.discard()
    np.testing.assert_array_equal(FORMATS[form].read(path, kind=kind), planes)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    if form == "tiff":  # shards have other heights
        assert contents(path) == contents(written_at_once(tmp_path, form, planes, kind))


@BOTH
@pytest.mark.parametrize("kind", [MASKS, LABELS], ids=lambda kind: kind.name)
def test_an_output_in_an_object_store_is_made_on_this_machine_and_then_put(tmp_path, bucket, form, kind):
    planes, path = some_planes(kind), bucket / f"a{FORMATS[form].suffix}"
    bands = make_bands(tmp_path, kind)
    bands.begin()
    fill(bands, planes)
    bands.finish(path, FORMATS[form])
    np.testing.assert_array_equal(FORMATS[form].read(path, kind=kind), planes)
    thin = FORMATS[form].read(path, kind=kind, step=5)
    FORMATS[form].write(path, planes, NAMES, SIZE, kind=kind)
    np.testing.assert_array_equal(FORMATS[form].read(path, kind=kind, step=5), thin)


def test_several_processes_write_at_once(tmp_path):
    planes, bands = some_planes(), make_bands(tmp_path)
    bands.begin()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for start in STARTS:
            pool.submit(bands.write, start, 0, planes[:, start : start + 512])
    np.testing.assert_array_equal(bands.planes()[:, :], planes)


def test_bands_travel_to_other_processes(tmp_path):
    bands = make_bands(tmp_path, LABELS)
    assert pickle.loads(pickle.dumps(bands)) == bands


def test_what_was_written_is_gone_on_with(tmp_path):
    planes, bands = some_planes(), make_bands(tmp_path)
    bands.begin()
    fill(bands, planes, [512])
    again = make_bands(tmp_path)
    again.begin()
    assert dict(again.written()) == {512: [512]}
    assert again.missing() == [0, 1024]
    fill(again, planes, again.missing())
    again.finish(tmp_path / "a.ome.zarr", FORMATS["ome-zarr"])
    np.testing.assert_array_equal(FORMATS["ome-zarr"].read(tmp_path / "a.ome.zarr"), planes)


@pytest.mark.parametrize("changed", ["kind", "rows"])
def test_what_was_written_for_something_else_is_thrown_away(tmp_path, changed):
    bands = make_bands(tmp_path)
    bands.begin()
    fill(bands, some_planes())
    other = make_bands(tmp_path, PROBABILITIES if changed == "kind" else MASKS, 1024 if changed == "rows" else 512)
    other.begin()
    assert list(other.starts) == list(other.missing())
    assert not other.planes()[:, :].any()


def test_a_band_without_its_marker_is_written_again(tmp_path):
    planes, bands = some_planes(), make_bands(tmp_path)
    bands.begin()
    fill(bands, planes)
    (tmp_path / "work" / "written" / "512.json").unlink()
    assert bands.missing() == [512]
    with pytest.raises(UsageError, match=r"work: 1 of 3 bands are not written yet$"):
        bands.finish(tmp_path / "a.ome.zarr", FORMATS["ome-zarr"])
    bands.write(512, 0, 1 - planes[:, 512:1024])
    np.testing.assert_array_equal(bands.planes()[:, 512:1024], 1 - planes[:, 512:1024])


def test_masks_are_read_back_while_they_are_made(tmp_path):
    for kind in (MASKS, LABELS):
        planes, bands = some_planes(kind), make_bands(tmp_path, kind)
        bands.begin()
        fill(bands, planes, [512])
        assert bands.planes().shape == (2, *SHAPE)
        np.testing.assert_array_equal(bands.planes()[1:, 600:700], planes[1:, 600:700])
        assert not bands.planes()[:, :512].any()


def test_a_wide_band_is_written_and_read_in_strips(tmp_path):
    planes = np.random.default_rng(1).integers(0, 2, (2, 600, 2 * 4096 + 100), np.uint8)
    bands = Bands(tmp_path / "work", planes.shape, NAMES, None, rows=512)
    bands.begin()
    assert bands.strips == [(0, 4096), (4096, 8192), (8192, 8292)]
    fill(bands, planes, [512, 0])
    assert dict(bands.written()) == {0: [0], 512: [512]}
    np.testing.assert_array_equal(bands.planes()[:, :], planes)
    for columns in bands.strips:
        np.testing.assert_array_equal(bands.stored(1, 512, columns), planes[1, 512:, slice(*columns)])


@pytest.mark.parametrize("start", [0, 1024])
def test_what_is_no_strip_of_a_band_is_refused(tmp_path, start):
    bands = make_bands(tmp_path)
    bands.begin()
    for shape in ((2, 511, 90), (1, 512, 90), (2, 512, 89)):
        with pytest.raises(UsageError, match=rf"^planes: the strip from row {start} and column 0 must have shape"):
            bands.write(start, 0, np.zeros(shape, np.uint8))
    for place in ((100, 0), (0, 40)):
        with pytest.raises(UsageError, match=r"^planes: the strip from row {} and column {} must".format(*place)):
            bands.write(*place, np.zeros((2, 512, 90), np.uint8))
    assert dict(bands.written()) == {}


def test_bands_end_where_chunks_end(tmp_path):
    with pytest.raises(UsageError, match=r"^rows: bands must be a multiple of 512 rows high, found 500$"):
        make_bands(tmp_path, rows=500)


@pytest.mark.parametrize("rows", [1300, 1301, 2000, 4096])
def test_one_band_may_be_all_of_a_scan(tmp_path, rows):
    planes, bands = some_planes(), make_bands(tmp_path, rows=rows)
    bands.begin()
    fill(bands, planes, bands.starts)
    assert dict(bands.written()) == {0: [0]}
    bands.finish(tmp_path / "a.ome.zarr", FORMATS["ome-zarr"])
    np.testing.assert_array_equal(FORMATS["ome-zarr"].read(tmp_path / "a.ome.zarr"), planes)


class KilledError(BaseException):
    """As a kill: nothing catches it."""


@BOTH
def test_finishing_goes_on_where_it_was_killed(tmp_path, monkeypatch, form):
    """Killed before and after each change of what is seen: the move of the output, and of what is not needed then."""
    step = 0
    while is_killed_and_goes_on(tmp_path / str(step), monkeypatch, form, step):
        step += 1
    assert step >= 2


def is_killed_and_goes_on(folder, monkeypatch, form, step):
    """Whether there are so many changes; a kill at that one does no harm."""
    planes, path = some_planes(), folder / f"a{FORMATS[form].suffix}"
    FORMATS[form].write(path, np.zeros_like(planes), NAMES, SIZE)
    bands = make_bands(folder)
    bands.begin()
    fill(bands, planes)
    with monkeypatch.context() as patch:
        killed = kill_at(patch, step)
        with suppress(KilledError):
            bands.finish(path, FORMATS[form])
            bands.discard()
    if bands.folder.exists():  # not all was done
        bands.begin()
        assert bands.missing() == []
        bands.finish(path, FORMATS[form])
    np.testing.assert_array_equal(FORMATS[form].read(path), planes)
    return bool(killed)


def kill_at(patch, step):
    """Kill before (0, 2 ...) or after (1, 3 ...) the first, second ... change."""
    changes, killed = [], []

    def around(change):
        def changed(*arguments):
            changes.append(arguments)
            mine = len(changes) == step // 2 + 1
            if mine and step % 2 == 0:
                killed.append(True)
                raise KilledError
            result = change(*arguments)
            if mine:
                killed.append(True)
                raise KilledError
            return result

        return changed

    for module in {output_bands, *(sys.modules[type(each).__module__] for each in FORMATS.values())}:
        for name in {"place_folder", "remove"} & set(vars(module)):
            patch.setattr(module, name, around(getattr(storage, name)))
    return killed


def test_an_output_that_went_away_meanwhile_is_told_of(tmp_path):
    planes, path = some_planes(), tmp_path / "a.ome.tif"
    bands = make_bands(tmp_path)
    bands.begin()
    fill(bands, planes)
    bands.finish(path, FORMATS["tiff"])
    path.unlink()
    with pytest.raises(DataError, match=r"a.ome.tif: was removed while it was being finished; run the same again$"):
        bands.finish(path, FORMATS["tiff"])
    bands.begin()
    assert bands.missing() == STARTS


def test_notes_are_json(tmp_path):
    bands = make_bands(tmp_path)
    bands.begin()
    bands.commit(0, {"areas": [1, 2.5]})
    assert json.loads((tmp_path / "work" / "written" / "0.json").read_text()) == {"note": {"areas": [1, 2.5]}}
