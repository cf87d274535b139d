import hashlib
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from unetseg.errors import DamagedFileError, UsageError
from unetseg.json_files import read_json, write_json
from unetseg.records import read_record, update_json, write_record
from unetseg.storage import (
    add_folder,
    file_hash,
    is_remote,
    leftovers,
    listing_version,
    local_copy,
    locate,
    modified,
    place_folder,
    remove,
    text_hash,
    write_bytes,
    write_file,
    write_folder,
    zarr_store,
)


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_no_path_is_not_the_folder_one_is_in():
    with pytest.raises(UsageError, match="a path is empty, perhaps as a variable that is not set"):
        locate("")


def test_a_home_folder_is_understood_and_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert locate("~/a") == tmp_path / "a"
    assert locate("a") == tmp_path / "a"


def test_a_path_is_told_without_going_up_again(tmp_path, monkeypatch):
    (tmp_path / "scans").mkdir()
    monkeypatch.chdir(tmp_path / "scans")
    assert locate("../masks") == locate(f"{tmp_path}/scans/../masks") == tmp_path / "masks"
    assert locate(f"file://{tmp_path}/scans/../masks") == tmp_path / "masks"


def test_going_up_from_a_link_leads_to_the_folder_above_where_it_leads(tmp_path):
    (tmp_path / "disk/scans").mkdir(parents=True)
    (tmp_path / "disk/masks").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk/scans")
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    assert locate(tmp_path / "link/../masks") == tmp_path / "disk/masks"
    assert locate(tmp_path / "home/scans/../masks") == tmp_path / "home/masks"  # as the user calls it
    assert locate(tmp_path / "link") == tmp_path / "link"


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


