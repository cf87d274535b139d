"""Paths in an object store: the same answers as on a local disk, with few requests, and nothing half written."""

import logging
import pickle
import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from botocore.exceptions import ClientError
from s3fs import S3FileSystem

from unetseg.conditional_puts import _told
from unetseg.config import ClassSource, GuideSource, ScanSource, Settings, Sources
from unetseg.errors import BadFileError, DamagedFileError, MissingMaskError, UsageError
from unetseg.formats import open_plane, plane_count, plane_header, read_plane
from unetseg.json_files import read_json, write_json
from unetseg.patterns import find_mask, find_objects
from unetseg.plane_counts import counted_once
from unetseg.project import Project, load_project, save_project
from unetseg.readers import list_scans
from unetseg.records import update_json
from unetseg.sources import describe_file, same_files
from unetseg.storage import (
    add_folder,
    file_hash,
    find,
    is_disk_error,
    is_remote,
    leftovers,
    listing_version,
    local_copy,
    locate,
    locked,
    modified,
    place_folder,
    read_bytes,
    refresh,
    remove,
    state,
    write_bytes,
    write_file,
    write_folder,
    zarr_store,
)

LONG_AGO = 1_700_000_000 * 10**9  # nanoseconds


@pytest.fixture
def requests(monkeypatch):
    """The requests that are made, each as its method and the object it names."""
    made, call = [], S3FileSystem._call_s3

    async def listen(self, method, *args, **kwargs):
        made.append((method, kwargs.get("Key", kwargs.get("Prefix", ""))))
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", listen)
    return made


def put(folder, *names):
    for name in names:
        write_bytes(folder / name, name.encode())


def put_elsewhere(path, data):
    """Put an object as another process does: this one is not told."""
    S3FileSystem(skip_instance_cache=True).pipe_file(str(path), data)


def names(folder):
    return sorted(name.removeprefix(f"{folder.path}/") for name in folder.fs.find(folder.path))


# Addresses and paths


def test_an_address_becomes_a_path_and_comes_back_as_text(bucket):
    for text in (str(bucket), f"{bucket}/", f"{bucket}/a b/é#[1]?.tif"):
        path = locate(text)
        assert str(path) == text.rstrip("/")
        assert locate(path) == locate(str(path)) == path
        assert is_remote(path)
        assert is_remote(text)


def test_an_address_that_cannot_be_opened_is_refused_with_a_way_out():
    with pytest.raises(UsageError, match=r"^foo://a/b: .*'foo'; use a local folder, or an address such as s3://"):
        locate("foo://a/b")
    with pytest.raises(UsageError, match=r'^gs://a/b: .*gcsfs.*; for s3:// that is: pip install "unetseg\[s3\]"$'):
        locate("gs://a/b")
    for text in ("s3://", "s3:///", "s3://bucket/a/../b"):
        with pytest.raises(UsageError, match=rf"^{re.escape(text)}: "):
            locate(text)


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    code = "import sys; sys.modules['s3fs'] = None; from unetseg.storage import locate; locate('s3://a/b')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("unetseg.errors.UsageError: s3://a/b: ")
    assert last.endswith('pip install "unetseg[s3]"')


def test_paths_answer_as_local_ones_do(bucket, tmp_path):
    for root in (bucket, tmp_path):
        for name in ("a.tif", "p1/b.png", "z.zarr/zarr.json"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"123")
        (root / "marker").touch()
        (root / "gone").touch()
        (root / "gone").unlink()
        (root / "gone").unlink(missing_ok=True)
        inside = root / "p1" / "b.png"
        assert (inside.name, inside.suffix, inside.parent, inside.parent.name) == ("b.png", ".png", root / "p1", "p1")
        assert inside.relative_to(root).as_posix() == "p1/b.png"
        assert inside.relative_to(root).parts == ("p1", "b.png")
        assert inside.is_relative_to(root)
        assert not root.is_relative_to(inside)
        assert [path.exists() for path in (inside, root / "p1", root / "gone")] == [True, True, False]
        assert [path.is_file() for path in (inside, root / "p1", root / "gone")] == [True, False, False]
        assert [path.is_dir() for path in (inside, root / "p1", root / "gone")] == [False, True, False]
        assert sorted(path.name for path in root.iterdir()) == ["a.tif", "marker", "p1", "z.zarr"]
        assert inside.stat().st_size == 3
        assert pickle.loads(pickle.dumps(inside)) == inside
        assert {inside, root / "p1/b.png"} == {inside}


