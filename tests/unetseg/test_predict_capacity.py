"""Who segments, as an estimate of time takes it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import pytest

from unetseg import predict_workers
from unetseg.config import ModelConfig, PredictConfig, Settings
from unetseg.errors import UsageError
from unetseg.predict_capacity import capacity_of
from unetseg.share import sharing


@pytest.mark.parametrize(
    ("settings", "at_once", "processes", "says"),
    [
        pytest.param({}, 2, 0, "by 2 threads of this machine", id="threads"),
        pytest.param({"workers": 3}, 3, 0, "by 3 threads of this machine", id="more-threads"),
        pytest.param({"processes": 2}, 2, 2, "by 2 processes, which share the 2 cores", id="processes"),
        pytest.param({"processes": 5}, 5, 5, "by 5 processes, which share the 2 cores", id="more-processes-than-cores"),
        pytest.param({"processes": 5, "workers": 1}, 1, 5, "by 5 processes", id="fewer-units"),
    ],
)
def test_processes_share_the_cores(
    settings: dict[str, int], at_once: int, processes: int, says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("unetseg.share.machine_cores", lambda: 2)
    found = capacity_of(PredictConfig(**settings))
    assert (found.at_once, found.here, found.processes) == (at_once, at_once, processes)
    assert found.by.startswith(says)


@pytest.mark.parametrize(
    ("settings", "gigabytes", "calls"),
    [
        pytest.param({}, 0.6, 6, id="threads-share-the-memory"),
        pytest.param({"workers": 3}, 0.6, 6, id="however-few-units"),
        pytest.param({}, 5, 1, id="one-at-least"),
        pytest.param({"processes": 4}, 0.3, 8, id="each-process-as-many-as-it-has-threads"),
        pytest.param({"processes": 4}, 0.6, 4, id="each-process-what-its-share-holds"),
        pytest.param({"processes": 4}, 2, 4, id="each-process-one-at-least"),
        pytest.param({"processes": 64}, 2, 64, id="more-processes-than-cores"),
        pytest.param({"processes": 4, "workers": 1}, 0.3, 8, id="however-few-units-of-all-processes"),
    ],
)
def test_calls_whose_memory_is_taken_at_once(
    settings: dict[str, int], gigabytes: float, calls: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("unetseg.share.machine_cores", lambda: 8)
    monkeypatch.setattr("unetseg.memory.physical_memory", lambda: 96e9)  # a 24th, 4 GB, is for networks
    assert capacity_of(PredictConfig(**settings)).calls(gigabytes * 1e9) == calls


@pytest.mark.server
def test_a_cluster_counts_by_its_threads_that_may_do_the_work():
    here = {"host": "127.0.0.1", "dashboard": False}
    worker = {"cls": distributed.Worker, "options": here | {"nthreads": 3}}
    scheduler = {"cls": distributed.Scheduler, "options": here | {"dashboard_address": "127.0.0.1:0"}}
    gpu = worker | {"options": worker["options"] | {"resources": {"GPU": 2}}}
    with distributed.SpecCluster(scheduler=scheduler, workers={"cpu": worker, "gpu": gpu}) as cluster, sharing(1):
        address = cluster.scheduler_address
        every, some = (capacity_of(PredictConfig(resource=name), address) for name in ("", "GPU"))
    assert (every.at_once, some.at_once, every.here, every.processes, every.elsewhere) == (6, 2, 1, 0, True)
    assert every.by == "by 6 threads of the cluster, each taken to be as fast as one of this machine"


def test_a_cluster_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unetseg.cluster._ANSWER", 0.5)
    with pytest.raises(UsageError, match="no Dask scheduler"):
        capacity_of(PredictConfig(), "tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("processes", "gigabytes", "cluster", "warned"),
    [
        pytest.param(64, 80, "", True, id="too-many"),
        pytest.param(64, 90, "", False, id="they-fit"),
        pytest.param(0, 1, "", False, id="threads"),
        pytest.param(64, 80, "tcp://here:1", False, id="cluster"),
    ],
)
def test_processes_whose_networks_take_more_than_half_of_the_memory_are_warned_of(
    processes: int,
    gigabytes: float,
    cluster: str,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(predict_workers, "physical_memory", lambda: gigabytes * 1e9)
    monkeypatch.setattr(predict_workers, "open_workers", lambda **_: nullcontext())
    config = PredictConfig(processes=processes, tile=1424)
    info = SimpleNamespace(settings=Settings(model=ModelConfig(width=16)))
    job = SimpleNamespace(config=config, info=info, out=Path("out"), bundle=Path("model"))
    prediction: Any = SimpleNamespace(job=job, cluster=cluster, refs=())
    predict_workers.workers_for(prediction)
    said = [record.getMessage() for record in caplog.records]  # 64 x 1424 x 1424 x 20 x 16 bytes
    assert [" take about 41.5 GB together" in text for text in said] == [True] * warned
