import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unetseg.errors import UsageError
from unetseg.storage import (
    file_hash,
    is_remote,
    listing_version,
    local_copy,
    locate,
    modified,
    read_json,
    text_hash,
    write_bytes,
    write_folder,
    write_json,
    zarr_store,
)


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_a_home_folder_is_understood_and_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert locate("~/a") == tmp_path / "a"
    assert locate("a") == tmp_path / "a"


def test_an_address_of_this_machine_is_a_path(tmp_path):
    assert locate(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert locate(f"file://localhost{tmp_path}/a") == tmp_path / "a"
    assert not is_remote(f"file://{tmp_path}/a")


def test_an_address_that_lost_a_slash_is_refused_with_a_way_out():
    with pytest.raises(UsageError, match=r"^s3:/bucket/a: an address has two slashes; write s3://bucket/a$"):
        locate(Path("s3://bucket/a"))


def test_local_paths_need_no_package_for_object_stores():
    code = "import sys, unetseg.storage as s; s.refresh(s.locate('a')); print({'fsspec', 'upath'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_a_local_file_is_its_own_copy(tmp_path):
    with local_copy(tmp_path / "a") as copy:
        assert copy == tmp_path / "a"
    assert zarr_store(tmp_path) == tmp_path


def test_the_time_of_change_is_the_files_and_zero_where_there_is_none(tmp_path):
    (tmp_path / "a").write_text("1")
    os.utime(tmp_path / "a", ns=(5, 123_456_789))
    assert modified(tmp_path / "a") == 123_456_789
    assert modified(tmp_path / "b") == 0
    assert modified(tmp_path / "a" / "b") == 0


def test_a_folder_that_changed_just_now_may_not_be_remembered(tmp_path):
    assert listing_version(tmp_path) is None
    os.utime(tmp_path, ns=(5, 1_000_000_000))
    assert listing_version(tmp_path) == 1_000_000_000


def test_json_comes_back_and_what_is_not_finite_becomes_null(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": [1.5, math.nan, (math.inf, -math.inf)], "µ": "é", "n": None})
    assert read_json(path) == {"a": [1.5, None, [None, None]], "µ": "é", "n": None}
    # strict: a reader that knows no NaN can read it
    assert json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)["a"][0] == 1.5


def test_a_file_keeps_its_old_content_when_the_new_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_while_a_file_is_written_readers_see_the_old_one(tmp_path, monkeypatch):
    path, seen = tmp_path / "a.json", []
    write_bytes(path, b"old")
    replace = Path.replace

    def look_first(self, target):
        seen.append((path.read_bytes(), self.read_bytes(), self.name.startswith(".tmp-")))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look_first)
    write_bytes(path, b"new")
    assert seen == [(b"old", b"new", True)]
    assert path.read_bytes() == b"new"


def test_a_folder_appears_only_when_it_is_full(tmp_path):
    with write_folder(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
        assert folder.name.startswith(".tmp-")
    assert names(tmp_path / "a") == ["b"]
    assert names(tmp_path / "a" / "b") == ["x"]


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("old", "new"):
        with write_folder(tmp_path / "b") as folder:
            (folder / name).write_text("1")
    assert names(tmp_path / "b") == ["new"]
    assert names(tmp_path) == ["b"]


def test_an_error_while_a_folder_is_filled_changes_nothing(tmp_path):
    with write_folder(tmp_path / "b") as folder:
        (folder / "old").write_text("1")
    with pytest.raises(ZeroDivisionError):
        fill_and_fail(tmp_path / "b")
    assert names(tmp_path / "b") == ["old"]
    assert names(tmp_path) == ["b"]


def fill_and_fail(path):
    with write_folder(path) as folder:
        (folder / "new").write_text("1")
        raise ZeroDivisionError


def test_the_old_folder_is_back_when_the_new_cannot_take_its_place(tmp_path, monkeypatch):
    path = tmp_path / "b"
    with write_folder(path) as folder:
        (folder / "old").write_text("1")
    rename = Path.rename

    def fail_into_place(self, target):
        if target == path and not (self / "old").exists():
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_into_place)
    with pytest.raises(OSError, match="Input/output"), write_folder(path) as folder:
        (folder / "new").write_text("1")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["b"]


def test_the_hash_of_a_file_larger_than_a_block_is_its_sha256(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert file_hash(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_the_hash_of_values_is_that_of_their_canonical_json():
    assert (
        text_hash("é", {"b": 1, "a": (2.5, None)})
        == hashlib.sha256('["é",{"a":[2.5,null],"b":1}]'.encode()).hexdigest()
    )
    assert text_hash({"a": 1, "b": 2}) == text_hash({"b": 2, "a": 1})
    assert text_hash("ab", "c") != text_hash("a", "bc")
