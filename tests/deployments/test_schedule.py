"""A schedule that fires, and the limit of the pool `gpu`."""

from __future__ import annotations

import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.deployments.machine import Machine
from unetseg.ingest import ingest
from unetseg.project import load_project

pytestmark = [pytest.mark.server, pytest.mark.drill]


def test_a_night_comes_by_itself_and_trainings_wait_for_it_and_for_each_other(machine: Machine) -> None:
    ingest(load_project(machine.project))
    # A whole minute is left to deploy in: a time that is past then would come tomorrow.
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
    machine.up("--schedule", f"{soon.minute} {soon.hour} * * *", "--timezone", "UTC")

    def nights() -> list[dict[str, Any]]:
        asked = {"deployments": {"id": {"any_": [machine.deployment("nightly/eyes")["id"]]}}}
        found = machine.ask("POST", "/flow_runs/filter", asked | {"sort": "EXPECTED_START_TIME_ASC"})
        return [run for run in found if run["auto_scheduled"]]

    machine.until(lambda: nights() and nights()[0]["state"]["type"] != "SCHEDULED", 300, machine.logs)
    night = nights()[0]
    queued = [machine.run("train/eyes", overrides=[f"train.seed={seed}"]) for seed in (1, 2)]
    for run in (night["id"], *queued):
        machine.wait(run, "Completed", "Failed", "Crashed", seconds=500)
    found = [machine.ask("GET", f"/flow_runs/{run}") for run in (night["id"], *queued)]
    assert [(run["state"]["name"], run["work_pool_name"]) for run in found] == [("Completed", "gpu")] * 3
    assert night["expected_start_time"][:16] == soon.isoformat()[:16]
    times = sorted((run["start_time"], run["end_time"]) for run in found)
    assert all(start < end for start, end in times)
    assert all(before[1] <= after[0] for before, after in pairwise(times))
