"""Versions that a person took out of production, told from the history; a slow book-keeping is the oracle."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unetseg import registry
from unetseg.errors import MovedError
from unetseg.registry import Aliases, promote, read_aliases, rollback
from unetseg.registry_cleaning import clean
from unetseg.registry_rollbacks import rollback_in_words, rolled_back

VERSIONS = ("0001", "0002", "0003")


@pytest.fixture
def models(tmp_path, write_versions):
    write_versions(tmp_path, 1, 2, 3)
    return tmp_path


def line_of(models, version):
    return rolled_back(read_aliases(models), version)


def by_the_gate(models, version):
    return promote(models, version, why="macro f1 0.8 -> 0.9", instead_of=read_aliases(models).production)


def test_the_version_that_made_way_at_a_rollback_is_rolled_back(models, monkeypatch):
    monkeypatch.setenv("UNETSEG_WHO", "ada@lab")
    by_the_gate(models, "0001")
    by_the_gate(models, "0002")
    assert [line_of(models, version) for version in VERSIONS] == [None, None, None]
    line = rollback(models, why="too eager").history[-1]
    assert line["rolled_back"] == "0002"
    assert [line_of(models, version) for version in VERSIONS] == [None, line, None]
    assert rollback_in_words("0002", line) == f"0002 was rolled back by ada@lab on {line['time'][:10]} (too eager)"


def test_what_happens_afterwards_leaves_it_rolled_back(models):
    by_the_gate(models, "0001")
    by_the_gate(models, "0002")
    line = rollback(models).history[-1]
    by_the_gate(models, "0003")
    clean(models, keep=1)
    assert line_of(models, "0002") == line


def test_a_promotion_by_hand_lifts_it_for_good(models):
    by_the_gate(models, "0001")
    by_the_gate(models, "0002")
    rollback(models)
    promote(models, "2", why="it was the scanner")
    assert [line_of(models, version) for version in VERSIONS] == [None, None, None]
    by_the_gate(models, "0003")
    assert line_of(models, "0002") is None


def test_what_was_compared_before_a_rollback_is_not_promoted_after_it(models):
    by_the_gate(models, "0001")
    by_the_gate(models, "0002")
    before = rollback(models, why="too eager")
    with pytest.raises(MovedError, match=r"0002 was rolled back by .* \(too eager\); only a person promotes it again"):
        by_the_gate(models, "0002")
    assert read_aliases(models) == before


def test_to_promote_an_older_version_by_hand_is_to_roll_back(models):
    by_the_gate(models, "0003")
    assert promote(models, "1", why="0003 fails on the new scanner").history[-1]["rolled_back"] == "0003"
    assert line_of(models, "0003")["why"] == "0003 fails on the new scanner"


def test_the_gate_may_take_an_older_version(models):
    by_the_gate(models, "0002")
    assert by_the_gate(models, "0001").history[-1]["rolled_back"] is None
    assert line_of(models, "0002") is None


def older(production, previous, why):
    """A line as it was before it told of rollbacks."""
    return {"time": "2026-11-20T00:00:00+00:00", "production": production, "previous": previous, "why": why}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param(older("0001", "0002", "rolled back by hand"), True, id="default_words"),
        pytest.param(older("0001", "0002", "too eager"), True, id="own_words"),
        pytest.param(older("0001", "0002", "macro f1 0.800 -> 0.900"), False, id="words_of_the_gate"),
        pytest.param(older("0003", "0002", "promoted by hand"), False, id="a_newer_version"),
    ],
)
def test_older_histories_are_read_by_what_changed_and_the_words(line, found):
    history = (older("0001", None, "macro f1 0.8 reaches the floor of 0.5"), older("0002", "0001", "macro f1"), line)
    aliases = Aliases(line["production"], line["previous"], history)
    assert rolled_back(aliases, "0002") == (line if found else None)
    assert rollback_in_words("0002", line) == f"0002 was rolled back on 2026-11-20 ({line['why']})"


STEPS = st.lists(
    st.sampled_from([*(("gate", version) for version in VERSIONS), *(("hand", v) for v in VERSIONS), ("rollback", "")]),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_version_is_rolled_back_until_it_is_promoted(monkeypatch, steps):
    state = [Aliases()]

    def change(models, move):
        state[0] = move(state[0])
        return state[0]

    monkeypatch.setattr(registry, "change_aliases", change)
    monkeypatch.setattr(registry, "versions", lambda models: list(VERSIONS))
    monkeypatch.setattr(registry, "model_folder", lambda models, name: name)
    monkeypatch.setattr(registry, "load_bundle", lambda name: type("Bundle", (), {"version": name}))
    barred: set[str] = set()
    for kind, version in steps:
        before = state[0]
        if kind == "rollback" and before.previous is None:
            continue
        if kind == "gate" and version in barred:
            with pytest.raises(MovedError):
                promote(None, version, why="macro", instead_of=before.production)
            continue
        if kind == "rollback":
            rollback(None)
        else:
            promote(None, version, why="macro", **({"instead_of": before.production} if kind == "gate" else {}))
        after = state[0].production
        if before.production not in (None, after) and (
            kind == "rollback" or (kind == "hand" and after < before.production)
        ):
            barred.add(before.production)
        barred.discard(after)
        assert {name for name in VERSIONS if rolled_back(state[0], name)} == barred
