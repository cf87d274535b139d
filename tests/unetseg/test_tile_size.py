"""Tiles between memory and what is computed twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from unetseg import memory, tile_size
from unetseg.bundle import BundleInfo, load_bundle, save_bundle
from unetseg.config import ModelConfig, Settings, TrainConfig
from unetseg.engine_openvino import OpenVinoEngine
from unetseg.memory import calls_at_once, network_memory, pixel_bytes
from unetseg.model import build_unet
from unetseg.share import sharing
from unetseg.tile_size import band_height, tile_side, waste


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine of so many cores and gigabytes, 1.6 of which are for networks."""

    def of(*, cores: int = 2, gigabytes: float = 64) -> None:
        monkeypatch.setattr(memory, "cores", lambda: cores)
        monkeypatch.setattr(tile_size, "machine_cores", lambda: cores)
        monkeypatch.setattr(tile_size, "memory_set_aside", lambda: 1.6e9)
        monkeypatch.setattr(tile_size, "physical_memory", lambda: gigabytes * 1e9)
        monkeypatch.setattr(memory, "network_memory", lambda: 1.6e9)

    of()
    return of


def network(
    filters: int, halo: int, *, stride: int = 16, exact: bool = True, patch: int = 0, fusion: int = 0
) -> BundleInfo:
    settings = Settings(model=ModelConfig(width=filters, depth=4, fusion=fusion), train=TrainConfig(patch=patch))
    return BundleInfo(("a",), (), ("grey",), settings, None, "d", "t", 0.5, {}, stride=stride, halo=halo, exact=exact)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("filters", "halo", "side"),
    [
        pytest.param(20, 32, 1408, id="fits-on-each-core"),  # sqrt(1.6e9 / 2 / 20 / 20) = 1414.2
        pytest.param(160, 96, 1376 + 16, id="little-is-computed-twice"),  # 192 * s / (s - 1), s = sqrt(1.35): 1376.7
        pytest.param(256, 160, 1104, id="at-most-four-times-what-is-set-aside"),  # sqrt(4 * 1.6e9 / 20 / 256) = 1118.0
        pytest.param(256, 448, 2 * 448 + 256, id="no-memory-but-something-is-kept"),
        pytest.param(2, 8, 1568, id="no-more-than-of-16-filters"),  # sqrt(1.6e9 / 2 / 20 / 16) = 1581.1
    ],
)
def test_tiles_by_hand(filters: int, halo: int, side: int):
    assert tile_side(network(filters, halo)) == side


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("fusion", "exact", "side"),
    [
        pytest.param(2, True, 1168, id="two-levels"),  # sqrt(1.6e9 / 2 / 16 / (20 + 2 * 8)) = 1178.5
        pytest.param(4, True, 1056, id="all-other-levels"),  # three: sqrt(1.6e9 / 2 / 16 / (20 + 3 * 8)) = 1066.0
        pytest.param(2, False, 1056, id="blended"),  # sqrt(0.65e9 / 16 / (20 + 2 * 8)) = 1062.3
    ],
)
def test_networks_that_fuse_levels_get_smaller_tiles(fusion: int, exact: bool, side: int):
    assert tile_side(network(16, 32, exact=exact, fusion=fusion)) == side


def test_memory_that_is_told_from_the_settings_is_that_of_the_graph(tmp_path: Path):
    model = ModelConfig(width=16, depth=3, fusion=2)
    about = BundleInfo(("a",), (), ("grey",), Settings(model=model), None, "d", "t", 0.5, {})
    bundle = load_bundle(save_bundle(tmp_path, build_unet(model), about))
    assert pixel_bytes(model) == pytest.approx(OpenVinoEngine(bundle).pixel_bytes, rel=0.05)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("halo", [16, 48, 96, 140])
def test_at_most_a_third_is_computed_twice_where_memory_allows_it(halo: int):
    assert waste(tile_side(network(30, halo, stride=4)), halo) <= 0.35


@pytest.mark.parametrize(("gigabytes", "side"), [(64, 1392), (32, 1104)])  # sqrt(32e9 / 2 / 32 / 20 / 20) = 1118.0
def test_a_process_per_core_takes_at_most_half_of_the_memory(machine: Callable[..., None], gigabytes: float, side: int):
    machine(cores=32, gigabytes=gigabytes)
    assert tile_side(network(20, 96)) == side


def test_tiles_are_never_larger(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    machine(gigabytes=2000)
    monkeypatch.setattr(tile_size, "memory_set_aside", lambda: 80e9)
    assert tile_side(network(16, 8)) == 4096


@pytest.mark.parametrize("exact", [True, False])
def test_however_many_processes_share_a_machine_the_tile_is_the_same(exact: bool):
    alone = tile_side(network(16, 96, exact=exact))
    with sharing(1, processes=64):
        assert tile_side(network(16, 96, exact=exact)) == alone


@pytest.mark.parametrize(
    ("filters", "patch", "side"),
    [
        pytest.param(16, 0, 1424, id="by-the-network"),  # sqrt(0.65e9 / 20 / 16) = 1425.2
        pytest.param(64, 256, 704, id="a-wide-one"),  # sqrt(0.65e9 / 20 / 64) = 712.6
        pytest.param(64, 1000, 1008, id="no-smaller-than-the-training-s-patches"),
    ],
)
@pytest.mark.parametrize("cores", [1, 64])
def test_blended_tiles_are_the_same_on_all_machines(
    machine: Callable[..., None], cores: int, filters: int, patch: int, side: int
):
    machine(cores=cores, gigabytes=8 * cores)
    assert tile_side(network(filters, 96, exact=False, patch=patch)) == side


@pytest.mark.usefixtures("machine")
def test_what_the_settings_say_holds():
    assert (tile_side(network(16, 8), 300), tile_side(network(16, 8, exact=False), 300)) == (300, 300)


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
