"""An evaluation is replaced at once: whatever dies, and whoever reads meanwhile, it is the old one or the new."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from unetseg import evaluation_files, local_disk, object_store
from unetseg.bundle import Bundle
from unetseg.curve_files import load_curves, pack_curves
from unetseg.errors import BundleError, MovedError
from unetseg.evaluate import publish
from unetseg.evaluation_files import (
    EVALUATION_SCHEMA,
    curve_file,
    has_pages,
    read_evaluation_files,
    write_evaluation_files,
)
from unetseg.histograms import Histograms
from unetseg.json_files import write_json
from unetseg.records import write_record
from unetseg.storage import file_hash, find, is_remote, read_bytes, write_bytes

HOUR = 3600
PAGES = ("report.html", "MODEL_CARD.md")
CLASSES = ("iris", "pupil")
MakeBundle = Callable[..., Bundle]


class Killed(BaseException):
    """As if the process had died."""


@pytest.fixture(params=["folder", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where an evaluation is to be, on a disk and in an object store."""
    models = tmp_path if request.param == "folder" else request.getfixturevalue("bucket")
    return models / "0001" / "evaluation"


def curves(number: int) -> dict[str, bytes]:
    """Histograms that tell a number by the probability of one pixel."""
    validation, test = (histograms((number + part) / 256) for part in (0, 100))
    return {"validation": pack_curves(validation, CLASSES), "test": pack_curves(test, CLASSES)}


def histograms(probability: float) -> Histograms:
    """One pixel of iris, which has this probability, and none of pupil."""
    found = Histograms.empty(2)
    found.add(np.array([[1, 0]], np.int8), np.array([[probability, 0]], np.float32))
    return found


def write(folder: Path, number: int) -> None:
    record = {"schema_version": EVALUATION_SCHEMA, "number": number}
    write_evaluation_files(folder, record, curves=curves(number), pages=dict.fromkeys(PAGES, b"%d" % number))


def number_in(folder: Path) -> int:
    """The number of the evaluation that a reader finds, after looking at all that belongs to it."""
    record = read_evaluation_files(folder)
    assert record is not None
    for split, data in curves(record["number"]).items():
        assert read_bytes(curve_file(folder, record, split)) == data
    return int(record["number"])


def names(folder: Path) -> set[str]:
    return {path.name for path in find(folder, "*") if path.name != ".lock"}


def grow_old(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (time.time() - 2 * HOUR,) * 2)


def test_what_was_made_of_an_evaluation_does_not_take_the_place_of_another(folder: Path):
    write(folder, 1)
    first = read_evaluation_files(folder)
    write(folder, 2)
    before = {name: read_bytes(folder / name) for name in names(folder)}
    with pytest.raises(MovedError, match="another evaluation is there by now"):
        write_evaluation_files(folder, {"number": 3}, curves=curves(3), pages={}, made_of=first)
    assert {name: read_bytes(folder / name) for name in names(folder)} == before
    made = {"schema_version": EVALUATION_SCHEMA, "number": 3}
    write_evaluation_files(folder, made, curves=curves(3), pages={}, made_of=read_evaluation_files(folder))
    assert number_in(folder) == 3


def test_what_was_made_of_an_evaluation_without_a_digest_takes_its_place(tmp_path: Path):
    write_json(tmp_path / "evaluation.json", {"schema_version": 1, "number": 1})
    made = {"schema_version": EVALUATION_SCHEMA, "number": 2}
    old = read_evaluation_files(tmp_path)
    write_evaluation_files(tmp_path, made, curves=curves(2), pages={}, made_of=old)
    assert number_in(tmp_path) == 2
    with pytest.raises(MovedError, match="another evaluation is there by now"):
        write_evaluation_files(tmp_path, made, curves=curves(2), pages={}, made_of=old)


def test_curves_are_named_after_their_content(folder: Path):
    write(folder, 1)
    record = read_evaluation_files(folder)
    assert record is not None
    digests = {f"{split}_curves": sha256(data).hexdigest() for split, data in curves(1).items()}
    assert record["files"] == {f"{stem}-{digest[:12]}.npz": digest for stem, digest in digests.items()}
    assert names(folder) == {*record["files"], "evaluation.json", *PAGES}
    assert number_in(folder) == 1


def test_nothing_is_there_before_the_first(folder: Path):
    assert read_evaluation_files(folder) is None


