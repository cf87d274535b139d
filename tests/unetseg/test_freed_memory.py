"""Memory that is freed stays with the process while a training asks for it, and no longer."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")

# Blocks of 48 MB: more than glibc keeps by itself.
COUNT = """
import resource, threading
import numpy as np
from unetseg.freed_memory import freed_memory_kept, one_heap

def cleared(times=10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(48 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""
HERE = """
print(cleared())
with freed_memory_kept():
    cleared(1)
    print(cleared())
print(cleared())
"""
IN_THREADS = """
def in_thread():
    thread = threading.Thread(target=lambda: print(cleared()))
    thread.start()
    thread.join()

one_heap()
many = threading.Barrier(21)
for _ in range(20):
    threading.Thread(target=lambda: (np.ones(100), many.wait())).start()
many.wait()
in_thread()
with freed_memory_kept():
    cleared(1)
    in_thread()
"""


def pages_cleared(script: str, **environment: str) -> list[int]:
    """Pages that the kernel cleared each time, for the same arrays."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", COUNT + script], env=clean | environment, capture_output=True, text=True, check=True
    )
    return [int(line) for line in run.stdout.split()]


def test_what_is_freed_is_not_cleared_again_until_it_is_given_back():
    before, within, after = pages_cleared(HERE)
    assert within < before / 20
    assert after > before / 2


def test_threads_keep_what_they_free_where_all_share_one_heap():
    before, within = pages_cleared(IN_THREADS)
    assert within < before / 20


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_what_the_environment_says_is_left_as_it_is(name: str):
    before, within, after = pages_cleared(HERE, **{name: "8" if name == "MALLOC_ARENA_MAX" else ""})
    assert min(within, after) > before / 2