@pytest.mark.parametrize("pattern", ["*", "**/*", "*.tif", "p1/*", "p1/b.*", "*/?.png", "**/*.json", "nothing/*"])
@pytest.mark.parametrize("folder", ["plain", "with [1] *"])
def test_patterns_find_what_they_find_on_a_disk(bucket, tmp_path, folder, pattern):
    found = []
    for root in (bucket / folder, tmp_path / folder):
        for name in ("a.tif", "p1/b.png", "p1/deep/c.tif", "z.zarr/zarr.json"):
            write_bytes(root / name, b"1")
        found.append({path.relative_to(root).as_posix() for path in find(root, pattern)})
    assert found[0] == found[1]


# Reading and writing


def test_a_file_is_put_in_one_request_and_read_in_one(bucket, requests):
    write_bytes(bucket / "a" / "b", b"1")
    assert read_bytes(bucket / "a" / "b") == b"1"
    key = (bucket / "a" / "b").path.partition("/")[2]
    assert requests == [("put_object", key), ("get_object", key)]


def test_json_comes_back_and_damage_names_the_address(bucket):
    write_json(bucket / "a.json", {"a": [1.5, float("nan")], "µ": "é"})
    assert read_json(bucket / "a.json") == {"a": [1.5, None], "µ": "é"}
    write_bytes(bucket / "a.json", b"{")
    with pytest.raises(DamagedFileError, match=rf"^{bucket}/a\.json: damaged"):
        read_json(bucket / "a.json")


def test_what_another_process_wrote_is_read_at_once(bucket):
    write_json(bucket / "a.json", 1)
    assert (bucket / "a.json").exists()
    refresh(bucket)
    assert [path.name for path in bucket.iterdir()] == ["a.json"]
    put_elsewhere(bucket / "a.json", b"22")
    assert read_json(bucket / "a.json") == 22


def test_what_is_not_there_is_an_error_with_the_address(bucket):
    for ask in (read_bytes, read_json, state, describe_file, file_hash):
        with pytest.raises(FileNotFoundError, match=str(bucket / "none")):
            ask(bucket / "none")
    with pytest.raises(FileNotFoundError, match=str(bucket / "none")), local_copy(bucket / "none"):
        pass
    with pytest.raises(FileNotFoundError, match="no-such-bucket"):
        write_bytes(locate("s3://no-such-bucket/a"), b"")


def test_a_store_that_cannot_be_asked_is_a_connection_error(bucket, monkeypatch):
    from botocore.exceptions import NoCredentialsError

    async def refuse(*_, **__):
        raise NoCredentialsError

    monkeypatch.setattr(S3FileSystem, "_call_s3", refuse)
    with pytest.raises(ConnectionError, match=r"Unable to locate credentials; check .* AWS_ENDPOINT_URL .*eyes"):
        load_project(bucket / "eyes")
    with pytest.raises(ConnectionError, match=r"Unable to locate credentials; check .* AWS_ENDPOINT_URL .*scans"):
        refresh(bucket / "scans")


def test_a_folder_that_is_not_there_can_be_refreshed(bucket):
    refresh(bucket / "none")
    refresh(locate("s3://no-such-bucket"))
    assert not (bucket / "none").exists()


def test_no_room_for_copies_is_told_as_a_full_disk(bucket, monkeypatch):
    put(bucket, "a.tif")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bucket.fs, "get_file", full)
    with pytest.raises(OSError, match=r"No space left on device; free some in .*, or set TMPDIR") as caught:
        file_hash(bucket / "a.tif")
    assert is_disk_error(caught.value)


def test_a_refusal_names_the_address(bucket, monkeypatch):
    async def refuse(*_, **__):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(S3FileSystem, "_call_s3", refuse)
    with pytest.raises(PermissionError, match=rf"Forbidden; check the credentials: '{bucket}'"):
        read_bytes(bucket)


