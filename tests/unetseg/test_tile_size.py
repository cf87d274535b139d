"""Tiles between memory and what is computed twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from unetseg import memory, tile_size
from unetseg.memory import calls_at_once, network_memory
from unetseg.tile_size import band_height, tile_side, waste


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, and 1.6 GB for networks."""
    monkeypatch.setattr(memory, "cores", lambda: 2)
    monkeypatch.setattr(tile_size, "cores", lambda: 2)
    monkeypatch.setattr(tile_size, "network_memory", lambda: 1.6e9)
    monkeypatch.setattr(memory, "network_memory", lambda: 1.6e9)


def engine(pixel_bytes: float) -> Any:
    return SimpleNamespace(pixel_bytes=pixel_bytes)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("pixel_bytes", "halo", "side"),
    [
        pytest.param(200, 32, 2000, id="fits-on-each-core"),  # sqrt(1.6e9 / 2 / 200)
        pytest.param(3200, 96, 1376 + 16, id="little-is-computed-twice"),  # 192 * s / (s - 1), s = sqrt(1.35): 1376.7
        pytest.param(100_000, 96, 448, id="no-memory-but-something-is-kept"),
        pytest.param(1, 8, 4096, id="never-larger"),
    ],
)
def test_tiles_by_hand(pixel_bytes: float, halo: int, side: int):
    assert tile_side(engine(pixel_bytes), halo=halo, stride=16) == side


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("halo", [16, 48, 96, 140])
def test_at_most_a_third_is_computed_twice_where_memory_allows_it(halo: int):
    assert waste(tile_side(engine(600), halo=halo, stride=4), halo) <= 0.35


def test_waste_by_hand():
    assert waste(300, 50) == 1.25  # 300 x 300 for 200 x 200


def test_bands_are_multiples_of_what_is_stored_together():
    assert (band_height(1392, halo=96, multiple=512), band_height(500, halo=96, multiple=512)) == (1024, 512)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("gigabytes", "calls"), [(0.1, 2), (0.9, 1), (5, 1)])
def test_as_many_calls_run_at_once_as_memory_is_set_aside_for(gigabytes: float, calls: int):
    assert calls_at_once(gigabytes * 1e9) == calls


def test_small_machines_set_as_much_aside_as_large_tiles_need():
    assert network_memory() >= 1.3e9
