"""The work pools `cpu` and `gpu`, their limits, and the workers of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.environment import deployed
from deployments.home import Home
from unetseg.json_files import write_json

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["POOLS", "Worker", "make", "pause", "resume", "workers"]

POOLS = ("cpu", "gpu")

_LONG = 2  # runs of a queue at once: each uses all processors, so more of them would only take each other's memory
_ON_THE_CPU = 2 * _LONG  # runs at once: while long ones fill their queue, what takes seconds has places left


@dataclass(frozen=True)
class Worker:
    """A worker of this machine.

    Attributes:
        name: as it is shown.
        pool: from which it takes runs.
        limit: how many at once.
        sees: the ``CUDA_VISIBLE_DEVICES`` of its runs; None leaves it as it is.
    """

    name: str
    pool: str
    limit: int
    sees: str | None


def workers(gpus: Sequence[str]) -> list[Worker]:
    """One for all that the CPU does, and one per GPU, so that two trainings never share one.

    The runs of `cpu` see no GPU: a framework would take its whole memory from the training beside it.

    Args:
        gpus: what ``CUDA_VISIBLE_DEVICES`` calls each.
    """
    one = [Worker("gpu", "gpu", 1, gpus[0] if gpus else None)]
    many = [Worker(f"gpu-{number}", "gpu", 1, sees) for number, sees in enumerate(gpus)]
    return [Worker("cpu", "cpu", _ON_THE_CPU, "-1"), *(many if len(gpus) > 1 else one)]


def make(client: SyncPrefectClient, home: Home, gpus: int) -> None:
    """Make the pools that are missing. `gpu` takes one run per GPU, at least one.

    A limit that was changed by hand stays, until the number of GPUs changes.

    Args:
        client: of the server.
        home: remembers the number of GPUs.
        gpus: how many there are.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

    there = {pool.name for pool in client.read_work_pools()}
    for name in POOLS:
        if name not in there:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    for pool, queue in _queues():
        _make_queue(client, pool, queue)
    noted = home.remembered(home.pools)
    if "gpu" not in there or noted.get("gpus") != gpus:
        client.update_work_pool("gpu", WorkPoolUpdate(concurrency_limit=max(gpus, 1)))
        write_json(home.pools, noted | {"schema_version": 1, "gpus": gpus})


def _queues() -> set[tuple[str, str]]:
    """The queues that ``prefect.yaml`` names, beside the one that every pool has: those of long runs."""
    places = [item["work_pool"] for item in deployed()["deployments"]]
    return {(place["name"], place["work_queue_name"]) for place in places if "work_queue_name" in place}


def _make_queue(client: SyncPrefectClient, pool: str, queue: str) -> None:
    """Make a queue where it is missing; `prefect deploy` would make it without a limit."""
    path = {"work_pool_name": pool}
    there = client.request("POST", "/work_pools/{work_pool_name}/queues/filter", path_params=path, json={}).json()
    if queue not in {item["name"] for item in there}:
        made = {"name": queue, "concurrency_limit": _LONG}
        client.request("POST", "/work_pools/{work_pool_name}/queues", path_params=path, json=made)


def pause(client: SyncPrefectClient, home: Home) -> None:
    """Let no run begin any more; those pools that a person had paused are not resumed later."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    active = [pool.name for pool in client.read_work_pools() if pool.name in POOLS and not pool.is_paused]
    noted = home.remembered(home.pools)
    write_json(home.pools, noted | {"schema_version": 1, "paused": sorted({*active, *noted.get("paused", [])})})
    for name in active:
        client.update_work_pool(name, WorkPoolUpdate(is_paused=True))


def resume(client: SyncPrefectClient, home: Home) -> None:
    """Let runs begin again."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    noted = home.remembered(home.pools)
    for name in noted.get("paused", []):
        client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
    write_json(home.pools, noted | {"schema_version": 1, "paused": []})