# Folders are written with what describes them last


def fill(path, *files):
    with write_folder(path) as folder:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)


def test_a_folder_is_put_with_its_marker_last(bucket, requests):
    fill(bucket / "a", "zarr.json", "0/zarr.json", "0/c/0", "bundle.json")
    assert names(bucket / "a") == ["0/c/0", "0/zarr.json", "bundle.json", "zarr.json"]
    put_in_order = [key.rpartition("/a/")[2] for method, key in requests if method == "put_object"]
    assert set(put_in_order[:2]) == {"0/c/0", "0/zarr.json"}
    assert set(put_in_order[2:]) == {"bundle.json", "zarr.json"}
    assert read_bytes(bucket / "a" / "0" / "c" / "0") == b"0/c/0"


def test_nobody_sees_a_folder_that_is_being_replaced(bucket, requests):
    fill(bucket / "a", "zarr.json", "0/zarr.json", "old", "both")
    requests.clear()
    fill(bucket / "a", "zarr.json", "0/zarr.json", "new", "both")
    changes = [
        (method, key.rpartition("/a/")[2]) for method, key in requests if not method.startswith(("list", "head"))
    ]
    assert changes[:2] == [("delete_object", "zarr.json"), ("delete_object", "old")]
    assert set(changes[2:-1]) == {("put_object", name) for name in ("0/zarr.json", "new", "both")}
    assert changes[-1] == ("put_object", "zarr.json")
    assert names(bucket / "a") == ["0/zarr.json", "both", "new", "zarr.json"]


