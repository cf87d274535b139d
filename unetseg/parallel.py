"""Run many independent units: on threads of this process, on processes of this machine, or on a Dask cluster.

Threads are enough for most: reading, inference and writing run outside Python's lock. Processes are for where they do
not, and cost their start; a cluster is for several machines. What units do, and what comes back, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from unetseg.batches import in_batches
from unetseg.share import cores

__all__ = ["UNITS_AHEAD", "Progress", "Workers", "open_workers", "run_units", "silent"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with units done, units in all, and what was done last."""

UNITS_AHEAD = 4
"""Units queued per worker: enough to keep it busy, few enough to keep memory bounded."""


def silent(done: int, total: int, what: str) -> None:
    """Progress for nobody."""


class Workers:
    """What does the units, for as many calls as are made: here, an executor's threads.

    Args:
        executor: runs a unit.
        ahead: units handed over and not yet done.
    """

    elsewhere = False  # whether units are done on machines that may share no folder with this one
    _patience: float | None = None  # seconds without news, after which `_look` has a look

    def __init__(self, executor: Executor, ahead: int) -> None:
        self._executor = executor
        self._ahead = ahead

    def run(
        self, function: Callable[[Unit], Result], units: Iterable[Unit]
    ) -> Iterator[tuple[Unit, Result | Exception]]:
        """Apply a function to every unit and yield each unit with its result, or its error, as soon as it is there.

        Args:
            function: called once per unit; where units leave this process it must be importable by name.
            units: drawn lazily, a few ahead of the workers.

        Raises:
            ClusterError: nobody is left to do them.
        """
        return self._drain(function, iter(units), self.ahead())

    def run_together(
        self, function: Callable[[Unit], Result], units: Sequence[Unit], weight: Callable[[Unit], float]
    ) -> Iterator[tuple[Unit, Result | Exception]]:
        """As `run`, but units that are light are handed over together, since that takes as long as doing one.

        Never so many at a time that a worker has nothing to do. Where those who did several died, each is done again
        alone.

        Args:
            function: called once per unit, several times in a row by one worker.
            units: to be done.
            weight: of a unit; what is handed over weighs 1 with its last one.

        Raises:
            ClusterError: nobody is left to do them.
        """
        least = self.ahead() / max(len(units), 1)
        alone: list[Unit] = []
        for group, outcomes in self.run(partial(_each, function), in_batches(units, lambda it: max(weight(it), least))):
            if isinstance(outcomes, Exception):
                alone += group
            else:
                yield from zip(group, outcomes, strict=True)
        yield from self.run(function, alone)

    def ahead(self) -> int:
        """How many units are handed over and not yet done."""
        return self._ahead

    def _drain(
        self, function: Callable[[Unit], Result], units: Iterator[Unit], ahead: int
    ) -> Iterator[tuple[Unit, Result | Exception]]:
        waiting: dict[Future[Result], Unit] = {}
        try:
            for unit in islice(units, ahead):
                waiting[self._submit(function, unit)] = unit
            while waiting:
                finished, _ = wait(waiting, timeout=self._patience, return_when=FIRST_COMPLETED)
                if not finished:
                    self._look()
                for future in finished:
                    unit, outcome = waiting.pop(future), self._outcome(future)
                    for following in islice(units, 1):
                        waiting[self._submit(function, following)] = following
                    yield unit, outcome
        finally:
            for future in waiting:  # what has not begun shall not, when the caller stops early
                future.cancel()

    def _submit(self, function: Callable[[Unit], Result], unit: Unit) -> Future[Result]:
        """Hand a unit over; it has this process' share of the machine (`unetseg.share`), as the thread that asks."""
        return self._executor.submit(copy_context().run, function, unit)

    def _look(self) -> None:
        """Whether anybody is still at work."""

    def _outcome(self, future: Future[Any]) -> Any:  # noqa: ANN401 (whatever the units return)
        try:
            return future.result()
        except Exception as error:  # a unit's error is its result: the caller decides whether the batch goes on
            return error


def _each(function: Callable[[Unit], Result], units: Iterable[Unit]) -> list[Result | Exception]:
    """What becomes of each of several units."""
    return [_outcome(function, unit) for unit in units]


def _outcome(function: Callable[[Unit], Result], unit: Unit) -> Result | Exception:
    try:
        return function(unit)
    except Exception as error:  # a unit's error is its result
        return error


@contextmanager
def open_workers(
    *,
    workers: int = 0,
    processes: int = 0,
    cluster: str = "",
    resource: str = "",
    out: Path | None = None,
    sees: Sequence[Path] = (),
) -> Iterator[Workers]:
    """Have workers ready, for as many calls of `Workers.run` as come; at the end they are gone.

    Args:
        workers: how many units at once; 0: one per processor core, or a few per thread of the cluster.
        processes: on this machine, to do the units; 0: threads of this process.
        cluster: address of a Dask scheduler that runs already, such as ``tcp://127.0.0.1:8786``; ``processes`` does
            not count then.
        resource: units go only to workers of the cluster that have it, such as ``GPU`` or ``GPU=2`` per unit.
        out: folder that the workers of the cluster must see, under the same path, as it is here.
        sees: files or folders that they must see, too.

    Raises:
        UsageError: the cluster does not answer, has no such workers, or these are not fit for the work.
    """
    if cluster or processes:
        from unetseg.cluster import existing_cluster, local_processes

        if cluster:
            opened: AbstractContextManager[Workers] = existing_cluster(
                cluster, workers=workers, resource=resource, out=out, sees=sees
            )
        else:
            opened = local_processes(processes, workers=workers)
        with opened as found:
            yield found
        return
    count = workers or cores()
    with ThreadPoolExecutor(count, thread_name_prefix="unetseg") as executor:
        yield Workers(executor, count * UNITS_AHEAD)


def run_units(
    function: Callable[[Unit], Result], units: Iterable[Unit], *, workers: int = 0, cluster: str = ""
) -> Iterator[tuple[Unit, Result | Exception]]:
    """`Workers.run` of workers that are there for this one call: threads, or a cluster's.

    Args:
        function: called once per unit; must be importable by name when a cluster is used.
        units: drawn lazily, a few ahead of the workers.
        workers: how many units at once; 0: one per processor core (or a few per thread of the cluster).
        cluster: address of a running Dask scheduler; empty: threads.

    Raises:
        UsageError: the cluster does not answer.
        ClusterError: it is lost on the way.
    """
    with open_workers(workers=workers, cluster=cluster) as found:
        yield from found.run(function, units)
