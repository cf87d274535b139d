import threading

import distributed
import pytest

from unetseg.errors import BadFileError, UsageError
from unetseg.parallel import run_units, silent


def square(number):
    return number * number


def odd_fails(number):
    if number % 2:
        raise BadFileError(f"{number} is odd")
    return number


@pytest.mark.parametrize("workers", [0, 1, 3, 50])
def test_every_unit_comes_back_once_with_its_own_result(workers):
    found = list(run_units(square, range(40), workers=workers))
    assert sorted(found) == [(number, number * number) for number in range(40)]


def test_no_units_give_no_results():
    assert list(run_units(square, [])) == []


def test_results_come_as_they_are_ready_not_in_order():
    first_may_end = threading.Event()

    def work(unit):
        if unit == 0:
            assert first_may_end.wait(5)
        return unit

    order = []
    for unit, outcome in run_units(work, range(3), workers=2):
        assert outcome == unit
        order.append(unit)
        if len(order) == 2:
            first_may_end.set()
    assert order[-1] == 0


def test_the_error_of_a_unit_is_its_result_and_the_others_go_on():
    found = dict(run_units(odd_fails, range(4), workers=2))
    assert (found[0], found[2]) == (0, 2)
    assert isinstance(found[1], BadFileError)
    assert str(found[3]) == "3 is odd"


def test_units_are_drawn_only_a_few_ahead():
    drawn = []

    def units():
        for number in range(100):
            drawn.append(number)
            yield number

    running = run_units(square, units(), workers=2)
    assert drawn == []
    for done, _ in enumerate(running, start=1):
        # 2 workers, 4 ahead each; what is finished together is replaced together
        assert len(drawn) - done <= 8
    assert len(drawn) == 100


def test_no_more_units_run_at_once_than_workers():
    lock, running, most = threading.Lock(), [], []
    pause = threading.Event()

    def work(unit):
        with lock:
            running.append(unit)
            most.append(len(running))
        pause.wait(0.002)
        with lock:
            running.remove(unit)

    assert len(list(run_units(work, range(60), workers=3))) == 60
    assert 2 <= max(most) <= 3


def test_what_has_not_begun_does_not_begin_when_the_caller_stops():
    begun, go_on = [], threading.Event()

    def work(unit):
        begun.append(unit)
        assert unit == 0 or go_on.wait(5)

    running = run_units(work, range(100), workers=1)
    next(running)
    threading.Timer(0.05, go_on.set).start()
    running.close()
    assert len(begun) <= 2


def test_progress_for_nobody_takes_what_progress_takes():
    assert silent(1, 2, "a") is None


@pytest.fixture(scope="module")
def cluster():
    """A scheduler with two workers in this process, reached over a real socket."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as running:
        yield running


def test_a_running_cluster_does_the_work(cluster):
    assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
    found = dict(run_units(odd_fails, range(30), cluster=cluster.scheduler_address))
    assert sorted(found) == list(range(30))
    assert all(found[number] == number for number in range(0, 30, 2))
    assert all(str(found[number]) == f"{number} is odd" for number in range(1, 30, 2))


def test_units_run_on_the_workers_of_the_cluster(cluster):
    found = dict(run_units(where, range(8), cluster=cluster.scheduler_address))
    assert set(found.values()) <= {worker.address for worker in cluster.workers.values()}


def where(_):
    return distributed.get_worker().address


def test_equal_units_are_run_each_time(cluster):
    # Dask would take equal calls for one, were they not declared impure.
    assert [outcome for _, outcome in run_units(square, [3, 3], cluster=cluster.scheduler_address)] == [9, 9]


@pytest.mark.parametrize("error", [OSError("Timed out trying to connect"), ValueError("unknown address scheme")])
def test_a_cluster_that_does_not_answer_is_named_with_a_way_out(monkeypatch, error):
    def client(address, timeout):
        raise error

    monkeypatch.setattr(distributed, "Client", client)
    with pytest.raises(UsageError, match=rf"--cluster tcp://no:1: no Dask scheduler .*{error}.*or leave it out"):
        list(run_units(square, [1], cluster="tcp://no:1"))


def test_a_malformed_address_is_refused():
    with pytest.raises(UsageError, match="--cluster nonsense://x: no Dask scheduler answers"):
        list(run_units(square, [1], cluster="nonsense://x"))
