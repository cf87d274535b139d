"""Training: the loop, what it leaves, and how it goes on."""

from __future__ import annotations

import logging
import math
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from unetseg import attempt as attempts
from unetseg import bundle, checkpoint, fitting, losses
from unetseg.bundle import load_bundle
from unetseg.checkpoint import FitOutcome
from unetseg.class_statistics import class_weights
from unetseg.config import LossConfig, ModelConfig, TrainConfig
from unetseg.dataset import Dataset, open_dataset
from unetseg.engines import load_network, open_engine
from unetseg.errors import DataError, UsageError
from unetseg.fitting import compile_model, composite_loss, scale_weights
from unetseg.history import read_history
from unetseg.json_files import read_json
from unetseg.model import build_unet
from unetseg.patches import PatchBatches
from unetseg.probes import Scores
from unetseg.project import Project, override
from unetseg.records import write_record
from unetseg.scan_record import ScanRecord
from unetseg.storage import file_hash, locate
from unetseg.train import plan_training, train, training_fingerprint


@pytest.fixture(autouse=True)
def _no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting for another engine takes seconds, and is tested elsewhere."""
    monkeypatch.setattr(bundle, "export_openvino", lambda model, path: None)


@pytest.fixture
def compiled() -> None:
    """For tests of what only a compiled step may get wrong."""


@pytest.fixture(autouse=True)
def _eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling a step takes seconds, and most tests take few steps."""
    if "compiled" in request.fixturenames:
        return
    compile_ = keras.Model.compile

    def eagerly(self: keras.Model, *arguments: object, **named: object) -> None:
        compile_(self, *arguments, **(named | {"run_eagerly": True, "jit_compile": False}))

    monkeypatch.setattr(keras.Model, "compile", eagerly)


SMALLEST = ("model.depth=1", "model.width=2", "train.steps_per_epoch=1")


def with_settings(project: Project, *texts: str) -> Project:
    return replace(project, settings=override(project.settings, texts))


def weights_of(folder: Path) -> list[np.ndarray]:
    return load_network(folder).get_weights()


def scored(monkeypatch: pytest.MonkeyPatch, scores: list[float], seen: Callable[[keras.Model], None]) -> None:
    """Let validation find these scores, epoch by epoch."""
    found: Iterator[float] = (score for score in scores for _ in ("validation", "training"))

    class Probe:
        def __init__(self, model: keras.Model, config: TrainConfig) -> None:
            self.model = model

        def __call__(self, patches: object) -> Scores:
            seen(self.model)
            score = next(found)
            return Scores((score,) * 3, score)

    monkeypatch.setattr(fitting, "Probe", Probe)


def test_progress_is_by_epochs_or_by_time_whichever_is_further():
    outcome = FitOutcome(history=[{}] * 5, seconds=90.0)
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=0)) == 0.5
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=2)) == 0.75
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=1)) == 1.0


def test_progress_within_an_epoch_counts():
    outcome = FitOutcome(history=[{}] * 5, seconds=60.0)
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=0), share=0.5) == 0.55
    assert outcome.progress(TrainConfig(epochs=10, max_minutes=2), share=0.5, seconds=30.0) == 0.75


@pytest.mark.parametrize(
    ("epochs", "seconds", "expected"),
    [
        pytest.param(1, 6.0, 10, id="a_tenth_of_the_time"),
        pytest.param(1, 50.0, 2, id="most_of_the_time"),
        pytest.param(1, 59.9, 2, id="nearly_all_of_the_time"),
        pytest.param(30, 6.0, 60, id="half_of_the_epochs"),
        pytest.param(59, 6.0, 60, id="all_epochs_but_one"),
    ],
)
def test_while_training_goes_on_another_epoch_is_expected(epochs: int, seconds: float, expected: int):
    outcome = FitOutcome(history=[{}] * epochs, seconds=seconds)
    assert outcome.epochs_expected(TrainConfig(epochs=60, max_minutes=1)) == expected