def test_a_folder_whose_upload_breaks_off_does_not_exist_for_readers(bucket, monkeypatch):
    fill(bucket / "a", "zarr.json", "0/c/0")

    async def fail(self, local, remote, **_):
        raise OSError(5, "connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(S3FileSystem, "_put_file", fail)
        with pytest.raises(OSError, match=rf"connection lost.*'{bucket}/a'"):
            fill(bucket / "a", "zarr.json", "0/c/0")
    assert not (bucket / "a" / "zarr.json").exists()
    fill(bucket / "a", "zarr.json", "0/c/0")
    assert names(bucket / "a") == ["0/c/0", "zarr.json"]


def test_a_local_folder_is_put_with_its_marker_last_and_is_gone_then(bucket, requests, tmp_path):
    (tmp_path / "work" / "0").mkdir(parents=True)
    for name in ("zarr.json", "0/zarr.json"):
        (tmp_path / "work" / name).write_text(name)
    place_folder(tmp_path / "work", bucket / "a")
    puts = [key.rpartition("/a/")[2] for method, key in requests if method == "put_object"]
    assert puts == ["0/zarr.json", "zarr.json"]
    assert read_bytes(bucket / "a" / "zarr.json") == b"zarr.json"
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_is_put_when_it_is_full(bucket, requests):
    with write_file(bucket / "a.tif") as file:
        file.write_bytes(b"tiff")
        assert requests == []
    assert read_bytes(bucket / "a.tif") == b"tiff"


def test_an_error_while_a_folder_is_filled_makes_no_request(bucket, requests):
    fill(bucket / "a", "old")
    requests.clear()
    with pytest.raises(ZeroDivisionError):
        fill_and_fail(bucket / "a")
    assert requests == []
    assert names(bucket / "a") == ["old"]


def fill_and_fail(path):
    with write_folder(path) as folder:
        (folder / "new").write_text("1")
        raise ZeroDivisionError


# Several processes at once


def at_once(work, count):
    """Begin the same work in several threads together; what they return."""
    start = threading.Barrier(count)

    def run(number):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def appended(item):
    return lambda old: {"items": [*old["items"], item]}


@pytest.mark.usefixtures("atomic")
def test_no_change_of_a_file_is_lost_when_several_change_it_at_once(bucket):
    def change(number):
        for turn in range(3):
            update_json(bucket / "a.json", appended([number, turn]), default={"items": []})

    at_once(change, 4)
    items = read_json(bucket / "a.json")["items"]
    assert sorted(items) == [[number, turn] for number in range(4) for turn in range(3)]
    assert [item for item in items if item[0] == 2] == [[2, 0], [2, 1], [2, 2]]
    assert names(bucket) == ["a.json"]


def test_a_change_begins_again_when_somebody_else_was_faster(bucket):
    write_json(bucket / "a.json", {"items": [1]})
    seen = []

    def change(old):
        seen.append(old["items"])
        if len(seen) == 1:
            put_elsewhere(bucket / "a.json", b'{"items": [2]}')
        return appended(3)(old)

    assert update_json(bucket / "a.json", change, default={"items": []}) == {"items": [2, 3]}
    assert seen == [[1], [2]]


def test_a_change_gives_up_when_others_are_always_faster(bucket, monkeypatch):
    monkeypatch.setattr("unetseg.conditional_puts._ATTEMPTS", 3)
    other = S3FileSystem(skip_instance_cache=True)

    def change(old):
        other.pipe_file(str(bucket / "a.json"), str(len(calls)).encode())
        calls.append(old)
        return "mine"

    calls = []
    with pytest.raises(OSError, match=rf"at each of 3 attempts; try again: '{bucket}/a\.json'"):
        update_json(bucket / "a.json", change, default=None)
    assert calls == [None, 0, 1]


def test_a_put_that_the_client_repeats_counts_once(bucket, monkeypatch):
    # Its first answer is lost, so the second is a refusal: by the client's own put.
    update_json(bucket / "a.json", appended(1), default={"items": []})
    call = S3FileSystem._call_s3

    async def twice(self, method, *args, **kwargs):
        if method == "put_object" and "IfMatch" in kwargs:
            await call(self, method, *args, **kwargs)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", twice)
    update_json(bucket / "a.json", appended(2), default={"items": []})
    assert read_json(bucket / "a.json") == {"items": [1, 2]}


def test_what_does_not_change_is_not_put(bucket, requests):
    write_json(bucket / "a.json", {"items": []})
    requests.clear()
    update_json(bucket / "a.json", lambda old: old, default=None)
    assert [method for method, _ in requests] == ["head_object", "get_object"]


@pytest.mark.parametrize("answer", ["refuses", "ignores"])
def test_a_store_without_conditions_is_changed_after_a_warning(bucket, monkeypatch, caplog, answer):
    call, conditions = S3FileSystem._call_s3, {"IfMatch", "IfNoneMatch"}

    async def old_store(self, method, *args, **kwargs):
        if answer == "refuses" and conditions & set(kwargs):
            error = {"Error": {"Code": "NotImplemented", "Message": "A header implies functionality"}}
            raise OSError(5, "not implemented") from ClientError(error, method)
        return await call(self, method, *args, **{key: kwargs[key] for key in set(kwargs) - conditions})

    monkeypatch.setattr(S3FileSystem, "_call_s3", old_store)
    monkeypatch.setattr("unetseg.conditional_puts._heeding", {})
    _told.cache_clear()
    for number in (1, 2):
        update_json(bucket / "a.json", appended(number), default={"items": []})
    assert read_json(bucket / "a.json") == {"items": [1, 2]}
    assert names(bucket) == ["a.json"]
    assert [add(bucket / "models").name for _ in range(2)] == ["1", "2"]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["unetseg/: this store knows no conditional puts; let only one process at a time write there"]


def add(parent):
    def fill(folder):
        for name in ("bundle.json", "a/b"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)

    return add_folder(parent, fill, map(str, count(1)))


@pytest.mark.usefixtures("atomic")
def test_folders_that_are_added_at_once_get_names_of_their_own(bucket):
    assert sorted(path.name for path in at_once(lambda _: add(bucket), 4)) == ["1", "2", "3", "4"]
    assert names(bucket) == [f"{k}/{name}" for k in range(1, 5) for name in ("a/b", "bundle.json")]
    assert leftovers(bucket, seconds=-1) == []


def test_a_name_that_was_filled_meanwhile_is_not_taken(bucket):
    first = add(bucket)
    assert add(bucket) == bucket / "2"
    put_elsewhere(first / ".being-written", b"")  # killed just after it had taken the name in vain
    assert leftovers(bucket, seconds=-1) == []


def test_a_folder_whose_upload_broke_off_is_a_leftover_and_its_name_is_not_used_again(bucket, monkeypatch):
    put, seen = S3FileSystem._put_file, []

    async def fail(self, local, remote, **rest):
        seen.append(remote)
        if remote.endswith("bundle.json"):
            raise OSError(5, "connection lost")
        await put(self, local, remote, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(S3FileSystem, "_put_file", fail)
        with pytest.raises(OSError, match="connection lost"):
            add(bucket)
    assert not (bucket / "1" / "bundle.json").exists()
    assert add(bucket) == bucket / "2"
    assert leftovers(bucket, seconds=3600) == []
    assert leftovers(bucket, seconds=-1) == [bucket / "1"]
    remove(bucket / "1")
    assert names(bucket) == ["2/a/b", "2/bundle.json"]


def test_a_folder_goes_with_its_marker_first(bucket, requests):
    put(bucket, "a/zarr.json", "a/0/zarr.json", "a/c", "ab", "b")
    requests.clear()
    remove(bucket / "a")
    gone = [key.rpartition("/a/")[2] for method, key in requests if method == "delete_object"]
    assert gone == ["zarr.json", "0/zarr.json", "c"]
    remove(bucket / "b")
    assert names(bucket) == ["ab"]


def test_a_lock_is_none_and_is_said_so_once(bucket, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(2):
        with locked(bucket):
            pass
    assert [record.getMessage() for record in caplog.records if str(bucket) in record.getMessage()] == [
        f"{bucket}: object stores have no locks; let only one run write there at a time"
    ]


# Copies


def test_a_copy_has_the_name_and_content_and_goes(bucket):
    put(bucket, "p1/a b.nii.gz")
    with local_copy(bucket / "p1" / "a b.nii.gz") as copy:
        assert isinstance(copy, Path)
        assert copy.name == "a b.nii.gz"
        assert copy.read_bytes() == b"p1/a b.nii.gz"
    assert not copy.parent.exists()


def test_a_folder_is_copied_whole(bucket):
    put(bucket, "a.zarr/zarr.json", "a.zarr/0/c/0/0", "a.zarr.json", "b")
    with local_copy(bucket / "a.zarr") as copy:
        found = {path.relative_to(copy).as_posix(): path.read_text() for path in copy.rglob("*") if path.is_file()}
    assert found == {"zarr.json": "a.zarr/zarr.json", "0/c/0/0": "a.zarr/0/c/0/0"}
    assert not copy.parent.exists()


def test_within_a_copy_the_same_path_is_not_downloaded_again(bucket, requests):
    put(bucket, "a.tif")
    requests.clear()
    with local_copy(bucket / "a.tif") as outer:
        with local_copy(locate(f"{bucket}/a.tif")) as inner:
            assert inner == outer
        assert describe_file(bucket / "a.tif").size == 5
        assert outer.exists()
    assert [method for method, _ in requests] == ["get_object", "head_object"]


def test_errors_name_the_path_and_not_its_copy(bucket):
    put(bucket, "a.tif")
    for error in (
        lambda copy: BadFileError(f"{copy}: is broken"),
        lambda copy: FileNotFoundError(2, "none", str(copy)),
    ):
        with pytest.raises((BadFileError, FileNotFoundError)) as caught, local_copy(bucket / "a.tif") as copy:
            raise error(copy)
        assert f"{bucket}/a.tif" in str(caught.value)
        assert str(copy.parent) not in str(caught.value)


def test_an_object_whose_name_leaves_its_folder_is_refused(bucket):
    put(bucket, "a.zarr/zarr.json")
    bucket.fs.pipe_file(f"{bucket.path}/a.zarr/../../evil", b"1")
    with pytest.raises(BadFileError, match=r"a\.zarr: holds an object '../../evil'"), local_copy(bucket / "a.zarr"):
        pass


# Looking again


def test_a_listing_is_never_old_where_nobody_asked_to_keep_it(bucket):
    put(bucket, "a")
    assert [path.name for path in bucket.iterdir()] == ["a"]
    put_elsewhere(bucket / "b", b"1")
    assert [path.name for path in bucket.iterdir()] == ["a", "b"]
    assert (bucket / "b").exists()
    assert listing_version(bucket) is None


def test_a_folder_that_was_refreshed_is_listed_once(bucket, requests):
    put(bucket, *(f"p{k % 3}/{k}.png" for k in range(30)))
    refresh(bucket)
    requests.clear()
    found = list(find(bucket, "**/*.png"))
    assert len(found) == 30
    assert all(path.is_file() for path in found)
    assert all(path.parent.is_dir() for path in found)
    assert [state(path)[0] for path in found] == [len(path.relative_to(bucket).as_posix()) for path in found]
    assert not (bucket / "p1" / "none.png").exists()
    assert [method for method, _ in requests] == ["list_objects_v2"]


def test_what_came_and_went_is_seen_after_the_next_refresh(bucket):
    put(bucket, "p1/a.png", "p1/b.png")
    refresh(bucket)
    before, first = listing_version(bucket / "p1"), state(bucket / "p1" / "a.png")
    assert len(list(find(bucket, "**/*.png"))) == 2
    put_elsewhere(bucket / "p1" / "a.png", b"other")
    put_elsewhere(bucket / "p1" / "c.png", b"1")
    S3FileSystem(skip_instance_cache=True).rm_file((bucket / "p1" / "b.png").path)
    refresh(bucket)
    assert listing_version(bucket / "p1") != before
    assert [path.name for path in find(bucket, "**/*.png")] == ["a.png", "c.png"]
    assert [(bucket / "p1" / name).is_file() for name in ("a.png", "b.png", "c.png")] == [True, False, True]
    assert state(bucket / "p1" / "a.png") != first


def test_what_this_process_writes_is_seen_at_once(bucket):
    put(bucket, "p1/a.png")
    refresh(bucket)
    assert len(list(find(bucket, "**/*.png"))) == 1
    put(bucket, "p1/b.png")
    (bucket / "p1" / "a.png").unlink()
    assert [path.name for path in (bucket / "p1").iterdir()] == ["b.png"]
    assert [(bucket / "p1" / name).is_file() for name in ("a.png", "b.png")] == [False, True]


def test_folders_beside_a_refreshed_one_are_asked_anew(bucket):
    put(bucket, "scans/a", "dataset.zarr/b")
    refresh(bucket / "scans")
    assert listing_version(bucket) is listing_version(bucket / "dataset.zarr") is None
    assert len(list((bucket / "dataset.zarr").iterdir())) == 1
    put_elsewhere(bucket / "dataset.zarr" / "c", b"1")
    assert len(list((bucket / "dataset.zarr").iterdir())) == 2


def test_a_path_from_another_process_keeps_no_listing(bucket):
    assert pickle.loads(pickle.dumps(bucket)).storage_options == {"use_listings_cache": False}


# Versions of files


def test_other_content_of_the_same_size_has_another_time_within_the_same_second(bucket):
    write_bytes(bucket / "a", b"abc")
    first = state(bucket / "a")
    write_bytes(bucket / "a", b"abd")
    second = state(bucket / "a")
    write_bytes(bucket / "a", b"abc")
    assert first[0] == second[0] == 3
    assert first[1] % 10**9 == state(bucket / "a")[1] % 10**9 != second[1] % 10**9


def test_the_state_is_the_same_from_a_listing_and_from_a_question(bucket):
    put(bucket, "a", "b.zarr/zarr.json", "b.zarr/0/c")
    asked = [state(bucket / name) for name in ("a", "b.zarr")]
    refresh(bucket)
    list(find(bucket, "**/*"))
    assert [state(bucket / name) for name in ("a", "b.zarr")] == asked
    assert asked[1][0] == len("b.zarr/zarr.json") + len("b.zarr/0/c")
    assert asked[0][1] > LONG_AGO


def test_a_change_anywhere_in_a_folder_changes_its_state(bucket):
    put(bucket, "b.zarr/zarr.json", "b.zarr/0/c", "b.zarr/0/d")
    states = [state(bucket / "b.zarr")]
    write_bytes(bucket / "b.zarr" / "0" / "c", b"b.zarr/0/x")
    states.append(state(bucket / "b.zarr"))
    (bucket / "b.zarr" / "0" / "d").unlink()
    states.append(state(bucket / "b.zarr"))
    assert len(set(states)) == 3


def test_the_time_of_change_is_the_second_of_the_put(bucket):
    put(bucket, "a")
    assert modified(bucket / "a") == state(bucket / "a")[1] // 10**9 * 10**9 > LONG_AGO
    assert modified(bucket / "none") == 0


def test_sources_in_a_store_are_described_as_on_a_disk(bucket, tmp_path):
    for root in (bucket, tmp_path):
        for name in ("a.tif", "b.zarr/zarr.json", "b.zarr/0/c"):
            write_bytes(root / name, name.encode())
    for name in ("a.tif", "b.zarr"):
        local, remote = describe_file(tmp_path / name), describe_file(bucket / name)
        assert (remote.size, remote.sha256) == (local.size, local.sha256)
        assert remote.path == f"{bucket}/{name}"
        assert same_files([remote], [bucket / name])
    known = describe_file(bucket / "b.zarr")
    write_bytes(bucket / "b.zarr" / "0" / "c", b"b.zarr/0/d")
    assert not same_files([known], [bucket / "b.zarr"])


def test_zarr_arrays_are_read_from_many_threads(bucket):
    expected = np.arange(64).reshape(8, 8)
    with write_folder(bucket / "a.zarr") as folder:
        zarr.create_array(folder / "0", data=expected, chunks=(2, 2))

    def read(row):
        return zarr.open_array(zarr_store(bucket / "a.zarr" / "0"), mode="r")[row]

    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(read, range(8))), expected)


# Images, masks and projects


def test_images_are_read_from_a_store(bucket, tmp_path, requests):
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    write_bytes(bucket / "a.tif", (tmp_path / "a.tif").read_bytes())
    assert plane_count(bucket / "a.tif") == 1
    assert plane_header(bucket / "a.tif").height == 6
    requests.clear()
    np.testing.assert_array_equal(read_plane(bucket / "a.tif", max_bytes=1e6)[1][..., 0], pixels)
    assert [method for method, _ in requests] == ["get_object"]
    with open_plane(bucket / "a.tif", max_bytes=1e6) as plane:
        np.testing.assert_array_equal(plane.rows(2, 4)[..., 0], pixels[2:4])


def test_the_pages_of_a_stack_in_a_store_are_counted_with_one_copy(bucket, tmp_path, requests):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6, 8), np.uint8), photometric="minisblack")
    write_bytes(bucket / "a.tif", (tmp_path / "a.tif").read_bytes())
    requests.clear()
    assert [counted_once(bucket / "a.tif") for _ in range(3)] == [4, 4, 4]
    assert [method for method, _ in requests].count("get_object") == 1


