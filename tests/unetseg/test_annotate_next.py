import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetseg.annotate_next import choose_next


def test_the_most_unsure_one_comes_first_then_what_is_unlike_it():
    doubt = np.array([0.9, 0.89, 0.5, 0.1])
    place = np.array([[0.0], [0.1], [1.0], [1.1]])
    # 1 is nearly as unsure as 0, but nearly the same scan.
    assert choose_next(doubt, [place], most=2) == [0, 2]
    assert choose_next(doubt, [place], most=9) == [0, 2, 1, 3]


def test_scans_without_doubt_and_copies_are_left_out():
    doubt, place = np.array([0.5, 0.5, 0.0, 0.25]), np.array([[1.0], [1.0], [7.0], [2.0]])
    assert choose_next(doubt, [place], most=9) == [0, 3]
    assert choose_next(np.zeros(3), [np.arange(3.0)[:, np.newaxis]], most=9) == []


def test_wide_groups_and_large_units_weigh_no_more_than_others():
    random = np.random.default_rng(0)
    doubt, one, other = random.random(30), random.random((30, 1)), random.random((30, 2))
    wide = np.hstack([one] * 50) * 1e6
    assert choose_next(doubt, [wide, other], most=10) == choose_next(doubt, [one, other], most=10)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_each_choice_is_the_best_by_looking_at_all(scans):
    doubt, place = np.array([item[0] for item in scans], float), np.array([[item[1]] for item in scans], float)
    found, scaled = choose_next(doubt, [place], most=4), place[:, 0] / (place.std() or 1)
    for number, chosen in enumerate(found):
        gains = [
            d * min((abs(x - scaled[other]) for other in found[:number]), default=1)
            for d, x in zip(doubt, scaled, strict=True)
        ]
        assert gains[chosen] == pytest.approx(max(gains))
    assert len(set(found)) == len(found)
