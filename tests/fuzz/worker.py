"""The process in which fuzzed inputs are used: little memory, little disk, and a witness of what it does.

It reads a target and a folder per line and answers each with one line of JSON::

    {"outcome": "fine" | "refused" | "find", "detail": ...}

A find is whatever is not a result that agrees with itself, and not one of unetseg's own errors. The parent process
(`tests.fuzz.campaign`) knows of hangs and deaths.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

_MEMORY = 3 << 30  # bytes of address space beyond what the libraries take
_SLOW = 15.0  # seconds after which standard error tells where it is; the parent waits longer
_FILE = 1 << 28  # bytes of one file that is written
_ASKED_FOR_TOO_MUCH = ("memoryerror", "unable to allocate", "cannot allocate", "bad_alloc", "out of memory")
_NEVER = (  # audit events that nothing which is read may cause
    "ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class",
    "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "urllib.Request", "webbrowser.open",
)  # fmt: skip
_HARMLESS = ("fc-list", "uname", "lscpu")  # what libraries ask of the machine when they are loaded
_CHANGES = {  # audit events that change files: where their paths stand among the arguments
    "os.chmod": (0,), "os.link": (1,), "os.mkdir": (0,), "os.remove": (0,), "os.rename": (0, 1), "os.rmdir": (0,),
    "os.symlink": (1,), "os.truncate": (0,), "shutil.move": (0, 1), "shutil.rmtree": (0,),
}  # fmt: skip


class Witness:
    """Sees what Python does while an input is used, and remembers what it must not do."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.seen, self.thread = str(scratch.resolve()), list[str](), 0
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.thread:
            return
        if event in _NEVER and not (event == "subprocess.Popen" and arguments[0] in _HARMLESS):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and self._is_written(arguments):
            self._note(event, arguments[0])
        elif event in _CHANGES:
            for number in _CHANGES[event]:
                self._note(event, arguments[number])

    @staticmethod
    def _is_written(arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def _note(self, event: str, path: object) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            full = os.path.realpath(os.fsdecode(path))
            if not f"{full}/".startswith(f"{self.scratch}/") and full != os.devnull:
                self.seen.append(f"{event} {full}")


def use(target: Any, folder: Path, witness: Witness) -> dict[str, str]:
    """Give one input to a target, and say how it went."""
    from unetseg.errors import UnetsegError

    faulthandler.dump_traceback_later(_SLOW)
    witness.seen, witness.thread = [], threading.get_ident()
    try:
        target(folder)
        found = {"outcome": "fine", "detail": ""}
    except UnetsegError as error:
        found = _refused(error, folder)
    except BaseException as error:  # that is what is looked for
        found = {"outcome": "find", "detail": _place(error) + "\n" + traceback.format_exc(limit=-12)}
    finally:
        witness.thread = 0
        faulthandler.cancel_dump_traceback_later()
    if witness.seen:
        found = {"outcome": "find", "detail": f"did what it must not: {'; '.join(sorted(set(witness.seen))[:5])}"}
    return found


def _refused(error: Exception, folder: Path) -> dict[str, str]:
    text = str(error)
    if any(sign in text.lower() for sign in _ASKED_FOR_TOO_MUCH):
        return {"outcome": "find", "detail": f"asked for memory first: {_place(error.__cause__ or error)} {text:.300}"}
    if str(folder) not in text:
        return {"outcome": "find", "detail": f"names no file: {_place(error)} {text:.300}"}
    return {"outcome": "refused", "detail": ""}


def _place(error: BaseException) -> str:
    """The type of an error and the innermost line of the project that it went through: what tells finds apart."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/unetseg/" in frame.filename or "/fuzz/" in frame.filename] or frames
    return f"{type(error).__name__} in {Path(own[-1].filename).name}:{own[-1].name}:" if own else type(error).__name__


def _taken() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(scratch: Path, module: str) -> None:
    """Answer requests until there are no more."""
    from importlib import import_module

    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    targets = import_module(module)
    targets.prepare(scratch)
    witness = Witness(scratch)
    resource.setrlimit(resource.RLIMIT_AS, (_taken() + _MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        name, folder = json.loads(line)
        answers.write(json.dumps(use(targets.TARGETS[name], Path(folder), witness)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
