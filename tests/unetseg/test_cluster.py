import threading
from concurrent.futures import Executor, Future
from itertools import count
from types import SimpleNamespace

import dask
import distributed
import psutil
import pytest

from unetseg import cluster as cluster_module
from unetseg import cluster_check
from unetseg.cluster import ClusterWorkers
from unetseg.cluster_check import Checked
from unetseg.errors import BadFileError, ClusterError, UsageError, WorkerDiedError
from unetseg.parallel import open_workers, run_units
from unetseg.share import cores


def square(number):
    return number * number


def odd_fails(number):
    if number % 2:
        raise BadFileError(f"{number} is odd")
    return number


def where(_):
    return distributed.get_worker().address


@pytest.fixture(scope="module", name="dask_cluster")
def running_cluster():
    """A scheduler with two workers in this process, reached over a real socket; the second has a GPU."""
    here = {"host": "127.0.0.1", "dashboard": False}
    worker = {"cls": distributed.Worker, "options": here | {"nthreads": 1}}
    with distributed.SpecCluster(
        scheduler={"cls": distributed.Scheduler, "options": here | {"dashboard_address": "127.0.0.1:0"}},
        workers={"cpu": worker, "gpu": worker | {"options": worker["options"] | {"resources": {"GPU": 2}}}},
    ) as running:
        yield running


@pytest.fixture
def address(dask_cluster):
    assert dask_cluster.scheduler_address.startswith("tcp://127.0.0.1:")
    return dask_cluster.scheduler_address


# --------------------------------------------------------------------------- a cluster that runs


def test_a_running_cluster_does_the_work(address):
    found = dict(run_units(odd_fails, range(30), cluster=address))
    assert sorted(found) == list(range(30))
    assert all(found[number] == number for number in range(0, 30, 2))
    assert all(str(found[number]) == f"{number} is odd" for number in range(1, 30, 2))


def test_units_run_on_all_workers(dask_cluster, address):
    found = dict(run_units(where, range(30), cluster=address))
    assert set(found.values()) == {worker.address for worker in dask_cluster.workers.values()}


@pytest.mark.parametrize("resource", ["GPU", "GPU=1", "GPU=2", "GPU=0.5"])
def test_units_that_need_a_resource_go_where_it_is(dask_cluster, address, resource):
    with open_workers(cluster=address, resource=resource) as workers:
        assert workers.room() == 1
        found = dict(workers.run(where, range(10)))
    assert set(found.values()) == {dask_cluster.workers["gpu"].address}


def test_a_resource_that_no_worker_has_is_not_waited_for_without_end(address, monkeypatch):
    monkeypatch.setattr(cluster_module, "_FIRST_WORKER", 0.3)
    with pytest.raises(UsageError, match=r"no worker with GPU=3 within 0.3 s; .*--resources GPU=3\), or leave it out"):
        next(run_with(address, "GPU=3"))


def run_with(address, resource):
    with open_workers(cluster=address, resource=resource) as workers:
        yield from workers.run(square, [1])


@pytest.mark.parametrize("resource", ["=1", "GPU=", "GPU=x", "GPU=0", " "])
def test_a_resource_that_is_none_is_refused(address, resource):
    if resource == "GPU=":  # one of it, as without a number
        assert list(run_with(address, resource)) == [(1, 1)]
    else:
        with pytest.raises(UsageError, match=r"predict.resource: .* is not NAME or NAME=AMOUNT"):
            next(run_with(address, resource))


def test_equal_units_are_run_each_time(address):
    # Dask would take equal calls for one, were they not declared impure.
    assert [outcome for _, outcome in run_units(square, [3, 3], cluster=address)] == [9, 9]


@pytest.mark.parametrize(("workers", "ahead"), [(0, 8), (3, 3)], ids=["four per thread", "as the settings say"])
def test_units_are_drawn_only_a_few_ahead_and_forgotten_when_done(address, workers, ahead):
    drawn = []
    with open_workers(cluster=address, workers=workers) as opened:
        units = (drawn.append(number) or number for number in range(100))
        for done, _ in enumerate(opened.run(square, units), start=1):
            assert len(drawn) - done <= ahead
            assert len(opened._client.futures) < 50  # released by and by
    assert len(drawn) == 100