@pytest.mark.parametrize("content", [b"no image", b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n"])
def test_a_broken_image_is_named_by_its_address(bucket, content):
    write_bytes(bucket / "a.tif", content)
    with pytest.raises(BadFileError) as caught:
        read_plane(bucket / "a.tif", max_bytes=1e6)
    assert str(caught.value).startswith(f"{bucket}/a.tif: ")
    assert tempfile.gettempdir() not in str(caught.value)


def test_an_image_that_is_gone_is_a_bad_file(bucket):
    with pytest.raises(BadFileError, match=rf"^{bucket}/a\.tif: cannot be read: .*No such file"):
        plane_count(bucket / "a.tif")


def test_scans_of_a_store_are_listed_with_their_folders(bucket, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 8), np.uint8))
    for name in ("a.tif", "p1/b.tif", ".hidden/c.tif"):
        write_bytes(bucket / name, (tmp_path / "a.tif").read_bytes())
    for keep in (False, True):
        if keep:
            refresh(bucket)
        scans, bad = list_scans(ScanSource(path=str(bucket)))
        assert [(scan.id, scan.path) for scan in scans] == [("a", bucket / "a.tif"), ("p1/b", bucket / "p1" / "b.tif")]
        assert bad == []


def test_a_zarr_folder_is_found_as_a_mask(bucket):
    put(bucket, "a.ome.zarr/zarr.json", "a.ome.zarr/0/c/0", "b.zarr/zarr.json", "c.png")
    source = GuideSource(name="g", path=str(bucket), pattern="{id}.*")
    for keep in (False, True):
        if keep:
            refresh(bucket)
        assert [find_mask(source, scan)[0].name for scan in "abc"] == ["a.ome.zarr", "b.zarr", "c.png"]


