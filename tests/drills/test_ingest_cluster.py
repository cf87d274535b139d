"""Ingest on worker processes of a cluster: the same dataset, also when one of them dies."""

from __future__ import annotations

import os
import signal

import distributed
import pytest

from unetseg.dataset import open_dataset
from unetseg.ingest import ingest

pytestmark = pytest.mark.drill

SCANS = 24


@pytest.fixture
def cluster():
    """Two worker processes with a thread each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as found:
        yield found


@pytest.fixture
def labs(new_lab, tmp_path):
    """Two equal collections: one for the cluster, one for threads."""
    return tuple(new_lab(tmp_path / name, scans=SCANS, size=(128, 160), workers=0) for name in ("cluster", "threads"))


def workers_of(cluster):
    with distributed.Client(cluster) as client:
        return set(client.run(os.getpid).values())


def test_worker_processes_store_what_threads_store(cluster, labs, check_same, say):
    lab, reference = labs
    result = ingest(lab.project, cluster=cluster.scheduler_address)
    assert (result.done, result.skipped, result.failed) == (SCANS, 0, ())
    ingest(reference.project)
    check_same(lab, reference)
    again = ingest(lab.project, cluster=cluster.scheduler_address)
    assert (again.done, again.skipped) == (0, SCANS)


def test_a_worker_that_dies_in_mid_run_costs_nothing(cluster, labs, check_same, injected, say):
    lab, reference = labs
    before, found = workers_of(cluster), []

    def kill_one(done, total, what):
        if done == SCANS // 4:
            found.append(len(list(lab.project.dataset.glob("scans/[!.]*/zarr.json"))))
            os.kill(min(before), signal.SIGKILL)
            injected("ingest: Dask worker killed")

    result = ingest(lab.project, cluster=cluster.scheduler_address, progress=kill_one)
    say(f"worker killed when {found[0]} of {SCANS} scans were stored: {result.done} stored, {result.skipped} found so")
    assert found[0] < SCANS
    # What a worker had stored and not yet told is found, not stored again.
    assert (result.done + result.skipped, result.failed, result.quarantined) == (SCANS, (), ())
    assert min(before) not in workers_of(cluster)
    ingest(reference.project)
    check_same(lab, reference)


def test_what_is_wrong_with_a_scan_comes_back_from_the_workers(cluster, labs, injected):
    lab, _ = labs
    broken, unmasked, half = (lab.name(number) for number in (3, 5, 7))
    (lab.root / f"scans/{broken}.tif").write_bytes(b"II*\0 and then nothing that a TIFF would have")
    for kind in ("cell", "nucleus", "vessel"):
        (lab.root / f"masks/{kind}/{unmasked}.tif").unlink()
    (lab.root / f"masks/nucleus/{half}.tif").unlink()
    injected("ingest: broken or missing file", 3)
    result = ingest(lab.project, cluster=cluster.scheduler_address)
    threads = ingest(lab.project)
    assert (result.quarantined, result.unlabelled, result.failed) == (threads.quarantined, threads.unlabelled, ())
    reasons = {item.path.rpartition("/")[2]: item.reason for item in result.quarantined}
    assert set(reasons) == {f"{broken}.tif", f"{half}.tif"}
    assert f"scan {half}: no mask for nucleus" in reasons[f"{half}.tif"]
    assert result.unlabelled == (unmasked,)
    assert len(open_dataset(lab.project.dataset).index.scans) == result.done == SCANS - 3
