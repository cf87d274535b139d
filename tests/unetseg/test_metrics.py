"""Streaming metrics: against scikit-learn and the report's tables, over unequal batches, inside `fit`."""

import doctest

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from unetseg import metrics, scores
from unetseg.errors import UsageError
from unetseg.histograms import Histograms
from unetseg.score_table import score_table

METRICS = {
    "recall": (metrics.Recall, recall_score),
    "precision": (metrics.Precision, precision_score),
    "dice_score": (metrics.DiceScore, f1_score),
    "iou": (metrics.IoU, jaccard_score),
}
every_metric = pytest.mark.parametrize("name", METRICS)


@pytest.fixture
def pixels():
    """Six samples of 5 x 7 pixels and 3 classes, of which the third is rare; entries ignored class by class."""
    rng = np.random.default_rng(4)
    y_true = (rng.uniform(size=(6, 5, 7, 3)) < [0.5, 0.3, 0.05]).astype("int8")
    y_pred = np.clip(0.4 * y_true + rng.uniform(size=y_true.shape) * 0.7, 0, 1).astype("float32")
    y_true[rng.uniform(size=y_true.shape) < 0.2] = -1
    return y_true, y_pred


def number(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def result_of(metric, y_true, y_pred, *, ends=(3, 4)):
    """The metric of batches of unequal size, split at ``ends``."""
    for true, pred in zip(np.split(y_true, ends), np.split(y_pred, ends), strict=True):
        metric.update_state(true, pred)
    result = metric.result()
    if isinstance(result, dict):
        return {key: number(value) for key, value in result.items()}
    return number(result)


def counts_of(metric):
    """True positives, false positives and false negatives of each class, as exact numbers."""
    low, high = (keras.ops.convert_to_numpy(variable).astype(object) for variable in metric.variables)
    assert low.max() < 2**30  # or the next batch could overflow 32 bits, which is all that JAX has
    return high * 2**30 + low


# --------------------------------------------------------------------------- values


@every_metric
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_averages_equal_scikit_learn_where_classes_ignore_the_same_pixels(pixels, name, average):
    y_true, y_pred = pixels
    y_true[y_true.min(axis=-1) < 0] = -1
    counted = y_true[..., 0] >= 0
    ours, oracle = METRICS[name]
    expected = oracle(y_true[counted], y_pred[counted] >= 0.5, average=average)
    assert result_of(ours(3, average=average), y_true, y_pred) == pytest.approx(expected, abs=1e-6)


@every_metric
def test_each_class_equals_scikit_learn_on_the_pixels_that_count_for_it(pixels, name):
    y_true, y_pred = pixels
    ours, oracle = METRICS[name]
    got = result_of(ours(3, average="none", class_names=["a", "b", "c"]), y_true, y_pred)
    assert list(got) == [f"{name}_{label}" for label in "abc"]
    counted = [y_true[..., k] >= 0 for k in range(3)]
    expected = [oracle(y_true[..., k][c], y_pred[..., k][c] >= 0.5) for k, c in enumerate(counted)]
    assert list(got.values()) == pytest.approx(expected, abs=1e-6)
    assert 0 < min(expected) < max(expected) <= 1


@every_metric
def test_weighted_is_by_one_over_the_true_pixels(pixels, name):
    y_true, y_pred = pixels
    by_class = list(result_of(METRICS[name][0](3, average="none"), y_true, y_pred).values())
    expected = np.average(by_class, weights=1 / (y_true > 0).sum(axis=(0, 1, 2)))
    got = result_of(METRICS[name][0](3, average="weighted"), y_true, y_pred)
    assert got == pytest.approx(expected, abs=1e-6)
    assert got != pytest.approx(np.mean(by_class), abs=1e-3)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize(("name", "column"), [("recall", "recall"), ("precision", "precision"), ("dice_score", "f1")])
@pytest.mark.parametrize("absent", [False, True], ids=["all-present", "one-absent"])
def test_averages_are_those_of_the_report(pixels, name, column, average, absent):
    y_true, y_pred = pixels
    if absent:  # and yet marked here and there
        y_true[..., 1] = np.minimum(y_true[..., 1], 0)
    histograms = Histograms.empty(3)
    histograms.add(y_true, y_pred)
    counts = scores.count(y_true, y_pred >= 0.5)[None]
    expected = score_table(counts, ["a", "b", "c"], [0.5] * 3, histograms)[average][column]
    assert result_of(METRICS[name][0](3, average=average), y_true, y_pred) == pytest.approx(expected, abs=1e-6)


def test_each_class_has_its_threshold_and_reaches_it_when_equal():
    y_true, y_pred = np.ones((1, 1, 2, 2), "int8"), np.array([[[[0.25, 0.25], [0.75, 0.75]]]], "float32")
    metric = metrics.Recall(2, threshold=[0.25, 0.75], average="none")
    assert result_of(metric, y_true, y_pred, ends=()) == {"recall_0": 1.0, "recall_1": 0.5}
    assert result_of(metrics.Recall(2, threshold=0.8), y_true, y_pred, ends=()) == 0.0


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "float32"])
@pytest.mark.parametrize("half", ["float32", "float16", "bfloat16"])
def test_types_of_masks_and_probabilities_change_nothing(dtype, half):
    y_true = np.array([1, 1, 1, 0]).reshape(1, 2, 2, 1).astype(dtype)
    y_pred = keras.ops.cast(np.array([0.75, 0.5, 0.25, 0.5]).reshape(1, 2, 2, 1), half)
    metric = metrics.Recall(1)
    metric.update_state(y_true, y_pred)
    assert counts_of(metric).ravel().tolist() == [2, 1, 1]
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float32"


