import hashlib
import os

import pytest

from unetseg.sources import describe_file, hashes, same_files
from unetseg.storage import text_hash


@pytest.fixture
def image(tmp_path):
    """A folder that is one image."""
    for name, content in {"zarr.json": "{}", "0/zarr.json": "{ }", "0/c/0": "abc"}.items():
        (tmp_path / "a.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a.zarr" / name).write_text(content)
    for path in (tmp_path / "a.zarr", *(tmp_path / "a.zarr").rglob("*")):
        os.utime(path, ns=(0, 10**9))
    os.utime(tmp_path / "a.zarr" / "0" / "c" / "0", ns=(0, 7 * 10**9))
    return tmp_path / "a.zarr"


def test_a_file_is_described_by_size_time_and_content(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"abc")
    os.utime(tmp_path / "a.tif", ns=(0, 123_456_789))
    found = describe_file(tmp_path / "a.tif")
    assert (found.path, found.size, found.modified) == (str(tmp_path / "a.tif"), 3, 123_456_789)
    assert found.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert hashes([found, found]) == [found.sha256] * 2


def test_a_folder_that_is_one_image_is_the_sum_of_its_files(image):
    found = describe_file(image)
    assert (found.path, found.size) == (str(image), 2 + 3 + 3)
    content = {"0/c/0": b"abc", "0/zarr.json": b"{ }", "zarr.json": b"{}"}
    assert found.sha256 == text_hash([[name, hashlib.sha256(data).hexdigest()] for name, data in content.items()])


def test_what_was_not_touched_is_the_same(image):
    known = [describe_file(image)]
    assert same_files(known, [image])
    assert not same_files(known, [])
    assert not same_files(known, [image.parent])


def test_a_change_anywhere_in_a_folder_is_seen(image):
    known, chunk = describe_file(image), image / "0" / "c" / "0"
    chunk.write_text("abd")
    os.utime(chunk, ns=(0, 8 * 10**9))
    assert not same_files([known], [image])
    assert describe_file(image).sha256 != known.sha256


def test_an_older_file_of_the_same_size_is_seen(image):
    known, chunk = describe_file(image), image / "0" / "c" / "0"
    chunk.write_text("abd")
    os.utime(chunk, ns=(0, 1))
    assert not same_files([known], [image])


def test_a_file_that_was_renamed_in_a_folder_is_seen(image):
    known = describe_file(image)
    (image / "0" / "zarr.json").rename(image / "0" / "other.json")
    assert not same_files([known], [image])
    assert describe_file(image).sha256 != known.sha256


def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "gone.tif"
    path.write_text("1")
    known = describe_file(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"gone\.tif"):
        describe_file(path)
    with pytest.raises(FileNotFoundError, match=r"gone\.tif"):
        same_files([known], [path])
