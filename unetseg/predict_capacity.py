"""How many units of a prediction are done at once, and by whom: what its estimate is of."""

from __future__ import annotations

from dataclasses import dataclass

from unetseg.config import PredictConfig
from unetseg.memory import calls_at_once
from unetseg.share import cores, sharing

__all__ = ["Capacity", "capacity_of"]


@dataclass(frozen=True)
class Capacity:
    """What a prediction has.

    Attributes:
        at_once: units that are done at once.
        here: threads of this machine that are as busy in a trial as they, or others like them, are then.
        processes: that are started on this machine; 0: none but this one.
        by: who that is, and what is taken for granted, as the end of a sentence.
        elsewhere: whether others than this machine do them.
    """

    at_once: int
    here: int
    processes: int
    by: str
    elsewhere: bool = False

    def calls(self, call_bytes: float) -> int:
        """Calls of the network whose memory is taken at once on this machine: of each process one at least.

        However small its share of the memory, a process runs one call. And it keeps that memory for the next one:
        calls go round all streams of a compiled network, however few make them.

        Args:
            call_bytes: that one takes.
        """
        if not self.processes:
            return calls_at_once(call_bytes)
        with sharing(_threads(self.processes), self.processes):
            return self.processes * calls_at_once(call_bytes)


def capacity_of(config: PredictConfig, cluster: str = "") -> Capacity:
    """Who segments, as `unetseg.predict_workers` has it.

    Processes share the cores of this machine. A thread of a cluster is taken to be as fast as one of this machine.

    Args:
        config: settings of the prediction.
        cluster: address of a running Dask scheduler; empty: this machine.

    Raises:
        UsageError: the cluster does not answer, or has no workers for this.
    """
    if cluster:
        threads = _cluster_threads(cluster, config.resource)
        at_once = min(config.workers or threads, threads)
        said = f"by {at_once} threads of the cluster, each taken to be as fast as one of this machine"
        return Capacity(at_once, cores(), 0, said, elsewhere=True)
    if config.processes:
        threads = config.processes * _threads(config.processes)
        at_once = min(config.workers or threads, threads)
        said = f"by {config.processes} processes, which share the {cores()} cores of this machine"
        return Capacity(at_once, at_once, config.processes, said)
    at_once = config.workers or cores()
    return Capacity(at_once, at_once, 0, f"by {at_once} threads of this machine")


def _threads(processes: int) -> int:
    """Of each process."""
    return max(1, cores() // processes)


def _cluster_threads(address: str, resource: str) -> int:
    from unetseg.cluster import existing_cluster

    with existing_cluster(address, resource=resource) as found:
        return found.room()