def test_one_of_many_files_is_one_line_that_waits_for_no_disk(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    write_json(tmp_path / "new" / "a.json", {"a": [1, math.nan]}, one_of_many=True)
    assert (tmp_path / "new" / "a.json").read_text() == '{"a": [1, null]}'
    assert flushed == []
    write_json(tmp_path / "b.json", {"a": 1})
    assert len(flushed) == 1


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


def test_a_large_file_appears_only_when_it_is_full(tmp_path):
    for text in ("old", "new"):
        with write_file(tmp_path / "a" / "b") as file:
            file.write_text(text)
            assert text == "old" or (tmp_path / "a" / "b").read_text() == "old"
            assert file.name.startswith(".tmp-")
        assert (tmp_path / "a" / "b").read_text() == text
    assert names(tmp_path / "a") == ["b"]


def test_an_error_while_a_file_is_filled_changes_nothing(tmp_path):
    (tmp_path / "b").write_text("old")
    with pytest.raises(ZeroDivisionError):
        fill_file_and_fail(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "old"
    assert names(tmp_path) == ["b"]


def fill_file_and_fail(path):
    with write_file(path) as file:
        file.write_text("new")
        raise ZeroDivisionError


def test_a_folder_that_is_complete_takes_the_place_of_another(tmp_path):
    for name in ("old", "new"):
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / name).write_text("1")
        place_folder(tmp_path / "work", tmp_path / "a" / "b")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["b"]
    assert names(tmp_path / "a" / "b") == ["new"]


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


# Records


def test_a_record_comes_back_with_its_digest(tmp_path):
    path, value = tmp_path / "a.json", {"schema_version": 3, "a": [1.5, math.nan], "µ": "é", "surrogate": "\udc80"}
    write_record(path, value | {"sha256": "another's"})
    found = read_record(path, since=3)
    digest = found.pop("sha256")
    assert found == {**value, "a": [1.5, None]}
    text = path.read_bytes()
    assert text.count(digest.encode()) == 1
    assert hashlib.sha256(text.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def test_each_byte_of_a_record_counts(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, {"schema_version": 3, "threshold": 0.25, "name": "µ"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 2, 32):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(DamagedFileError, match=r"a\.json: .*damaged.*; restore it from a copy"):
                read_record(path, since=3)


@pytest.mark.parametrize("schema", [1, 2, 3, None, "2"])
def test_only_records_older_than_the_digest_may_have_none(tmp_path, schema):
    write_json(tmp_path / "a.json", {"schema_version": schema})
    if schema in (1, 2):
        assert read_record(tmp_path / "a.json", since=3) == {"schema_version": schema}
        return
    with pytest.raises(DamagedFileError, match="it names no SHA-256"):
        read_record(tmp_path / "a.json", since=3)


def test_a_record_must_be_an_object(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(DamagedFileError, match="holds no JSON object"):
        read_record(tmp_path / "a.json", since=3)


# Several processes at once

_APPEND = """
import sys
from pathlib import Path
from unetseg.records import update_json
for turn in range(20):
    update_json(Path(sys.argv[1]), lambda old: [*old, [int(sys.argv[2]), turn]], default=[])
"""


def test_no_change_of_a_file_is_lost_when_processes_change_it_at_once(tmp_path):
    command = [sys.executable, "-c", _APPEND, str(tmp_path / "a.json")]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    items = read_json(tmp_path / "a.json")
    assert sorted(items) == [[number, turn] for number in range(3) for turn in range(20)]


def test_a_change_that_raises_or_changes_nothing_writes_nothing(tmp_path):
    path = tmp_path / "a.json"
    assert update_json(path, lambda old: old, default={"a": 1}) == {"a": 1}
    assert not path.exists()
    path.write_text('{"a":1}')
    assert update_json(path, lambda old: old | {"a": 1}, default=None) == {"a": 1}
    with pytest.raises(ZeroDivisionError):
        update_json(path, lambda old: 1 / 0, default=None)
    assert path.read_text() == '{"a":1}'


def test_a_change_in_place_is_written_too(tmp_path):
    default = {"a": []}

    def change(old):
        old["a"].append(1)
        return old

    update_json(tmp_path / "a.json", change, default=default)
    assert update_json(tmp_path / "a.json", change, default=default) == {"a": [1, 1]} == read_json(tmp_path / "a.json")
    assert default == {"a": []}


def fill(folder):
    (folder / "x").write_text("1")


def test_folders_that_are_added_at_once_get_names_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: add_folder(tmp_path / "m", fill, map(str, count(1))), range(8)))
    assert sorted(path.name for path in added) == [*"12345678"]
    assert names(tmp_path / "m") == [".lock", *"12345678"]
    assert [names(path) for path in added] == [["x"]] * 8


def test_a_folder_that_is_removed_is_renamed_first(tmp_path, monkeypatch):
    add_folder(tmp_path, fill, ["a"])
    monkeypatch.setattr("unetseg.local_disk.shutil.rmtree", lambda path, **_: None)  # killed here
    remove(tmp_path / "a")
    monkeypatch.undo()
    [rest] = leftovers(tmp_path, seconds=-1)
    assert rest.name.startswith(".tmp-a-")
    assert not (tmp_path / "a").exists()
    remove(rest)
    assert names(tmp_path) == [".lock"]


def test_only_old_leftovers_are_told(tmp_path):
    long_ago = time.time() - 1000
    for name in (".tmp-old/b", ".tmp-new/b", "a/.tmp-old/b", "a/b/.tmp-deep/b", "b/kept"):
        write_bytes(tmp_path / name, b"")
    write_bytes(tmp_path / ".tmp-file", b"")
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        if ".tmp-new" not in path.as_posix():
            os.utime(path, (long_ago, long_ago))
    os.utime(tmp_path / ".tmp-new", (long_ago, long_ago))  # the file in it is new
    found = leftovers(tmp_path, seconds=900)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [".tmp-file", ".tmp-old", "a/.tmp-old"]
    assert leftovers(tmp_path, seconds=1100) == []
    for path in found:
        remove(path)
    assert names(tmp_path) == [".tmp-new", "a", "b"]
