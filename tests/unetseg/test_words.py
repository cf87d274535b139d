"""Long lists of names are cut short, and say so."""

from __future__ import annotations

import pytest

from unetseg.words import first_of


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["a", "b"], "a, b", id="as-many-as-fit"),
        pytest.param(["a", "b", "c", "d"], "a, b and 2 more", id="more"),
    ],
)
def test_the_first_names_stand_there_and_the_number_of_the_others(names: list[str], words: str):
    assert first_of(iter(names), 2) == words


def test_the_rest_has_words_of_its_own():
    assert first_of("abc", 1, rest=", and {} groups") == "a, and 2 groups"
    assert first_of("abc", 1, rest=", ...") == "a, ..."
