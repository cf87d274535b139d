"""Memory that is freed stays with the process while a training asks for it, and no longer."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")

# Blocks of 48 MB: more than glibc keeps by itself.
SCRIPT = """
import resource
from contextlib import nullcontext
import numpy as np
from unetseg.freed_memory import freed_memory_kept

def cleared(times=10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(48 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(cleared())
with freed_memory_kept():
    cleared(1)
    print(cleared())
print(cleared())
"""


def pages_cleared(**environment: str) -> list[int]:
    """Pages that the kernel cleared before, within and after, each for the same arrays."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=clean | environment, capture_output=True, text=True, check=True
    )
    return [int(line) for line in run.stdout.split()]


def test_what_is_freed_is_not_cleared_again_until_it_is_given_back():
    before, within, after = pages_cleared()
    assert within < before / 20
    assert after > before / 2


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_what_the_environment_says_is_left_as_it_is(name: str):
    before, within, after = pages_cleared(**{name: "8" if name == "MALLOC_ARENA_MAX" else ""})
    assert min(within, after) > before / 2
