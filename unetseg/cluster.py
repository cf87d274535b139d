"""Units on processes: those of this machine, or those of a Dask cluster that runs already.

Both are Dask's, since what is hard about processes is done there: a lost worker's units are done again by others, and
its nanny starts another. A pool of `concurrent.futures` breaks as a whole when one of its processes dies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from distributed import Client, KilledWorker, LocalCluster, get_worker
from distributed.utils import silence_logging_cmgr

from unetseg.cluster_check import Checked, check_workers, token_in
from unetseg.errors import ClusterError, UsageError, WorkerDiedError
from unetseg.parallel import UNITS_AHEAD, Workers
from unetseg.share import cores, sharing

__all__ = ["ClusterWorkers", "existing_cluster", "local_processes"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_ANSWER: Final = 10  # seconds in which a scheduler answers
_FIRST_WORKER: Final = 30  # seconds until a cluster has a worker that may do the units
_NEXT_WORKER: Final = 120  # seconds until a cluster that lost all its workers has one again
_LOOK: Final = 5.0  # seconds without news after which somebody looks whether the cluster is there
_DEATHS: Final = 1  # workers of this machine that a unit may cost before it is tried alone, and again then


@contextmanager
def existing_cluster(
    address: str, *, workers: int = 0, resource: str = "", out: Path | None = None, sees: Sequence[Path] = ()
) -> Iterator[ClusterWorkers]:
    """The workers of a Dask cluster; see `unetseg.parallel.open_workers`.

    Raises:
        UsageError: it does not answer, has no workers with the resource, or they do not see what they must see.
    """
    try:
        client = Client(address, timeout=_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        message = f"--cluster {address}: no Dask scheduler answers there ({error}); start one, or leave it out"
        raise UsageError(message) from error
    with silence_logging_cmgr(logging.CRITICAL), client, token_in(out) as token:
        checked, needs = Checked(token, tuple(sees)), _needs(resource)
        found = ClusterWorkers(client, f"--cluster {address}", workers, needs=needs, checked=checked)
        found.wait_for_first()
        check_workers(client, address, checked, [worker for worker, places in found.places().items() if places])
        yield found


@contextmanager
def local_processes(processes: int, *, workers: int = 0) -> Iterator[Workers]:
    """Processes of this machine, each with its share of cores and memory; gone at the end, whatever the end.

    Args:
        processes: how many.
        workers: units at once, of all; 0: a few per thread of each process.
    """
    threads = max(1, cores() // processes)
    with (
        LocalCluster(
            n_workers=processes,
            threads_per_worker=threads,
            host="127.0.0.1",
            security=True,  # else any user of this machine could run code as this one
            dashboard_address=None,
            scheduler_kwargs={"allowed_failures": _DEATHS, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.ERROR,
            memory_limit=None,  # results are small: nothing to move to disk, and no scan is too large for its share
            env={"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield ClusterWorkers(client, f"predict.processes={processes}", workers, processes=processes)


class ClusterWorkers(Workers):
    """The workers of a Dask cluster.

    Args:
        client: connected to its scheduler.
        name: of the cluster, for messages.
        workers: units at once; 0: a few per thread.
        needs: resources that a unit takes, by name.
        checked: what every worker must see.
        processes: of one machine, if that is known.
    """

    _patience = _LOOK

    def __init__(
        self,
        client: Client,
        name: str,
        workers: int = 0,
        *,
        needs: dict[str, float] | None = None,
        checked: Checked | None = None,
        processes: int = 1,
    ) -> None:
        self.checked = checked
        self.elsewhere = checked is not None  # those of this machine need no check
        self._client, self._name, self._needs = client, name, needs or {}
        self._workers, self._processes = workers, processes
        self._seen = time.monotonic()
        super().__init__(client.get_executor(pure=False, resources=self._needs or None), workers)

    def run(
        self, function: Callable[[Unit], Result], units: Iterable[Unit]
    ) -> Iterator[tuple[Unit, Result | Exception]]:
        """See `Workers.run`.

        Dask counts a death against all units that the worker had, so a unit that cost its workers is tried once more
        when no other is under way: then it is its own fault.
        """
        suspects: list[Unit] = []
        self._seen = time.monotonic()
        unit_of = partial(_unit, function, self.checked, self._processes)
        for unit, outcome in self._drain(unit_of, iter(units), self.ahead()):
            if isinstance(outcome, KilledWorker):
                suspects.append(unit)
            else:
                yield unit, outcome
        for unit, outcome in self._drain(unit_of, iter(suspects), 1):
            yield unit, _died(outcome) if isinstance(outcome, KilledWorker) else outcome

    def ahead(self) -> int:
        """See `Workers.ahead`; workers may have come or gone."""
        return self._workers or max(1, self.room()) * UNITS_AHEAD

    def _submit(self, function: Callable[[Unit], Result], unit: Unit) -> Future[Result]:
        return self._executor.submit(function, unit)

    def wait_for_first(self) -> None:
        """Wait until a worker is there that may do units.

        Raises:
            UsageError: none comes.
        """
        end = time.monotonic() + _FIRST_WORKER
        while not self.room():
            if time.monotonic() > end:
                which = "".join(f" --resources {name}={amount:g}" for name, amount in self._needs.items())
                raise UsageError(
                    f"{self._name}: no worker{which.replace(' --resources', ' with')} within "
                    f"{_FIRST_WORKER} s; start one (dask worker ...{which}), or leave it out"
                )
            time.sleep(0.2)

    def room(self) -> int:
        """Units that the workers can do at once."""
        return sum(self.places().values())

    def places(self) -> dict[str, int]:
        """How many of them each worker can do, by its address."""
        try:
            found = self._client.scheduler_info()["workers"].items()
        except (OSError, ValueError) as error:  # distributed's errors of lost connections are OSErrors
            raise self._lost(f"does not answer ({error})") from error
        return {worker: min(item["nthreads"], *self._portions(item["resources"])) for worker, item in found}

    def _portions(self, has: dict[str, float]) -> list[int]:
        return [2**31, *(int(has.get(name, 0) // amount) for name, amount in self._needs.items())]

    def _look(self) -> None:
        if self._client.status != "running":
            raise self._lost("is gone")
        if self.room():
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > _NEXT_WORKER:
            raise self._lost(f"has had no worker for {_NEXT_WORKER} s")

    def _outcome(self, future: Future[Any]) -> Any:  # noqa: ANN401
        if future.cancelled():  # nobody cancels what is waited for: the scheduler took them along
            raise self._lost("is gone")
        self._seen = time.monotonic()
        found = super()._outcome(future)
        if isinstance(found, ClusterError):
            raise found
        return found

    def _lost(self, what: str) -> ClusterError:
        return ClusterError(
            f"{self._name}: the Dask scheduler {what}; what is finished stays: start it and its workers "
            "again, and run the same command again"
        )


def _unit(function: Callable[[Unit], Result], checked: Checked | None, processes: int, unit: Unit) -> Result:
    """What a worker does: it is checked once, and knows its part of the machine."""
    if checked:
        checked.here()
    with sharing(get_worker().state.nthreads, processes):
        return function(unit)


def _died(error: KilledWorker) -> WorkerDiedError:
    times = error.allowed_failures + 1
    return WorkerDiedError(
        f"the worker died {times} times while working on it alone, probably out of memory; give workers more "
        "memory or fewer threads, or make predict.tile smaller, and run the same command again"
    )


def _needs(resource: str) -> dict[str, float]:
    """``GPU=2`` as Dask takes it."""
    name, _, amount = resource.partition("=")
    try:
        needs = {name.strip(): float(amount or 1)} if name.strip() else {}
    except ValueError:
        needs = {"": 0.0}
    if not all(name and amount > 0 for name, amount in needs.items()) or (resource and not needs):
        raise UsageError(f"predict.resource: {resource!r} is not NAME or NAME=AMOUNT, such as GPU or GPU=1")
    return needs
