"""Ingest is killed at any moment; the same command then leaves what an undisturbed run leaves."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

pytestmark = pytest.mark.drill

KILLS = 10


def moments(duration, seed):
    """Ten moments of an undisturbed run, one at random in each tenth of it, in order."""
    chance = random.Random(seed)
    return [duration * (tenth + chance.random()) / KILLS for tenth in range(KILLS)]


class Watch:
    """What a run has done to the dataset since the watch was started."""

    def __init__(self, lab):
        self.dataset, self.started = lab.project.dataset, time.time_ns()

    def stored(self):
        return sum(self.is_new(path) for path in self.dataset.glob("scans/[!.]*/zarr.json"))

    def indexed(self):
        return self.is_new(self.dataset / "index.json")

    def is_new(self, path):
        try:
            return path.stat().st_mtime_ns > self.started
        except FileNotFoundError:
            return False

    def phase(self, kill):
        if kill.ended:
            return "after its end"
        if self.indexed():
            return "after the index"
        return "while storing" if self.stored() else "before the first scan"


def kill_again_and_again(lab, times, killer, check_opens, injected, before=lambda number: None):
    """Continue the same dataset and kill each run at its moment; returns what each kill met."""
    found = []
    for number, moment in enumerate(times):
        before(number)
        watch = Watch(lab)
        kill = killer.after(moment, lab.command)
        injected("ingest: command killed", int(not kill.ended))
        found.append((watch.phase(kill), watch.stored(), check_opens(lab)))
    return found


def tell(say, title, found):
    phases = ", ".join(f"{count} {phase}" for phase, count in Counter(phase for phase, _, _ in found).items())
    opened = ", ".join(f"{count} {answer}" for answer, count in Counter(answer for _, _, answer in found).items())
    say(f"{title}: {phases}; scans stored by each run: {[stored for _, stored, _ in found]}; then: {opened}")


def test_a_first_ingest_that_is_killed_ten_times(new_lab, tmp_path, killer, check_opens, check_same, injected, say):
    reference, lab = (new_lab(tmp_path / name, workers=1) for name in ("reference", "killed"))
    duration = reference.run()
    found = kill_again_and_again(lab, moments(duration, seed=1), killer, check_opens, injected)
    tell(say, f"killed ten times in the {duration:.1f} s of a first ingest", found)
    assert "while storing" in {phase for phase, _, _ in found}
    lab.run()
    check_same(lab, reference)
    assert check_opens(lab) == "opens"


def test_nights_with_changes_that_are_killed_ten_times(
    new_lab, tmp_path, killer, check_opens, check_same, injected, say
):
    reference, lab = (new_lab(tmp_path / name, workers=1) for name in ("reference", "killed"))
    lab.run()
    lab.change_much(seed=1)
    duration = lab.run()
    seeds = range(2, 2 + KILLS)
    found = kill_again_and_again(
        *(lab, moments(duration, seed=2), killer, check_opens, injected),
        before=lambda number: lab.change_much(seeds[number]),
    )
    tell(say, f"killed ten times in the {duration:.1f} s of a night, with changes in between", found)
    assert "while storing" in {phase for phase, _, _ in found}
    lab.run()
    for seed in (1, *seeds):
        reference.change_much(seed)
    reference.run()
    check_same(lab, reference)
    assert check_opens(lab) == "opens"


def test_kills_at_each_step_of_a_night(new_lab, tmp_path, killer, check_opens, check_same, injected, say):
    """Not by the clock: as soon as the first scan is marked, is stored, some are, all are, the index is there."""
    reference, lab = (new_lab(tmp_path / name, workers=1) for name in ("reference", "killed"))
    lab.run()
    torn = lab.project.dataset / ".torn"
    steps = [
        ("the mark", lambda watch: torn.exists()),
        ("one scan", lambda watch: watch.stored() >= 1),
        ("four scans", lambda watch: watch.stored() >= 4),
        ("eight scans", lambda watch: watch.stored() >= 8),
        ("the index", lambda watch: watch.indexed()),
    ]
    found = []
    for seed, (step, reached) in enumerate(steps, start=1):
        lab.change_much(seed)
        watch = Watch(lab)
        kill = killer.when(lambda watch=watch, reached=reached: reached(watch), lab.command)
        injected("ingest: command killed", int(not kill.ended))
        found.append((watch.phase(kill), watch.stored(), check_opens(lab)))
        say(f"killed after {step}: {found[-1][0]}, {found[-1][1]} scans stored; then: {found[-1][2]}")
    assert [phase for phase, _, _ in found].count("while storing") >= 2
    lab.run()
    for seed in range(1, 1 + len(steps)):
        reference.change_much(seed)
    reference.run()
    check_same(lab, reference)
