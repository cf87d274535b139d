import threading
from itertools import count, islice

import pytest

from unetseg.errors import BadFileError, WorkerDiedError
from unetseg.parallel import open_workers, run_units, silent


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


def test_units_without_end_are_no_burden():
    drawn = []
    found = run_units(square, (drawn.append(number) or number for number in count()), workers=2)
    assert len(list(islice(found, 2000))) == 2000
    assert len(drawn) <= 2008
    found.close()


def test_threads_stay_for_several_calls():
    with open_workers(workers=1) as workers:
        names = [outcome for _ in range(3) for _, outcome in workers.run(thread_name, range(2))]
    assert set(names) == {"unetseg_0"}
    assert "unetseg_0" not in {thread.name for thread in threading.enumerate()}


def thread_name(_):
    return threading.current_thread().name


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


def test_light_units_are_handed_over_together_and_each_has_its_own_result():
    with open_workers(workers=2) as workers:
        found = dict(workers.run_together(odd_fails, range(101), lambda unit: 1 / 16))
    assert sorted(unit for unit, outcome in found.items() if outcome == unit) == list(range(0, 101, 2))
    assert {unit: str(outcome) for unit, outcome in found.items() if unit % 2} == {
        unit: f"{unit} is odd" for unit in range(1, 101, 2)
    }


@pytest.mark.parametrize(
    ("units", "weight", "most"),
    [(640, 1 / 16, 16), (640, 1.0, 1), (640, 0.0, 80), (16, 1 / 16, 2), (8, 1 / 16, 1), (3, 0.0, 1)],
)
def test_units_are_together_as_they_weigh_but_never_so_that_a_worker_has_none(units, weight, most):
    """Two workers have four each ahead: eight share what there is."""
    with open_workers(workers=2) as workers:
        together = groups_of(workers, range(units), weight)
    assert max(map(len, together)) == most
    assert sorted(unit for group in together for unit in group) == list(range(units))


def groups_of(workers, units, weight):
    """What is handed over at a time."""
    seen, run = [], workers.run
    workers.run = lambda function, groups: run(function, (seen.append(group) or group for group in groups))
    list(workers.run_together(square, units, lambda unit: weight))
    return [group for group in seen if isinstance(group, tuple)]


def test_where_all_that_did_a_group_died_each_of_it_is_done_alone():
    with open_workers(workers=2) as workers:
        run, calls = workers.run, []

        def dies_once(function, units):
            for unit, outcome in run(function, units):
                calls.append(unit)
                yield unit, WorkerDiedError("out of memory") if isinstance(unit, tuple) and 5 in unit else outcome

        workers.run = dies_once
        found = dict(workers.run_together(square, range(32), lambda unit: 1 / 4))
    assert found == {number: number * number for number in range(32)}
    assert sorted(call for call in calls if not isinstance(call, tuple)) == [4, 5, 6, 7]


def test_what_a_group_is_interrupted_by_is_nobodys_result():
    def interrupted(unit):
        raise KeyboardInterrupt

    with open_workers(workers=1) as workers, pytest.raises(KeyboardInterrupt):
        list(workers.run_together(interrupted, range(4), lambda unit: 0.5))
