import numpy as np
import pytest
import zarr

from unetseg.zarr_arrays import (
    ArrayWriter,
    StoredArray,
    StoredPlanes,
    band_rows,
    create_array,
    read_window,
    shard_rows,
    write_group,
    write_rows,
)


def write_array(path, planes):
    ArrayWriter(path, planes.shape, planes.dtype, chunk=16).write(0, planes)


def files_of(array_folder):
    return [path for path in array_folder.rglob("*") if path.is_file() and path.name != "zarr.json"]


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 15), (40, 50), (3, 40, 50), (1, 7, 300)])
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_planes_come_back_as_they_were_written(tmp_path, shape, dtype):
    planes = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    write_array(write_group(tmp_path / "g", {}) / "0", planes)
    found = zarr.open_array(tmp_path / "g" / "0", mode="r")
    np.testing.assert_array_equal(found[...], planes)
    assert found.dtype == dtype
    assert found.metadata.dimension_names == ("c", "y", "x")[-len(shape) :]


def test_a_chunk_is_one_patch_and_a_scan_is_few_files(tmp_path):
    group = write_group(tmp_path / "g", {})
    write_array(group / "0", np.ones((2, 200, 64), np.uint8))
    array = zarr.open_array(group / "0", mode="r")
    assert array.chunks == (1, 16, 16)
    # 13 x 4 chunks of two channels; 8 to a side of a shard: two files
    assert array.shards == (2, 128, 64)
    assert len(files_of(tmp_path / "g" / "0")) == 2


def test_a_scan_of_one_chunk_is_one_file(tmp_path):
    group = write_group(tmp_path / "g", {})
    write_array(group / "0", np.ones((10, 12), np.uint8))
    assert zarr.open_array(group / "0", mode="r").chunks == (10, 12)
    assert len(files_of(tmp_path / "g" / "0")) == 1


@pytest.mark.parametrize("step", [1, 7, 128, 300])
def test_an_array_written_in_bands_is_the_array(tmp_path, step):
    values = np.random.default_rng(0).integers(0, 255, (2, 300, 40), np.uint8)
    array = ArrayWriter(tmp_path / "0", values.shape, values.dtype, chunk=16)
    for start in range(0, 300, step):
        array.write(start, values[:, start : start + step])
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "0", mode="r")[...], values)


def test_bands_end_where_shards_end(tmp_path):
    write_array(tmp_path / "0", np.zeros((300, 40), np.uint8))
    assert zarr.open_array(tmp_path / "0", mode="r").shards[0] == band_rows(16) == 128


def test_bands_of_a_wide_scan_are_low_and_those_of_a_small_one_are_all_of_it():
    # 64 MiB hold 8 chunks of 512 rows of three classes up to 5461 columns
    assert [shard_rows((3, 9, width), "uint8", chunk=512) // 512 for width in (1, 5461, 5462, 43690, 43691, 10**6)] == [
        8, 8, 7, 1, 1, 1,
    ]  # fmt: skip
    assert shard_rows((3, 9, 5461), "uint32", chunk=512) // 512 == 2


@pytest.mark.parametrize("rows", [16, 48])
def test_a_shard_has_the_rows_that_are_asked_for(tmp_path, rows):
    array = create_array(tmp_path / "0", (2, 100, 40), "uint8", chunk=16, rows=rows)
    assert array.shard == zarr.open_array(tmp_path / "0", mode="r").shards == (2, rows, 48)
    assert (array.shape, array.axes, array.dtype) == ((2, 100, 40), "cyx", np.uint8)


def test_the_pages_of_a_stack_are_written_one_by_one(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 50), np.uint8)
    array = create_array(tmp_path / "0", values.shape, "uint8", chunk=16)
    assert array.shard[:2] == (2, 1)
    for page in (2, 0, 1):
        write_rows(array, 0, values[:, page], page)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "0", mode="r")[...], values)
    np.testing.assert_array_equal(StoredPlanes(tmp_path / "0", 1)[1:, 3:9], values[1:, 1, 3:9])


@pytest.mark.parametrize(("shape", "axes"), [((40, 50), "yx"), ((2, 40, 50), "cyx"), ((2, 40, 50), "zyx")])
def test_stored_planes_are_read_like_an_array(tmp_path, shape, axes):
    values = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    array = create_array(tmp_path / "0", shape, "uint8", chunk=16, axes=axes)
    for page in range(shape[0] if axes == "zyx" else 1):
        write_rows(array, 0, values[page] if axes == "zyx" else values, page)
    planes = StoredPlanes(tmp_path / "0", page=1 if axes == "zyx" else 0)
    expected = values if axes == "cyx" else values.reshape(-1, 40, 50)[-1:]
    assert (planes.shape, planes.dtype) == (expected.shape, np.uint8)
    for part in ((slice(None), slice(None)), (slice(0, 1), slice(7, 20)), (slice(None), slice(33, 99))):
        np.testing.assert_array_equal(planes[part], expected[part])


def test_a_part_of_an_array_is_that_part(tmp_path):
    values = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
    write_array(tmp_path / "0", values)
    np.testing.assert_array_equal(read_window(tmp_path / "0", (slice(3, 9), slice(45, 99))), values[3:9, 45:])
    np.testing.assert_array_equal(StoredArray(tmp_path / "0").read((slice(3, 9), slice(0, 2))), values[3:9, :2])


def test_an_array_whose_metadata_is_known_opens_without_its_file(tmp_path):
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)
    write_array(tmp_path / "0", values)
    metadata = (tmp_path / "0" / "zarr.json").read_text()
    (tmp_path / "0" / "zarr.json").unlink()
    np.testing.assert_array_equal(StoredArray(tmp_path / "0", metadata).read((slice(0, 6), slice(0, 8))), values)
    with pytest.raises(ValueError, match="NOT_FOUND"):
        StoredArray(tmp_path / "0")


def test_arrays_of_one_kind_in_different_folders_hold_their_own_values(tmp_path):
    for number in (1, 2):
        write_array(tmp_path / str(number), np.full((5, 5), number, np.uint8))
    for number in (1, 2):
        assert (zarr.open_array(tmp_path / str(number), mode="r")[...] == number).all()