def kill_after(steps: int, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a process write and remove so many files and die then."""
    left = [steps]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return call(*arguments, **named)

        return step

    for name in ("write_bytes", "remove"):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))


@pytest.mark.parametrize(
    ("folder", "first"),
    [
        pytest.param("folder", True, id="folder, no evaluation before"),
        pytest.param("folder", False, id="folder, one before"),
        pytest.param("store", False, id="store, one before"),
    ],
    indirect=["folder"],
)
def test_a_kill_after_any_step_leaves_the_old_or_the_new_one_in_whole(
    folder: Path, first: bool, monkeypatch: pytest.MonkeyPatch
):
    found, steps = [], 0
    while True:
        place = folder.parent / f"{steps}" / "evaluation"
        if not first:
            write(place, 1)
        with monkeypatch.context() as patch:
            kill_after(steps, object_store if is_remote(folder) else local_disk, patch)
            try:
                write(place, 2)
            except Killed:
                pass
            else:
                break
        found.append(number_in(place) if not first or read_evaluation_files(place) else 0)
        pages = {read_bytes(place / name) for name in PAGES if (place / name).is_file()}
        assert pages <= {b"%d" % found[-1]}
        assert has_pages(place) == (set(PAGES) <= names(place))
        write(place, 3)
        assert number_in(place) == 3
        steps += 1
    assert steps == 7  # two files of curves, two pages gone, the record, two pages
    assert found == [0 if first else 1] * 5 + [2] * 2


def test_readers_see_the_old_or_the_new_one_while_it_is_replaced(tmp_path: Path):
    folder, seen, ends = tmp_path / "evaluation", [], threading.Event()
    write(folder, 0)

    def read() -> None:
        while not ends.is_set():
            seen.append(number_in(folder))

    threads = [threading.Thread(target=read) for _ in range(2)]
    failures: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", failures.append)
        for thread in threads:
            thread.start()
        for number in range(1, 31):
            write(folder, number)
        ends.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert len(set(seen)) > 1
    assert set(seen) <= set(range(31))


def test_a_reader_whose_curves_are_gone_reads_the_evaluation_that_took_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, 1)
    check, calls = evaluation_files.check_file, []

    def slow_check(*arguments: Any) -> None:
        if not calls:
            for number in (2, 3):
                write(tmp_path, number)
                grow_old(tmp_path)
        calls.append(arguments)
        check(*arguments)

    write(tmp_path, 1)
    grow_old(tmp_path)
    monkeypatch.setattr(evaluation_files, "check_file", slow_check)
    record = read_evaluation_files(tmp_path)
    assert record is not None
    assert record["number"] == 3
    assert len(calls) == 3  # the one that is gone, and both of the new ones


def test_curves_of_the_evaluation_before_stay_for_those_who_read_it_and_older_ones_go(tmp_path: Path):
    of = []
    for number in (1, 2, 3):
        write(tmp_path, number)
        grow_old(tmp_path)
        of.append({f"{split}_curves-{sha256(data).hexdigest()[:12]}.npz" for split, data in curves(number).items()})
    assert names(tmp_path) == {"evaluation.json", *PAGES} | of[1] | of[2]


def test_young_files_may_belong_to_an_evaluation_that_is_being_written(tmp_path: Path):
    write_bytes(tmp_path / "test_curves-0123456789ab.npz", b"another process is about to name it")
    (tmp_path / ".tmp-evaluation.json-01234567").write_bytes(b"")
    write(tmp_path, 1)
    assert {"test_curves-0123456789ab.npz", ".tmp-evaluation.json-01234567"} <= names(tmp_path)
    grow_old(tmp_path)
    write(tmp_path, 1)
    assert not {"test_curves-0123456789ab.npz", ".tmp-evaluation.json-01234567"} & names(tmp_path)


@pytest.mark.parametrize("hashed", [True, False], ids=["schema 2", "schema 1"])
def test_curves_under_their_old_names_are_read_and_replaced(folder: Path, hashed: bool):
    old = {f"{split}_curves.npz": data for split, data in curves(1).items()}
    for name, data in old.items():
        write_bytes(folder / name, data)
    files = {"files": {name: file_hash(folder / name) for name in old}} if hashed else {}
    write_record(folder / "evaluation.json", {"schema_version": 2 if hashed else 1, "number": 1, **files})
    assert number_in(folder) == 1
    write(folder, 2)
    assert number_in(folder) == 2
    assert set(old) <= names(folder)  # of the evaluation before


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"files": 5}'], ids=["no JSON", "a list", "files are no names"])
def test_what_cannot_be_read_any_more_is_replaced(tmp_path: Path, content: bytes):
    write_bytes(tmp_path / "evaluation.json", content)
    write(tmp_path, 1)
    assert number_in(tmp_path) == 1


def test_changed_curves_are_refused(folder: Path):
    write(folder, 1)
    path = curve_file(folder, read_evaluation_files(folder) or {}, "test")
    write_bytes(path, read_bytes(path)[:-1])
    with pytest.raises(BundleError, match=rf"{path.name} was changed or damaged"):
        read_evaluation_files(folder)


# --------------------------------------------------------------------------- what evaluate publishes


def test_an_evaluation_is_published_with_curves_page_and_card(make_bundle: MakeBundle, tmp_path: Path):
    bundle = make_bundle()
    record = {key: value for key, value in bundle.evaluation.items() if key != "sha256"}
    result = publish(tmp_path / "new", bundle, None, record, {"test": histograms(0.5)}, [])
    stored = read_evaluation_files(tmp_path / "new")
    assert stored is not None
    assert {key: stored[key] for key in record} == record
    found, classes = load_curves(curve_file(tmp_path / "new", stored, "test"))
    assert classes == CLASSES
    np.testing.assert_array_equal(found.positives, histograms(0.5).positives)
    assert "<h1>Model 0001</h1>" in result.report.read_text()
    assert "# Model 0001" in (tmp_path / "new" / "MODEL_CARD.md").read_text()


def test_a_page_that_cannot_be_made_leaves_the_evaluation_as_it_was(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
):
    bundle = make_bundle()
    place = bundle.folder / "evaluation"
    before = {path.name: path.read_bytes() for path in place.iterdir()}

    def broken(*arguments: Any) -> str:
        raise RuntimeError("no card")

    monkeypatch.setattr("unetseg.evaluate.model_card", broken)
    with pytest.raises(RuntimeError, match="no card"):
        publish(place, bundle, None, bundle.evaluation | {"unit": "pixels"}, {"test": histograms(0.5)}, [])
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