@pytest.mark.parametrize("keep", [True, False], ids=["listed once", "asked each time"])
def test_masks_are_found_by_name_whatever_their_suffix(bucket, keep):
    put(bucket, "a.png", "b.ome.tif", "b.txt", "c.png", "c.tif", "d [1].png", ".e.png", "p1/f.png", "p1/ff.png")
    if keep:
        refresh(bucket)
    source = GuideSource(name="g", path=str(bucket), pattern="{id}.*")
    found = {scan: find_mask(source, scan)[0].name for scan in ("a", "b", "d [1]", "p1/f")}
    assert found == {"a": "a.png", "b": "b.ome.tif", "d [1]": "d [1].png", "p1/f": "f.png"}
    with pytest.raises(MissingMaskError, match=rf"{bucket}/\{{id\}}\.\*"):
        find_mask(source, "e")
    with pytest.raises(MissingMaskError):
        find_mask(source, "p2/x")
    with pytest.raises(BadFileError, match=r"2 masks for g \(c\.png, c\.tif\)"):
        find_mask(source, "c")


def test_new_masks_are_found_after_a_refresh_and_thousands_cost_one_listing(bucket, requests):
    put(bucket, *(f"{k}.png" for k in range(20)))
    source = GuideSource(name="g", path=str(bucket), pattern="{id}.*")
    refresh(bucket)
    find_mask(source, "0")
    requests.clear()
    assert [find_mask(source, str(k))[0].name for k in range(20)] == [f"{k}.png" for k in range(20)]
    assert requests == []
    put_elsewhere(bucket / "new.png", b"1")
    refresh(bucket)
    assert find_mask(source, "new")[0] == bucket / "new.png"


