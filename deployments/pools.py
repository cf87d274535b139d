"""The work pools `cpu` and `gpu`, their limits, and the workers of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.home import Home
from unetseg.json_files import write_json

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["POOLS", "Worker", "make", "pause", "resume", "workers"]

POOLS = ("cpu", "gpu")

_ON_THE_CPU = 2  # runs at once: a prediction of hours, and something short beside it; each uses all processors


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
    noted = home.remembered(home.pools)
    if "gpu" not in there or noted.get("gpus") != gpus:
        client.update_work_pool("gpu", WorkPoolUpdate(concurrency_limit=max(gpus, 1)))
        write_json(home.pools, noted | {"schema_version": 1, "gpus": gpus})


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