def test_several_calls_take_one_connection(address, monkeypatch):
    made, client = [], cluster_module.Client
    monkeypatch.setattr(cluster_module, "Client", lambda *given, **more: made.append(1) or client(*given, **more))
    with open_workers(cluster=address) as workers:
        for first in (0, 10):
            assert len(list(workers.run(square, range(first, first + 10)))) == 10
    assert made == [1]


def test_a_unit_knows_that_it_shares_the_machine(address):
    found = dict(run_units(shared_cores, range(4), cluster=address))
    assert set(found.values()) == {1}  # a thread per worker
    assert cores() >= 1


def shared_cores(_):
    return cores()


@pytest.mark.parametrize("error", [OSError("Timed out trying to connect"), ValueError("unknown address scheme")])
def test_a_cluster_that_does_not_answer_is_named_with_a_way_out(monkeypatch, error):
    def client(address, **more):
        raise error

    monkeypatch.setattr(cluster_module, "Client", client)
    with pytest.raises(UsageError, match=rf"--cluster tcp://no:1: no Dask scheduler .*{error}.*or leave it out"):
        list(run_units(square, [1], cluster="tcp://no:1"))


def test_a_malformed_address_is_refused():
    with pytest.raises(UsageError, match="--cluster nonsense://x: no Dask scheduler answers"):
        list(run_units(square, [1], cluster="nonsense://x"))


# --------------------------------------------------------------------------- workers that cannot do it


def test_workers_that_do_not_see_a_folder_are_one_error_before_any_unit(address, tmp_path):
    missing = tmp_path / "elsewhere"
    with (
        pytest.raises(UsageError, match=rf"worker on .* does not see {missing} as it is here; share the folder"),
        open_workers(cluster=address, sees=[tmp_path, missing]),
    ):
        pytest.fail("opened")


def test_a_folder_of_the_same_name_is_not_the_same_folder(address, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_check, "write_bytes", lambda path, data: None)  # it arrives on another disk
    with (
        pytest.raises(UsageError, match=rf"does not see {tmp_path} as it is here"),
        open_workers(cluster=address, out=tmp_path),
    ):
        pytest.fail("opened")


def test_only_workers_that_will_work_are_asked(dask_cluster, address, monkeypatch):
    asked, ask = [], distributed.Client.run
    monkeypatch.setattr(
        distributed.Client, "run", lambda *given, **how: asked.append(how["workers"]) or ask(*given, **how)
    )
    with open_workers(cluster=address, resource="GPU"):
        assert asked == [[dask_cluster.workers["gpu"].address]]


def test_the_folder_is_made_and_left_as_it_was(address, tmp_path):
    out = tmp_path / "new" / "out"
    with open_workers(cluster=address, out=out) as workers:
        assert len(list(out.iterdir())) == 1
        assert list(workers.run(square, [2])) == [(2, 4)]
    assert list(out.iterdir()) == []


def test_another_version_is_refused(address, monkeypatch):
    monkeypatch.setattr(cluster_module, "Checked", lambda token, sees: Checked(token, sees, "0.0.1"))
    with (
        pytest.raises(UsageError, match=r"has unetseg \S+, not 0.0.1; install the same version"),
        open_workers(cluster=address),
    ):
        pytest.fail("opened")


def test_a_worker_without_unetseg_is_told_of():
    client = SimpleNamespace(run=lambda function, workers, on_error: {"tcp://w:1": ModuleNotFoundError("no unetseg")})
    with pytest.raises(UsageError, match=r"worker tcp://w:1 cannot import unetseg .*; install it there"):
        cluster_check.check_workers(client, "tcp://s:1", Checked(None), ["tcp://w:1"])


def test_a_worker_that_came_later_ends_the_run_at_its_first_unit(address, tmp_path):
    with open_workers(cluster=address) as workers:
        workers.checked = Checked(None, (tmp_path / "unknown there",))
        with pytest.raises(ClusterError, match=r"worker on .* does not see .*unknown there"):
            next(workers.run(square, range(5)))


# --------------------------------------------------------------------------- workers that are lost


class Deadly(Executor):
    """Kills the workers of some units: always, or when others are under way."""

    def __init__(self, always=(), in_company=()):
        self.always, self.in_company, self.tried = always, in_company, []

    def submit(self, function, unit):
        self.tried.append(unit)
        future = Future()
        if unit in self.always or (unit in self.in_company and self.tried.count(unit) == 1):
            future.set_exception(distributed.scheduler.KilledWorker("key", SimpleNamespace(address="tcp://w:1"), 3))
        else:
            future.set_result(-unit)
        return future