def test_files_of_objects_are_found(bucket):
    put(bucket, "a/1.png", "a/2.png", "a/notes.txt", "b/1.png")
    source = ClassSource(name="c", path=str(bucket), pattern="{id}/*.*", encoding="objects")
    assert [path.name for path in find_objects(source, "a")] == ["1.png", "2.png"]


def test_a_project_in_a_store_comes_back_with_relative_sources(bucket):
    sources = Sources(
        scans=ScanSource(path=f"{bucket}/eyes/scans"),
        classes=(ClassSource(name="c", path="/local/masks", pattern="{id}.*", encoding="binary"),),
        guides=(GuideSource(name="g", path="s3://other/guides", pattern="{id}.*"),),
    )
    project = Project(bucket / "eyes", sources, Settings())
    assert save_project(project) == bucket / "eyes" / "unetseg.yaml"
    text = (bucket / "eyes" / "unetseg.yaml").read_text(encoding="utf-8")
    assert "path: scans" in text
    assert "path: /local/masks" in text
    assert "path: 's3://other/guides'" in text
    assert load_project(str(bucket / "eyes")) == project
    assert load_project(bucket / "eyes").dataset == bucket / "eyes" / "dataset.zarr"


def test_a_local_project_keeps_addresses_of_its_sources(bucket, tmp_path):
    project = Project(tmp_path, Sources(scans=ScanSource(path=f"{bucket}/scans")), Settings())
    save_project(project)
    assert load_project(tmp_path).sources.scans.path == f"{bucket}/scans"


def test_a_project_that_is_not_there_is_told_with_its_address(bucket):
    with pytest.raises(UsageError, match=rf"{bucket}/none/unetseg\.yaml: no such file, so {bucket}/none is no project"):
        load_project(bucket / "none")
