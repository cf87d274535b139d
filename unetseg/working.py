"""One run at a time ingests or trains in a project, wherever it was started: a note in the project says which one.

::

    PROJECT/runs/working.json    {} or {"what": "nightly", "who": "ada@lab", "since": ..., "beat": ..., ...}

It is changed as `unetseg.records.update_json` does, so it holds between machines too, in a folder that they share or in
an object store. Who works renews it every few seconds. A note that stands still is that of a dead run, and the next one
takes its place; that is measured with the watcher's own clock, since those of two machines differ. On the same machine
a process that is gone is known at once.
"""

from __future__ import annotations

import datetime
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from unetseg.errors import BusyError
from unetseg.records import update_json
from unetseg.who import who

__all__ = ["working"]

logger = logging.getLogger(__name__)

_NOTE: Final = "runs/working.json"  # not in the project's own folder, which ingest keeps locked all the while
_BEAT: Final = 10.0  # seconds between two signs of life
_SILENCE: Final = 90.0  # seconds without one, after which a run is taken for dead: a busy disk delays some
_LOOK: Final = 3.0  # seconds between two looks of a run that waits

_ours: ContextVar[frozenset[str]] = ContextVar("unetseg-working", default=frozenset())


@contextmanager
def working(folder: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Work alone in a project; within, stages of the same run ask for it again and have it.

    Args:
        folder: of the project.
        what: is done, for those who wait.
        wait: whether to wait until no other run works there.

    Raises:
        BusyError: another one does, and this one shall not wait.
    """
    if str(folder) in _ours.get():
        yield
        return
    path = folder / _NOTE
    note = {"token": uuid.uuid4().hex, "what": what, "who": who(), "since": _now(), "process": _this_process()}
    _take(path, note, folder.name, wait=wait)
    before = _ours.set(_ours.get() | {str(folder)})
    try:
        with _beating(path, note):
            yield
    finally:
        _ours.reset(before)
        _let_go(path, note)


def _take(path: Path, note: Mapping[str, Any], project: str, *, wait: bool) -> None:
    """Put the note where none is, or that of a run that has died."""
    seen: dict[str, Any] = {}
    since = time.monotonic()
    while True:
        dead = seen if _is_gone(seen) or time.monotonic() - since > _SILENCE else {}
        found = update_json(path, _taking(note, dead), default={})
        if found["token"] == note["token"]:
            break
        if not wait and (_is_fresh(found) or (seen and found != seen)) and not _is_gone(found):
            raise BusyError(f"{project}: {_in_words(found)}; this run does not wait for it")
        if found.get("token") != seen.get("token") and not _is_gone(found):
            logger.info("%s: %s; waiting for it to end", project, _in_words(found))
        if found != seen:
            seen, since = found, time.monotonic()
        if not _is_gone(found):
            time.sleep(_LOOK)
    if dead:
        logger.warning(
            "%s: the %s of %s, since %s, has died; this run takes its place",
            *(project, dead["what"], dead["who"], dead["since"]),
        )


def _taking(note: Mapping[str, Any], dead: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda old: _beat(note) if old in ({}, dead) else old


def _let_go(path: Path, note: Mapping[str, Any]) -> None:
    """What cannot be let go is found dead later; it must not hide how the work ended."""
    try:
        update_json(path, lambda old: {} if old.get("token") == note["token"] else old, default={})
    except OSError as error:
        logger.warning("%s: not let go (%s); the next run waits %.0f s for it", path, error, _SILENCE)


@contextmanager
def _beating(path: Path, note: Mapping[str, Any]) -> Iterator[None]:
    """Show signs of life meanwhile, from a thread."""
    done = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(done, path, note), name="unetseg-working", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _beat_until(done: threading.Event, path: Path, note: Mapping[str, Any]) -> None:
    while not done.wait(_BEAT):
        try:
            found = update_json(path, lambda old: _beat(note) if old.get("token") == note["token"] else old, default={})
        except OSError as error:  # a mount that is lost for a moment
            logger.warning("%s: %s; others may take this run for dead", path, error)
            continue
        if found.get("token") != note["token"]:
            logger.warning("%s: this run stood still, and another one works there by now: %s", path, _in_words(found))
            return


def _beat(note: Mapping[str, Any]) -> dict[str, Any]:
    return {**note, "beat": time.time()}


def _is_fresh(note: Mapping[str, Any]) -> bool:
    """Whether the last sign of life is young, if the clocks of both machines are about right."""
    return abs(time.time() - float(note["beat"])) < _SILENCE


def _in_words(note: Mapping[str, Any]) -> str:
    return f"{note['what']} by {note['who']} works there since {note['since']}" if note else "nobody works there"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# --------------------------------------------------------------------------- processes of this machine


def _this_process() -> list[str]:
    """Boot, container and process: what tells it from all others; empty where the system does not say."""
    try:
        return [*_here(), str(os.getpid()), _began(os.getpid())]
    except OSError:
        return []


def _is_gone(note: Mapping[str, Any]) -> bool:
    """Whether the process of a note was one of this machine and is no more; False where that cannot be told."""
    try:
        *place, pid, began = note.get("process") or ["", "", ""]
        if place != _here():
            return False
    except OSError:
        return False
    try:
        return _began(int(pid)) != str(began)
    except ProcessLookupError:
        return True
    except OSError:  # gone, or another user's, which some machines hide
        return not _exists(int(pid))


def _exists(pid: int) -> bool:
    """Whether there is a process of that number, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _here() -> list[str]:
    """This boot of this machine, and the container in which process numbers count."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return [boot, os.readlink("/proc/self/ns/pid")]  # noqa: PTH115 (its target is no path)


def _began(pid: int) -> str:
    """When a process began, in ticks of this boot: numbers of processes are used again."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)  # dead, and only its parent has not asked yet
    return fields[19]
