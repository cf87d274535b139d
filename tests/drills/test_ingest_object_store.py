"""Ingest from and to an object store, killed in mid-run: nothing can be renamed there."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

pytestmark = pytest.mark.drill

SCANS = 16
SIZE = (128, 160)


def objects(dataset):
    """All objects of a dataset with their tags, by the rest of their names: one request."""
    found = dataset.fs.find(dataset.path, detail=True)  # the folder itself, where its first object comes just then
    files = {name: info for name, info in found.items() if info["type"] == "file"}
    return {name.removeprefix(dataset.path): info["ETag"] for name, info in files.items()}


def complete(dataset):
    """The scans that are complete, with tags: the metadata of their groups come last, and go first."""
    return {name: tag for name, tag in objects(dataset).items() if PurePosixPath(name).match("/scans/*/zarr.json")}


def test_a_run_that_is_killed_while_objects_arrive(
    new_lab, bucket, tmp_path, killer, check_opens, check_same, injected, say
):
    reference = new_lab(tmp_path / "local", scans=SCANS, size=SIZE)
    reference.run()
    lab = new_lab(bucket / "killed", scans=SCANS, size=SIZE)
    dataset = lab.project.dataset
    for wanted in (1, 20, 60, 110):
        kill = killer.when(lambda wanted=wanted: len(objects(dataset)) >= wanted, lab.command)
        assert not kill.ended
        injected("ingest into S3: command killed")
        found = len(objects(dataset)), len(complete(dataset)), check_opens(lab)
        say(f"killed when {wanted} objects were there: {found[0]}, {found[1]} scans complete; then: {found[2]}")
        assert found[0] >= wanted
        assert found[1] < SCANS
        assert found[2] == "UsageError"  # no dataset yet
    lab.run()
    check_same(lab, reference)
    assert check_opens(lab) == "opens"


def test_a_night_that_is_killed_while_scans_are_replaced(
    new_lab, bucket, tmp_path, killer, check_opens, check_same, injected, say
):
    labs = reference, lab = [new_lab(root, scans=SCANS, size=SIZE) for root in (tmp_path / "local", bucket / "killed")]
    lab.run()
    for seed, number in enumerate(range(0, SCANS, 2), start=1):
        for each in labs:
            each.change_mask(number, seed)
    dataset = lab.project.dataset
    before = complete(dataset)
    for wanted in (1, 3, 5):
        kill = killer.when(lambda wanted=wanted: len(before.items() - complete(dataset).items()) >= wanted, lab.command)
        assert not kill.ended
        injected("ingest into S3: command killed")
        after = complete(dataset)
        renewed, missing = len(after.items() - before.items()), len(before) - len(after)
        say(f"killed when {wanted} of 8 scans were replaced: {renewed} are, {missing} are half there; then: DataError")
        assert check_opens(lab) == "DataError"
    lab.run()
    reference.run()
    check_same(lab, reference)
    assert check_opens(lab) == "opens"
