import threading

import pytest

from unetseg import memory, share
from unetseg.parallel import run_units
from unetseg.share import cores, is_shared, memory_share, sharing


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(share, "machine_cores", lambda: 8)


def test_alone_a_process_has_the_whole_machine(eight_cores):
    assert (cores(), memory_share(), is_shared()) == (8, 1.0, False)


@pytest.mark.parametrize(
    ("threads", "processes", "expected"),
    [
        pytest.param(8, 1, (8, 1.0), id="one process is alone"),
        pytest.param(4, 2, (4, 0.5), id="halves"),
        pytest.param(2, 3, (2, 0.25), id="three on eight cores leave two free"),
        pytest.param(1, 16, (1, 1 / 16), id="more processes than cores"),
        pytest.param(1, 1, (1, 0.125), id="a worker of a cluster with one thread"),
        pytest.param(32, 1, (8, 1.0), id="more threads than cores"),
        pytest.param(0, 0, (1, 0.125), id="never nothing"),
    ],
)
def test_a_process_has_the_cores_it_works_on_and_as_much_of_the_memory(eight_cores, threads, processes, expected):
    with sharing(threads, processes):
        assert (cores(), memory_share()) == expected
        assert is_shared() == (expected[1] < 1)
    assert (cores(), memory_share()) == (8, 1.0)


def test_threads_that_do_units_have_the_share_of_who_asks(eight_cores):
    with sharing(2, 3):
        assert [found for _, found in run_units(lambda _: (cores(), memory_share()), range(3))] == [(2, 0.25)] * 3


@pytest.mark.parametrize("processes", range(1, 20))
def test_processes_together_take_no_more_than_there_is(eight_cores, processes):
    whole = memory.network_memory()
    with sharing(max(1, cores() // processes), processes):
        assert processes * memory.network_memory() <= whole * (1 + 1e-9)
        assert processes <= 8 or cores() == 1
        assert processes > 8 or processes * cores() <= 8


def test_a_share_ends_with_an_error(eight_cores):
    with pytest.raises(ZeroDivisionError), sharing(1):
        1 / 0  # noqa: B018
    assert cores() == 8


def test_a_share_is_that_of_a_thread(eight_cores):
    found = []
    with sharing(1):
        other = threading.Thread(target=lambda: found.append(cores()))
        other.start()
        other.join()
    assert found == [8]


def test_outside_of_tests_cores_are_counted():
    assert cores() >= 1