def test_while_validation_tells_nothing_the_last_epoch_is_best():
    outcome = FitOutcome()
    assert [outcome.note({}, score=score, seconds=1.0) for score in (0.0, 0.0, 0.4, 0.0, 0.4)] == [
        *(True, True, True),
        *(False, False),
    ]
    assert (outcome.best_epoch, outcome.best_score, outcome.seconds) == (3, 0.4, 5.0)


# --------------------------------------------------------------------------- going on


def test_training_without_a_dataset_is_wrong_usage(trained: Project):
    shutil.rmtree(trained.dataset)
    with pytest.raises(UsageError, match=rf"run ingest first: unetseg ingest --project {trained.folder}$"):
        train(trained)


ALL_STATES = (
    *("train.epochs=3", "train.steps_per_epoch=3", "train.seed=11", "train.schedule=plateau", "train.patience=3"),
    *("train.ema=0.9", "model.dropout=0.5", "model.depth=1"),
)


@pytest.mark.usefixtures("compiled")
def test_a_killed_training_goes_on_says_so_and_ends_where_an_undisturbed_one_does(
    trained: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(logging.getLogger("unetseg"), "propagate", True)  # the command keeps it for itself
    caplog.set_level(logging.INFO, logger="unetseg")
    project = with_settings(trained, *ALL_STATES)
    undisturbed = train(project)
    assert "goes on" not in caplog.text
    shutil.rmtree(undisturbed.run)
    begin = fitting._Loop.on_epoch_begin
    begun: list[int] = []

    def killed(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    def noted(self, epoch, logs=None):
        begun.append(epoch)
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(fitting._Loop, "on_epoch_begin", killed)
        with pytest.raises(KeyboardInterrupt):
            train(project)
    monkeypatch.setattr(fitting._Loop, "on_epoch_begin", noted)
    resumed = train(project)
    assert begun == [2]
    assert resumed.epochs == 3
    assert f"a training that was ended goes on, as it was planned: {resumed.run}" in caplog.messages
    assert "2 of at most 3 epochs are done" in caplog.messages
    pairs = zip(weights_of(undisturbed.bundle), weights_of(resumed.bundle), strict=True)
    assert max(float(np.abs(a - b).max()) for a, b in pairs) < 1e-6
    columns = ("loss", "validation_score", "learning_rate")
    rows = [
        [[row[name] for name in columns] for row in read_history(run.run / "history.csv")]
        for run in (undisturbed, resumed)
    ]
    assert np.allclose(*rows, rtol=1e-5)


def test_a_full_disk_names_the_project_and_keeps_the_epochs_before(trained: Project, monkeypatch: pytest.MonkeyPatch):
    project, begun = with_settings(trained, *SMALLEST, "train.epochs=3"), list[int]()
    begin, save = fitting._Loop.on_epoch_begin, checkpoint.save_values

    def noted(self, epoch, logs=None):
        begun.append(epoch)
        begin(self, epoch, logs)

    def full(path, variables):
        if begun[-1] == 1:
            raise OSError(28, "Can't write data (file write failed: ..., total write size = 304896)")
        save(path, variables)

    monkeypatch.setattr(fitting._Loop, "on_epoch_begin", noted)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_values", full)
        with pytest.raises(
            OSError, match=rf"No space left on device: {trained.folder}; make space there and run"
        ) as told:
            train(project)
    assert told.value.errno == 28
    assert train(project).epochs == 3
    assert begun == [0, 1, 1, 2]


def test_a_run_goes_on_with_the_plan_that_it_began_with(trained: Project, monkeypatch: pytest.MonkeyPatch):
    project = with_settings(trained, *SMALLEST, "train.epochs=1", "train.batch=0")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "attempt", killed)
        with pytest.raises(KeyboardInterrupt):
            train(project)
    (stored,) = (path for path in trained.runs.glob("*/plan.json") if not (path.parent / "result.json").exists())
    text = stored.read_text().replace('"batch": 8', '"batch": 3')
    stored.write_text(text)
    result = train(project)
    assert read_json(result.bundle / "bundle.json")["settings"]["train"]["batch"] == 3


def test_half_a_batch_where_memory_is_out(
    trained: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    fit, batches = attempts.fit, []
    monkeypatch.setattr("unetseg.devices.list_devices", lambda kind=None: [])

    def small_device(model, patches, config, run, progress):
        batches.append(config.batch)
        if config.batch > 2:
            raise MemoryError
        return fit(model, patches, config, run, progress)

    monkeypatch.setattr(attempts, "fit", small_device)
    result = train(with_settings(trained, *SMALLEST, "train.epochs=1", "train.batch=8"))
    assert batches == [8, 4, 2]
    assert "out of memory with batches of 4: went on with 2" in result.notes
    assert caplog.text.count("no GPU was found: training on the CPU") == 1  # however often it begins
    assert read_json(result.bundle / "bundle.json")["settings"]["train"]["batch"] == 2


def test_out_of_memory_with_a_batch_of_one_is_an_error(trained: Project, monkeypatch: pytest.MonkeyPatch):
    def no_device(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(attempts, "fit", no_device)
    with pytest.raises(MemoryError):
        train(with_settings(trained, "train.batch=1"))


def test_a_warm_start_begins_with_the_weights_of_production(trained: Project):
    still = ("train.epochs=1", "train.steps_per_epoch=1", "train.learning_rate=1e-12", "train.warm_start=yes")
    result = train(with_settings(trained, *still))
    kernels = [weights_of(folder)[0] for folder in (trained.models / "0001", result.bundle)]
    assert np.abs(kernels[0]).max() > 0.01
    assert np.allclose(*kernels, atol=1e-6)


def test_a_warm_start_from_a_model_of_other_classes_is_told(trained: Project, caplog: pytest.LogCaptureFixture):
    path = trained.models / "0001" / "bundle.json"
    plain = read_json(path)
    write_record(path, plain | {"classes": ["cornea", *plain["classes"][1:]]})
    train(with_settings(trained, *SMALLEST, "train.epochs=1", "train.warm_start=yes"))
    assert "model 0001 has other classes; training begins anew" in caplog.text


def test_a_warm_start_from_another_network_is_told(trained: Project, caplog: pytest.LogCaptureFixture):
    changed = (*SMALLEST, "train.epochs=1", "train.warm_start=yes")
    train(with_settings(trained, *changed))
    assert "model 0001 is another network; training begins anew" in caplog.text


def lose_network(folder: Path) -> None:
    (folder / "model.keras").unlink()


def spoil_network(folder: Path) -> None:
    """Damaged before the bundle was written, so that its hash is right."""
    (folder / "model.keras").write_bytes(b"no network")
    plain = read_json(folder / "bundle.json")
    files = plain["files"] | {"model.keras": file_hash(folder / "model.keras")}
    write_record(folder / "bundle.json", plain | {"files": files})


@pytest.mark.parametrize(
    ("damage", "why"),
    [(lose_network, "model.keras is missing"), (spoil_network, "model.keras: "), (shutil.rmtree, "no version '0001'")],
    ids=["missing-file", "no-network", "no-bundle"],
)
def test_a_warm_start_from_a_damaged_model_is_none(
    trained: Project, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], why: str
):
    damage(trained.models / "0001")
    untouched = object()
    attempts._warm_start(untouched, trained, open_dataset(trained.dataset).index)  # type: ignore[arg-type]
    assert re.search(rf"model 0001 cannot be used \(.*{why}.*\); training begins anew", caplog.text)


# --------------------------------------------------------------------------- ending


def test_patience_stops_training(trained: Project, monkeypatch: pytest.MonkeyPatch):
    scored(monkeypatch, [0.5, 0.4, 0.3, 0.2, 0.1], lambda model: None)
    told: list[tuple[int, int]] = []
    result = train(
        with_settings(trained, *SMALLEST, "train.epochs=5", "train.max_minutes=0", "train.patience=2"),
        progress=lambda done, total, what: told.append((done, total)),
    )
    assert (result.epochs, result.best_epoch, result.validation_score) == (3, 1, 0.5)
    assert told == [(1, 5), (2, 5), (3, 3)]  # that the third was the last, nobody knew before
    assert not any(note.startswith("stopped by") for note in result.notes)


def test_the_best_weights_are_kept_not_the_last(trained: Project, monkeypatch: pytest.MonkeyPatch):
    seen: list[np.ndarray] = []
    scored(monkeypatch, [0.3, 0.9, 0.1], lambda model: seen.append(model.get_weights()[0].copy()))
    result = train(with_settings(trained, *SMALLEST, "train.epochs=3"))
    kept = weights_of(result.bundle)[0]
    assert np.array_equal(kept, seen[2])  # two probes an epoch
    assert not np.array_equal(kept, seen[4])


def test_the_time_budget_ends_an_epoch_early_and_keeps_what_was_learned(
    trained: Project, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    watch = fitting._Loop.on_train_batch_end
    monkeypatch.setattr(
        fitting._Loop,
        "on_train_batch_end",
        lambda self, batch, logs=None: (seen.append(batch), watch(self, batch, logs)),
    )
    result = train(
        with_settings(trained, *SMALLEST, "train.epochs=5", "train.steps_per_epoch=50", "train.max_minutes=0.0001")
    )
    assert result.epochs == 1
    assert seen == [0]
    assert result.bundle.exists()
    assert result.notes[0] == (
        "stopped by train.max_minutes=0.0001 after 1 of 5 epochs; longer: --set train.max_minutes=... (0: no limit)"
    )
    assert load_bundle(result.bundle).info.notes == result.notes


@pytest.mark.parametrize(
    ("spoil", "normalisation", "cause"),
    [
        (lambda planes: planes * np.nan, "batch", "their image hold values that are no numbers"),
        # Activations may swallow it: the loss stays a number, the weights do not.
        (lambda planes: planes * np.nan, "none", "their image hold values that are no numbers"),
        (lambda planes: planes * np.float32(1e38), "batch", "lower train.learning_rate"),
    ],
    ids=["no numbers", "no numbers, swallowed", "too large"],
)
def test_a_loss_that_is_no_number_names_the_scans_of_its_batch(
    trained: Project, monkeypatch: pytest.MonkeyPatch, spoil, normalisation: str, cause: str
):
    original = PatchBatches.__getitem__

    def spoiled(self, index):
        inputs, masks = original(self, index)
        return ({name: spoil(value) for name, value in inputs.items()} if index == 1 else inputs), masks

    monkeypatch.setattr(PatchBatches, "__getitem__", spoiled)
    quick = (*SMALLEST, "train.epochs=1", "train.steps_per_epoch=2", "train.batch=1")
    project = with_settings(trained, *quick, f"model.normalisation={normalisation}")
    with pytest.raises(DataError, match=rf"the loss is \w+ in epoch 1, batch 2, of scans s\d\d_\d; {cause}"):
        train(project)


@pytest.mark.usefixtures("compiled")
def test_an_error_of_the_loader_stays_what_it_is(trained: Project, monkeypatch: pytest.MonkeyPatch):
    make, before = PatchBatches._make, set(threading.enumerate())

    def lost_disk(self, place):
        if place[1] == 5:
            raise OSError(5, "Input/output error", "/mnt/scans")
        return make(self, place)

    monkeypatch.setattr(PatchBatches, "_make", lost_disk)
    with pytest.raises(OSError, match="Input/output error: '/mnt/scans'"):
        train(with_settings(trained, *SMALLEST, "train.epochs=1", "train.steps_per_epoch=8"))
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("unetseg-patches"):
            thread.join(10)
            assert not thread.is_alive()


def test_a_project_in_an_object_store_is_refused_before_any_work(trained: Project):
    with pytest.raises(UsageError, match="can be ingested, but not trained yet"):
        train(replace(trained, folder=locate("s3://bucket/project")))


def test_exclusive_classes_must_not_overlap(trained: Project):
    # The whole eye: sclera, iris and pupil lie in each other.
    dataset = open_dataset(trained.dataset)
    over = {**dataset.index.scans}
    for key, scan in over.items():
        over[key] = replace(scan, class_pixels=dict.fromkeys(dataset.index.classes, scan.shape[0] * scan.shape[1] // 2))
    crowded = replace(dataset, index=replace(dataset.index, scans=over))
    softmax = override(trained.settings, ["model.head=softmax"])
    with pytest.raises(
        UsageError, match=r"exclusive classes \(softmax\).*received \[0.5, 0.5, 0.5\]; .*set model.head to sigmoid"
    ):
        attempts._build(crowded, softmax)
    rare = {key: replace(scan, class_pixels={"iris": 1}) for key, scan in over.items()}
    attempts._build(replace(dataset, index=replace(dataset.index, scans=rare)), softmax)


# --------------------------------------------------------------------------- what it leaves


@pytest.mark.usefixtures("compiled")
def test_what_was_trained_in_mixed_precision_runs_in_every_engine(trained: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # this one is exported
    settings = ("train.epochs=1", "train.precision=mixed_bfloat16", "train.ema=0.5", "model.outputs=2")
    result = train(with_settings(trained, "train.steps_per_epoch=2", *settings))
    assert keras.config.dtype_policy().name == "float32"
    image = np.random.default_rng(0).random((1, 32, 32, 1), dtype=np.float32)
    answers = [open_engine(result.bundle, name)({"image": image}) for name in ("keras", "openvino")]
    assert np.allclose(*answers, atol=1e-4)


def test_a_run_folder_tells_how_it_went(trained_folder: Path):
    (run,) = trained_folder.glob("runs/train-*")
    rows = read_history(run / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "validation_score", "train_dice_iris", "validation_dice_iris"} <= set(rows[0])
    assert all(math.isfinite(row["loss"]) for row in rows)
    for name in ("curves.png", "network.png", "network.txt", "plan.json", "result.json"):
        assert (run / name).stat().st_size > 100, name
    assert list(run.glob("tensorboard/*/events*"))
    assert not (run / "checkpoint").exists()


def test_what_was_chosen_stays_with_the_model(trained_folder: Path):
    (run,) = trained_folder.glob("runs/train-*")
    plain = read_json(trained_folder / "models" / "0001" / "bundle.json")
    assert plain["settings"]["train"]["precision"] == "float32"
    assert plain["plan"] == {"train.precision": "float32: CPU gains nothing from less"}
    assert read_json(run / "result.json")["plan"] == plain["plan"]


def test_a_plan_can_be_asked_for_without_training(trained: Project):
    plan = plan_training(with_settings(trained, "model.depth=0", "train.patch=0"))
    assert plan.choices["train.patch"] == "112: the median scan is 80 x 112, and CPU gets at most 256"
    assert plan.shape == (80, 112)
    assert plan.settings.model.depth == 2


def test_a_bundle_knows_the_pixel_size_of_its_training(trained: Project, monkeypatch: pytest.MonkeyPatch):
    scans = Dataset.scans

    def sized(self: Dataset, split: str) -> list[ScanRecord]:
        found = scans(self, split)
        if split != "train":
            return [replace(scan, pixel_size=(2.0, 2.0)) for scan in found]
        sizes = [None, (0.5, 0.5), (0.5, 0.52), *[(0.5, 0.51)] * len(found)]
        return [replace(scan, pixel_size=size) for scan, size in zip(found, sizes, strict=False)]

    monkeypatch.setattr(Dataset, "scans", sized)
    result = train(with_settings(trained, *SMALLEST, "train.epochs=1"))
    assert load_bundle(result.bundle).info.pixel_size == (0.5, 0.51)
    assert any(re.match(r"\d+ of \d+ training scans tell their pixel size, 0.5 x 0.51", note) for note in result.notes)


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("text", "reaches"),
    [
        ("train.learning_rate=0.5", lambda m: float(m.optimizer.learning_rate) == 0.5),
        ("train.weight_decay=0.25", lambda m: m.optimizer.weight_decay == 0.25),
        ("train.clip_norm=0.125", lambda m: m.optimizer.global_clipnorm == 0.125),
        ("train.clip_norm=0", lambda m: m.optimizer.global_clipnorm is None),
        ("train.ema=0.75", lambda m: m.optimizer.use_ema and m.optimizer.ema_momentum == 0.75),
        ("train.ema=0", lambda m: not m.optimizer.use_ema),
    ],
    ids=["learning rate", "weight decay", "clip norm", "no clipping", "mean of weights", "no mean"],
)
def test_optimiser_settings_reach_the_model(text: str, reaches, trained: Project):
    settings = with_settings(trained, text).settings
    model = build_unet(settings.model, classes=3)
    compile_model(model, settings.train, settings.loss, [1.0, 2.0, 4.0])
    assert reaches(model)
    assert model.loss.get_config()["class_weights"] == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("changed", "path", "expected"),
    [
        ({"cross_entropy": 7.0}, ("weights", "weighted_binary_crossentropy"), 7.0),
        ({"dice": 3.0}, ("weights", "dice"), 3.0),
        ({"focal": 2.0}, ("weights", "focal"), 2.0),
        ({"tversky": 2.0}, ("weights", "tversky"), 2.0),
        ({"focal_tversky": 2.0}, ("weights", "focal_tversky"), 2.0),
        ({"focal_gamma": 3.0}, ("options", "focal", "gamma"), 3.0),
        ({"tversky_alpha": 0.1}, ("options", "tversky", "alpha"), 0.1),
        ({"tversky_alpha": 0.1}, ("options", "focal_tversky", "alpha"), 0.1),
        ({"tversky_beta": 0.9}, ("options", "tversky", "beta"), 0.9),
        ({"focal_tversky_gamma": 2.0}, ("options", "focal_tversky", "gamma"), 2.0),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple | dict) else str(value),
)
def test_loss_settings_reach_the_loss(changed: dict[str, float], path: tuple[str, ...], expected: float):
    found = composite_loss(LossConfig(**changed), [1.0]).get_config()
    for key in path:
        found = found[key]
    assert found == expected


def test_a_setting_weighs_each_loss_that_there_is():
    assert set(composite_loss(LossConfig(), [1.0]).get_config()["weights"]) == set(losses._TERMS)


def test_given_class_weights_reach_the_cross_entropy():
    fractions, config = np.array([0.1, 0.4]), LossConfig(given_class_weights=(3.0, 0.5))
    weights = class_weights(fractions, config)
    assert composite_loss(config, weights).get_config()["class_weights"] == [3.0, 0.5]
    assert class_weights(fractions, LossConfig()) != weights
    with pytest.raises(UsageError, match=r"given_class_weights: must be one weight for each of 3 classes, found \[3.0"):
        class_weights(np.array([0.1, 0.4, 0.2]), config)


def test_outputs_share_the_loss_by_halves_or_as_told():
    assert scale_weights(LossConfig(), 3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert scale_weights(LossConfig(scale_weights=(3, 1)), 2) == [0.75, 0.25]
    with pytest.raises(UsageError, match=r"loss.scale_weights: must be 2 numbers.*found \[1.0\]"):
        scale_weights(LossConfig(scale_weights=(1,)), 2)


def test_each_output_of_a_multi_scale_network_has_its_loss():
    model = build_unet(ModelConfig(depth=2, width=2, outputs=2), classes=1)
    compile_model(model, TrainConfig(), LossConfig(), [1.0])
    image = {"image": np.random.default_rng(0).random((1, 8, 8, 1), dtype=np.float32)}
    masks = {"probabilities": np.ones((1, 8, 8, 1), np.int8), "probabilities_2": np.ones((1, 4, 4, 1), np.int8)}
    total = float(model.test_on_batch(image, masks, return_dict=True)["loss"])
    found = model.predict_on_batch(image)
    parts = [float(composite_loss(LossConfig(), [1.0])(masks[name], found[name])) for name in masks]
    assert total == pytest.approx(2 / 3 * parts[0] + 1 / 3 * parts[1], rel=1e-5)


@pytest.mark.parametrize("section", ["model.width=8", "loss.dice=2", "augment.noise=0", "train.seed=9"])
def test_fingerprint_changes_with_each_section_that_training_reads(section: str, trained: Project):
    base = training_fingerprint("data", trained.settings)
    assert training_fingerprint("data", override(trained.settings, [section])) != base


def test_fingerprint_changes_with_data_and_with_nothing_else(trained: Project):
    base = training_fingerprint("data", trained.settings)
    assert training_fingerprint("other", trained.settings) != base
    other = ["predict.tile=512", "evaluate.beta=2", "gate.floor=0.9"]
    assert training_fingerprint("data", override(trained.settings, other)) == base
