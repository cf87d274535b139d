"""An evaluation where it lies: several files, of which readers see those of one evaluation, the old or the new.

::

    evaluation/
      evaluation.json                         the numbers; names the curves with their SHA-256, and has one of itself
      validation_curves-<12 digits>.npz       histograms; the digits are the first of the file's SHA-256
      test_curves-<12 digits>.npz
      report.html, MODEL_CARD.md              pages made of the numbers

A name of curves stands for their content, so new curves never take the place of old ones: they are put beside them, and
count from the moment at which ``evaluation.json`` is replaced. That holds on a local disk as in an object store, and
wherever a process is killed. Pages are gone before that moment and come after it, ``report.html`` last: there may be
none, but none tells of numbers that are no longer, or not yet, those of the model. Of several writers at once,
one waits for the other on a local disk. Object stores have no locks: the numbers there are those of one of them, with
its curves, but a page may be the other's, so that one evaluation of a model at a time is the user's to see to.

Schema version 4. Evaluations of versions before it do not tell how the network ran (``inference``): in float32, without
flips. In evaluations of versions 1 and 2, curves are named without digits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from unetseg.bundle_checks import check_file, check_schema, checked_record
from unetseg.errors import BundleError, DamagedFileError, MovedError
from unetseg.json_files import read_json
from unetseg.records import write_record
from unetseg.storage import find, leftovers, locked, modified, remove, write_bytes

__all__ = ["EVALUATION_SCHEMA", "curve_file", "has_pages", "read_evaluation_files", "write_evaluation_files"]

EVALUATION_SCHEMA: Final = 4
"""Of evaluation.json."""
_SEALED: Final = 2  # the first schema whose evaluation.json has a digest of itself
_RECORD: Final = "evaluation.json"
_PAGES: Final = ("MODEL_CARD.md", "report.html")  # as they come; they go backwards: where the last one is, all are
_DIGITS: Final = 12  # of a SHA-256 in a name: 48 bits tell a handful of files apart
_STALE: Final = 3600  # seconds: younger files may be those of an evaluation that is being written
_WAY_OUT: Final = "run unetseg evaluate again"


def write_evaluation_files(
    folder: Path,
    record: Mapping[str, Any],
    *,
    curves: Mapping[str, bytes],
    pages: Mapping[str, bytes],
    made_of: Mapping[str, Any] | None = None,
) -> None:
    """Replace an evaluation at once, or write the first one.

    The curves of the evaluation before stay until the next: somebody may have just read its numbers.

    Args:
        folder: of the evaluation.
        record: the numbers; ``files`` is added.
        curves: by split, as `unetseg.curve_files.pack_curves` makes them.
        pages: by file name.
        made_of: the evaluation before, as it was read, where this one is made of its numbers; None: it is not.

    Raises:
        MovedError: ``made_of`` is no longer the evaluation that is there; nothing is written then.
    """
    with locked(folder):  # else the pages could be those of another process, and the numbers ours
        if made_of is not None:
            _check_still_there(folder / _RECORD, made_of)
        files = {}
        for split, data in curves.items():
            digest = sha256(data).hexdigest()
            name = f"{split}_curves-{digest[:_DIGITS]}.npz"
            write_bytes(folder / name, data)
            files[name] = digest
        before = _named_before(folder)
        for name in reversed(_PAGES):
            _discard(folder / name)
        write_record(folder / _RECORD, {**record, "files": files})
        for name in sorted(pages, key=_PAGES.index):
            write_bytes(folder / name, pages[name])
        _clean(folder, {*files, *before})


def has_pages(folder: Path) -> bool:
    """Whether the pages of an evaluation are there; a process that was killed may have left none, or some."""
    return (folder / _PAGES[-1]).is_file()


def read_evaluation_files(folder: Path) -> dict[str, Any] | None:
    """The record of an evaluation, its curves checked; None where there is none.

    Raises:
        BundleError: ``evaluation.json``, or a file that it names with its SHA-256, is no longer what was written.
    """
    path, seen = folder / _RECORD, None
    while path.is_file():
        plain = checked_record(path, _SEALED, _WAY_OUT)
        check_schema(path, plain, EVALUATION_SCHEMA)
        if not isinstance(plain.get("files", {}), dict):
            raise BundleError(f"{path}: damaged, lists no files; {_WAY_OUT}")
        try:
            for name, digest in plain.get("files", {}).items():
                check_file(folder, name, digest, _WAY_OUT)
        except BundleError:
            # Replaced since the record was read? Then another record is there; the same one again is damaged.
            if seen == plain.get("sha256"):
                raise
            seen = plain.get("sha256")
            continue
        return plain
    return None


def curve_file(folder: Path, evaluation: Mapping[str, Any], split: str) -> Path:
    """Where the histograms of a split lie that belong to an evaluation; of old ones, whether they are there is unknown.

    Args:
        folder: of the evaluation.
        evaluation: its record.
        split: ``validation`` or ``test``.
    """
    ours = re.compile(rf"{re.escape(split)}_curves(-[0-9a-f]+)?\.npz")
    return folder / next(filter(ours.fullmatch, evaluation.get("files", {})), f"{split}_curves.npz")


def _check_still_there(path: Path, made_of: Mapping[str, Any]) -> None:
    """Refuse to replace another evaluation; those of the first schemas have no digest, and are told by its absence."""
    found = checked_record(path, _SEALED, _WAY_OUT)
    if found.get("sha256") != made_of.get("sha256"):
        raise MovedError(f"{path}: another evaluation is there by now, which must not be lost; run it again")


def _named_before(folder: Path) -> Iterable[str]:
    """The curves of the evaluation that is replaced; none where there is no such, or it cannot be read any more."""
    try:
        record = read_json(folder / _RECORD)
        return {curve_file(folder, record, split).name for split in ("validation", "test")}
    except (FileNotFoundError, DamagedFileError, AttributeError, TypeError):
        return ()


def _clean(folder: Path, keep: Iterable[str]) -> None:
    """Remove curves that no record names, also those of killed processes, and what killed writes left."""
    named = set(keep)
    for path in find(folder, "*_curves*.npz"):
        if path.name not in named and time.time() - modified(path) / 1e9 > _STALE:
            _discard(path)
    for path in leftovers(folder, seconds=_STALE):
        _discard(path)


def _discard(path: Path) -> None:
    """Remove a file; another process may have done so."""
    with suppress(FileNotFoundError):
        remove(path)