# --------------------------------------------------------------------------- what is missing


@every_metric
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize("truth", [0, -1], ids=["background", "ignored"])
def test_without_a_true_pixel_nothing_is_measurable(name, average, truth):
    y_true, y_pred = np.full((2, 4, 4, 2), truth, "int8"), np.full((2, 4, 4, 2), 0.9, "float32")
    assert np.isnan(result_of(METRICS[name][0](2, average=average), y_true, y_pred, ends=(1,)))
    assert np.isnan(number(METRICS[name][0](2, average=average).result()))


@every_metric
def test_an_absent_class_is_nan_by_itself_and_left_out_of_the_mean(pixels, name):
    y_true, y_pred = pixels
    y_true[..., 1] = np.minimum(y_true[..., 1], 0)
    by_class = list(result_of(METRICS[name][0](3, average="none"), y_true, y_pred).values())
    assert np.isnan(by_class).tolist() == [False, True, False]
    assert result_of(METRICS[name][0](3), y_true, y_pred) == pytest.approx((by_class[0] + by_class[2]) / 2, abs=1e-6)


def test_a_class_that_is_there_but_never_marked_has_no_precision_and_recall_0(pixels):
    y_true, y_pred = pixels
    y_pred[..., 0] = 0
    precision = result_of(metrics.Precision(3, average="none"), y_true, y_pred)
    assert np.isnan(precision["precision_0"])
    left = [precision["precision_1"], precision["precision_2"]]
    assert result_of(metrics.Precision(3), y_true, y_pred) == pytest.approx(np.mean(left), abs=1e-6)
    assert result_of(metrics.Recall(3, average="none"), y_true, y_pred)["recall_0"] == 0


def test_predictions_on_ignored_entries_change_nothing(pixels):
    y_true, y_pred = pixels
    once, again = metrics.IoU(3), metrics.IoU(3)
    once.update_state(y_true, y_pred)
    again.update_state(y_true, np.where(y_true < 0, 1 - y_pred, y_pred))
    assert counts_of(once).tolist() == counts_of(again).tolist()


# --------------------------------------------------------------------------- counting


def test_counts_over_unequal_batches_are_those_of_all_pixels(pixels):
    y_true, y_pred = pixels
    metric = metrics.Recall(3)
    result_of(metric, y_true, y_pred, ends=(1, 5))
    expected = scores.count(y_true, y_pred >= 0.5)[:, [scores.TP, scores.FP, scores.FN]].T
    assert counts_of(metric).tolist() == expected.tolist()