def workers_of(executor, nthreads=2, status="running"):
    info = {"workers": {"a": {"nthreads": nthreads, "resources": {}}}}
    client = SimpleNamespace(status=status, scheduler_info=lambda: info, get_executor=lambda pure, resources: executor)
    return ClusterWorkers(client, "--cluster tcp://s:1")


def test_a_unit_that_costs_its_workers_fails_alone_and_the_others_go_on():
    executor = Deadly(always=[3], in_company=[3, 4])
    found = dict(workers_of(executor).run(square, range(9)))
    assert {unit: found[unit] for unit in range(9) if unit != 3} == {unit: -unit for unit in range(9) if unit != 3}
    assert isinstance(found[3], WorkerDiedError)
    assert "the worker died 4 times while working on it alone, probably out of memory" in str(found[3])
    assert sorted(executor.tried) == [0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8]  # what was innocent is done, once


class Silent(Executor):
    """Says nothing of a unit, but of the first ones."""

    def __init__(self, but=0):
        self.but = but

    def submit(self, function, unit):
        future = Future()
        if unit < self.but:
            future.set_result(unit)
        return future


@pytest.mark.parametrize(
    ("nthreads", "status", "said"),
    [(1, "connecting", "the Dask scheduler is gone"), (0, "running", "has had no worker for 0.1 s")],
    ids=["no scheduler", "no workers"],
)
def test_nobody_at_work_is_not_waited_for_without_end(monkeypatch, nthreads, status, said):
    monkeypatch.setattr(cluster_module, "_NEXT_WORKER", 0.1)
    monkeypatch.setattr(ClusterWorkers, "_patience", 0.02)
    with pytest.raises(ClusterError, match=rf"tcp://s:1: .*{said}; what is finished stays.*same command again"):
        next(workers_of(Silent(), nthreads, status).run(square, [1]))


go_on = threading.Event()


def wait(unit):
    assert unit == 0 or go_on.wait(20)


def test_the_time_without_workers_counts_from_the_last_result(monkeypatch):
    clock = count(0)
    monkeypatch.setattr(cluster_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(cluster_module, "_NEXT_WORKER", 10)
    monkeypatch.setattr(ClusterWorkers, "_patience", 0.001)
    workers, looks = workers_of(Silent(but=50)), []
    monkeypatch.setattr(workers, "room", lambda: looks.append(1) or 0)
    with pytest.raises(ClusterError, match="has had no worker for 10 s"):
        list(workers.run(square, range(51)))  # fifty results take fifty seconds
    assert len(looks) > 10


@pytest.mark.server
def test_a_scheduler_that_is_lost_ends_the_run_with_a_way_out():
    quick = dask.config.set({"distributed.comm.timeouts.connect": "500ms"})  # the cluster looks for it as well
    how = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with quick, distributed.LocalCluster(n_workers=1, threads_per_worker=2, **how) as own:
        running = run_units(wait, range(10), cluster=own.scheduler_address)
        next(running)
        own.sync(own.scheduler.close)
        with pytest.raises(ClusterError, match="the Dask scheduler is gone; what is finished stays"):
            list(running)
        go_on.set()


# --------------------------------------------------------------------------- processes of this machine


@pytest.fixture(scope="module")
def processes():
    with open_workers(processes=2) as found:
        yield found


TELL = "(__import__('os').getpid(), __import__('unetseg.share').share.cores(), __import__('time').sleep(0.05))"


def test_processes_do_the_work_each_with_its_share(processes):
    found = [outcome for _, outcome in processes.run(eval, [TELL] * 20)]
    assert len({pid for pid, _, _ in found}) == 2
    assert {number for _, number, _ in found} == {max(1, cores() // 2)}


def test_processes_are_reached_by_this_machine_alone(processes):
    """Whoever reaches a scheduler or worker of Dask has it run code."""
    own = psutil.Process()
    found = [each.net_connections("inet") for each in (own, *own.children(recursive=True))]
    listening = {item.laddr.ip for each in found for item in each if item.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert processes._client.scheduler.address.startswith("tls://127.0.0.1:")  # and by nobody without the keys


def test_an_error_in_a_process_is_the_result_of_its_unit(processes):
    found = dict(processes.run(eval, ["1 + 1", "1 / 0"]))
    assert found["1 + 1"] == 2
    assert isinstance(found["1 / 0"], ZeroDivisionError)
