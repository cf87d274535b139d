"""Long lists of names are cut short, and say so."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from unetseg.words import first_of, in_project, size_in_words


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


@pytest.mark.parametrize(
    ("size", "words"),
    [
        pytest.param(0, "0 bytes", id="nothing"),
        pytest.param(999, "999 bytes", id="bytes"),
        pytest.param(1000, "1 KB", id="kilobyte"),
        pytest.param(6_040_000, "6.04 MB", id="megabytes"),
        pytest.param(24 * 10**9, "24 GB", id="gigabytes"),
    ],
)
def test_a_size_has_the_unit_that_keeps_it_short(size: int, words: str):
    assert size_in_words(size) == words


def test_a_command_survives_a_copy_into_a_shell():
    typed = in_project("unetseg models list", Path("/home/ann/my eyes"))
    assert shlex.split(typed) == ["unetseg", "models", "list", "--project", "/home/ann/my eyes"]