@pytest.mark.parametrize("start", [2**24, 2**30 - 3, 5 * 2**30 - 1, 2**60], ids=["2^24", "2^30", "5*2^30", "2^60"])
def test_single_pixels_still_count_after_very_many(start):
    metric = metrics.Recall(1)
    for variable, part in zip(metric.variables, (start % 2**30, start // 2**30), strict=True):
        variable.assign([[part]] * 3)
    y_true, y_pred = np.array([1, 1, 0, 1]).reshape(1, 2, 2, 1), np.array([0.9, 0.9, 0.9, 0.1]).reshape(1, 2, 2, 1)
    for _ in range(4):
        metric.update_state(y_true.astype("int8"), y_pred.astype("float32"))
    assert counts_of(metric).ravel().tolist() == [start + 8, start + 4, start + 4]
    assert number(metric.result()) == pytest.approx(0.5, abs=1e-6)


@every_metric
def test_a_reset_forgets_everything(pixels, name):
    fresh = result_of(METRICS[name][0](3), *pixels)
    metric = METRICS[name][0](3)
    result_of(metric, pixels[0], 1 - pixels[1])
    metric.reset_state()
    assert not counts_of(metric).any()
    assert result_of(metric, *pixels) == fresh


# --------------------------------------------------------------------------- Keras


def network(policy):
    """One convolution whose weights do not move: what `fit` sees is what `predict` says."""
    keras.utils.set_random_seed(0)
    head = keras.layers.Conv2D(2, 3, padding="same", activation="sigmoid", dtype=policy)
    model = keras.Sequential([keras.Input((8, 8, 1)), head])
    watched = [metrics.Recall(2, average="none", class_names=["iris", "pupil"]), metrics.DiceScore(2, threshold=0.4)]
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=watched)
    return model


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_fit_and_evaluate_report_every_class_by_name(policy, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 8, 8, 1)).astype("float32")
    masks = rng.integers(-1, 2, (5, 8, 8, 2)).astype("int8")
    model = network(policy)
    history = model.fit(images, masks, batch_size=2, epochs=2, shuffle=False, verbose=0).history
    # The same batches as in fit: half precision may round otherwise in batches of another size.
    probabilities = model.predict(images, batch_size=2, verbose=0)
    expected = result_of(metrics.Recall(2, average="none", class_names=["iris", "pupil"]), masks, probabilities)
    expected["dice_score"] = result_of(metrics.DiceScore(2, threshold=0.4), masks, probabilities)
    assert set(history) == {"loss", "recall_iris", "recall_pupil", "dice_score"}
    assert {name: history[name] for name in expected} == {name: [value] * 2 for name, value in expected.items()}
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    evaluated = again.evaluate(images, masks, batch_size=2, verbose=0, return_dict=True)
    assert {name: evaluated[name] for name in expected} == expected


@every_metric
def test_config_makes_the_same_metric_again(pixels, name):
    metric = METRICS[name][0](3, threshold=(0.3, 0.4, 0.5), average="none", class_names=("a", "b", "c"), name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert result_of(again, *pixels) == result_of(metric, *pixels)
    assert list(result_of(again, *pixels)) == ["mine_a", "mine_b", "mine_c"]


@every_metric
def test_a_metric_is_called_by_its_own_name_however_many_there_are(name):
    assert [METRICS[name][0](1).name for _ in range(2)] == [name, name]


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "classes: must be at least 1.*received 0"),
        ({"threshold": 1.5}, r"threshold: must be in \[0, 1\].*received 1.5"),
        ({"threshold": [0.5]}, r"threshold: .* 2 in all, one per class, received \[0.5\]"),
        ({"average": "samples"}, "average: must be one of none, micro, macro, weighted, received 'samples'"),
        ({"class_names": ["a"]}, r"class_names: must be 2 different names, or None, received \['a'\]"),
        ({"class_names": ["a", "a"]}, "class_names: must be 2 different names"),
    ],
    ids=["no-class", "threshold", "thresholds", "average", "few-names", "same-names"],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        metrics.Recall(**{"classes": 2, **options})


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        ((1, 4, 4), (1, 4, 4, 2), r"y_true: must be of shape \(N, H, W, K\) like y_pred, \(1, 4, 4, 2\)"),
        ((1, 4, 4, 1), (1, 4, 4, 2), "y_true: must be of shape"),
        ((1, 4, 4, 3), (1, 4, 4, 3), r"y_pred: must be of 2 classes, received \(1, 4, 4, 3\)"),
    ],
    ids=["no-class-axis", "one-mask", "other-classes"],
)
def test_arrays_of_other_shapes_are_refused(true, pred, message):
    with pytest.raises(UsageError, match=message):
        metrics.Recall(2).update_state(np.zeros(true, "int8"), np.zeros(pred, "float32"))


def test_sample_weights_are_refused_with_the_way_out():
    with pytest.raises(UsageError, match="sample_weight: must be None; make y_true negative where pixels do not"):
        metrics.IoU(1).update_state(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)), sample_weight=np.ones(1))


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(metrics).failed == 0
