"""Memory that one step of a training frees is kept for the next.

The C library gives large blocks back to the system as soon as they are freed, and takes them anew: the kernel clears
each page of each tensor of each step again. On CPUs that took up to a third of the time (`benchmarks/freed_memory.py`).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["freed_memory_kept", "one_heap"]

_MEGABYTE: Final = 1 << 20
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # mallopt(3)
_KEPT: Final = {
    _MMAP_THRESHOLD: 2047 * _MEGABYTE,  # an int is all that mallopt takes
    _TRIM_THRESHOLD: 2047 * _MEGABYTE,
    _TOP_PAD: 256 * _MEGABYTE,
}
_GIVEN_BACK: Final = {  # what glibc comes to by itself in a program with large blocks
    _MMAP_THRESHOLD: 32 * _MEGABYTE,
    _TRIM_THRESHOLD: 64 * _MEGABYTE,
    _TOP_PAD: 1 << 17,
}


def one_heap() -> None:
    """Let all threads that begin from now on share one heap, for the rest of the process.

    The heaps of threads keep no large blocks, whatever they are told, and once eight threads have one each, all others
    get theirs: so this comes first in a process that will train.
    """
    if _is_ours():
        _set(ctypes.CDLL(None), {_ARENA_MAX: 1})


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed meanwhile for this process, and give it back in the end.

    It is kept where threads share a heap, as they do from now on (`one_heap`), also afterwards: where that came before
    they began, or few of them had begun.

    Nothing is done where another C library or another allocator is at work, or where the environment tells glibc what
    to do (``MALLOC_...``).
    """
    if not _is_ours():
        yield
        return
    one_heap()
    libc = ctypes.CDLL(None)
    _set(libc, _KEPT)
    try:
        yield
    finally:
        _set(libc, _GIVEN_BACK)
        libc.malloc_trim(0)


def _is_ours() -> bool:
    told = any(name.startswith("MALLOC_") for name in os.environ)
    others = {"LD_PRELOAD", "GLIBC_TUNABLES"} & os.environ.keys()
    return platform.libc_ver()[0] == "glibc" and not told and not others


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        libc.mallopt(name, value)
