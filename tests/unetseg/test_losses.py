"""Losses: values against slow loops, what does not count, and training with them."""

import doctest
import inspect
import math

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

from unetseg import losses
from unetseg.errors import UsageError

FUNCTIONS = {
    "weighted_binary_crossentropy": losses.weighted_binary_crossentropy,
    "focal": losses.focal,
    "dice": losses.dice_loss,
    "tversky": losses.tversky,
    "focal_tversky": losses.focal_tversky,
}
CLASSES = {
    "weighted_binary_crossentropy": losses.WeightedBinaryCrossentropy,
    "focal": losses.Focal,
    "dice": losses.Dice,
    "tversky": losses.Tversky,
    "focal_tversky": losses.FocalTversky,
}
OVERLAPS = ("dice", "tversky", "focal_tversky")
every_loss = pytest.mark.parametrize("name", FUNCTIONS)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def batch():
    """Two samples of 5 x 6 pixels and 3 classes, about a fifth of the entries ignored."""
    rng = np.random.default_rng(1)
    y_true = rng.choice([-1, 0, 1], p=[0.2, 0.5, 0.3], size=(2, 5, 6, 3)).astype("int8")
    return y_true, rng.uniform(0.01, 0.99, size=y_true.shape).astype("float32")


def numpy(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


def value(function, y_true, y_pred, **options):
    return float(numpy(function(y_true, y_pred, **options)).mean())


class Free(keras.layers.Layer):
    """Gives back ``start`` plus weights that begin at 0, whatever goes in: the prediction itself can be trained."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def build(self, input_shape):
        self.moved = self.add_weight(shape=self.start.shape, initializer="zeros")

    def call(self, x):
        return self.moved + self.start


def gradient(loss, y_true, y_pred):
    """d loss / d y_pred on any backend: what one step of SGD takes off weights that are the prediction."""
    model = keras.Sequential([keras.Input((1,)), Free(y_pred)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss, run_eagerly=True)
    model.train_on_batch(np.ones((1, 1), "float32"), y_true)
    return -numpy(model.layers[0].moved)


def test_what_every_loss_must_hold_is_asked_of_all_that_there_are():
    assert set(FUNCTIONS) == set(CLASSES) == set(ORACLES) == set(losses._TERMS)
    assert {name: loss().name for name, loss in CLASSES.items()} == {name: name for name in CLASSES}


# --------------------------------------------------------------------------- oracles


def loop_mean(y_true, y_pred, term):
    """Mean of ``term(y, p, class)`` over the entries that count, one by one."""
    terms = [
        term(int(y_true[index]), float(y_pred[index]), index[3])
        for index in np.ndindex(*y_true.shape)
        if y_true[index] >= 0
    ]
    return sum(terms) / len(terms)


def loop_tversky(y_true, y_pred, alpha, beta, smooth):
    """One minus the Tversky index of each class, entry by entry."""
    result = []
    for k in range(y_true.shape[3]):
        tp = fp = fn = 0.0
        for index in np.ndindex(*y_true.shape[:3]):
            y, p = int(y_true[index][k]), float(y_pred[index][k])
            if y >= 0:
                tp, fp, fn = tp + y * p, fp + (1 - y) * p, fn + y * (1 - p)
        result.append(1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth))
    return np.array(result)


def test_weighted_binary_crossentropy_equals_the_loop(batch):
    weights = [1.0, 3.0, 0.5]

    def term(y, p, k):
        return -(weights[k] * y * math.log(p) + (1 - y) * math.log(1 - p))

    got = value(losses.weighted_binary_crossentropy, *batch, class_weights=weights)
    assert got == pytest.approx(loop_mean(*batch, term), abs=1e-6)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_equals_the_loop(batch, alpha):
    def term(y, p, k):
        p_t = p if y else 1 - p
        a = 1 if alpha is None else alpha if y else 1 - alpha
        return -a * (1 - p_t) ** 1.5 * math.log(p_t)

    got = value(losses.focal, *batch, gamma=1.5, alpha=alpha)
    assert got == pytest.approx(loop_mean(*batch, term), abs=1e-6)


def test_dice_equals_the_loop(batch):
    y_true, y_pred = batch
    y, p = np.where(y_true > 0, 1.0, 0.0), np.where(y_true < 0, 0.0, y_pred.astype("float64"))
    per_class = [1 - (2 * (y * p)[..., k].sum() + 2.0) / (y[..., k].sum() + p[..., k].sum() + 2.0) for k in range(3)]
    assert value(losses.dice_loss, *batch, smooth=2.0) == pytest.approx(np.mean(per_class), abs=1e-6)


def test_dice_of_a_hand_example():
    y_true = np.array([1, 1, 0, 0]).reshape(1, 2, 2, 1)
    y_pred = np.array([1.0, 0.5, 0.5, 0.0]).reshape(1, 2, 2, 1)
    # 1 - (2 * 1.5 + 1) / (2 + 2 + 1)
    assert value(losses.dice_loss, y_true, y_pred) == pytest.approx(0.2)


def test_tversky_equals_the_loop(batch):
    expected = loop_tversky(*batch, 0.2, 0.9, 0.5).mean()
    assert value(losses.tversky, *batch, alpha=0.2, beta=0.9, smooth=0.5) == pytest.approx(expected, abs=1e-6)


def test_focal_tversky_equals_the_loop(batch):
    expected = (loop_tversky(*batch, 0.2, 0.9, 0.5) ** (1 / 2)).mean()
    got = value(losses.focal_tversky, *batch, alpha=0.2, beta=0.9, smooth=0.5, gamma=2.0)
    assert got == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap_per_sample_is_that_of_each_sample_alone(batch, name):
    y_true, y_pred = batch
    got = numpy(FUNCTIONS[name](y_true, y_pred, per_batch=False))
    alone = [value(FUNCTIONS[name], y_true[i : i + 1], y_pred[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(got, alone, atol=1e-6)


def test_unweighted_crossentropy_equals_scikit_learn(batch):
    y_true, y_pred = batch
    counts = y_true >= 0
    expected = log_loss(y_true[counts], y_pred[counts].astype("float64"))
    assert value(losses.weighted_binary_crossentropy, *batch) == pytest.approx(expected, abs=1e-6)


def test_focal_equals_keras_where_nothing_is_ignored(batch):
    y_true, y_pred = np.abs(batch[0]), batch[1]
    keras_focal = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=2.0)
    expected = float(numpy(keras_focal(y_true, y_pred)))
    assert value(losses.focal, y_true, y_pred, gamma=2.0, alpha=0.3) == pytest.approx(expected, abs=1e-6)


def float64_mean(term):
    """Oracle: mean of ``term(y, p)`` over what counts, in float64."""

    def oracle(y_true, y_pred):
        counts = y_true >= 0
        return term(y_true[counts].astype("float64"), y_pred[counts].astype("float64")).mean()

    return oracle


def float64_tversky(alpha, beta, power):
    """Oracle: mean over the classes of which something counts, in float64."""

    def oracle(y_true, y_pred):
        measurable = [k for k in range(y_true.shape[3]) if (y_true[..., k] >= 0).any()]
        distances = loop_tversky(y_true[..., measurable], y_pred[..., measurable], alpha, beta, 1.0)
        return (distances**power).mean()

    return oracle


ORACLES = {
    "weighted_binary_crossentropy": float64_mean(lambda y, p: -(y * np.log(p) + (1 - y) * np.log1p(-p))),
    "focal": float64_mean(lambda y, p: -(y * (1 - p) ** 2 * np.log(p) + (1 - y) * p**2 * np.log1p(-p))),
    # smooth is 1 pixel in numerator and denominator of Dice, half of that in the Tversky index of half weights
    "dice": lambda y_true, y_pred: np.mean(
        [
            1 - (2 * (y * p).sum() + 1) / (y.sum() + p.sum() + 1)
            for k in range(y_true.shape[3])
            if (counts := y_true[..., k] >= 0).any()
            for y, p in [(y_true[..., k][counts], y_pred[..., k][counts].astype("float64"))]
        ]
    ),
    "tversky": float64_tversky(0.3, 0.7, 1),
    "focal_tversky": float64_tversky(0.3, 0.7, 3 / 4),
}
MASKS = {
    "every-class": lambda y_true: y_true,
    "absent-class": lambda y_true: np.where([False, False, True], np.minimum(y_true, 0), y_true),
    "all-background": lambda y_true: np.minimum(y_true, 0),
    "all-foreground": lambda y_true: np.abs(y_true) * 0 + 1,
    "ignored-class": lambda y_true: np.where([False, True, False], -1, y_true),
    "nothing-ignored": lambda y_true: np.abs(y_true),
}


@every_loss
@pytest.mark.parametrize("masks", MASKS)
def test_defaults_equal_float64_whatever_the_masks_hold(batch, name, masks):
    y_true, y_pred = MASKS[masks](batch[0]), batch[1]
    assert value(FUNCTIONS[name], y_true, y_pred) == pytest.approx(ORACLES[name](y_true, y_pred), abs=1e-6)
    assert value(CLASSES[name](), y_true, y_pred) == pytest.approx(ORACLES[name](y_true, y_pred), abs=1e-6)


# --------------------------------------------------------------------------- what does not count


@every_loss
@pytest.mark.parametrize("other", [0.0, 1.0, np.nan])
def test_predictions_on_ignored_entries_change_nothing(batch, name, other):
    y_true, y_pred = batch
    changed = np.where(y_true < 0, np.float32(other), y_pred)
    assert value(FUNCTIONS[name], y_true, changed) == value(FUNCTIONS[name], y_true, y_pred)


@every_loss
def test_only_entries_that_count_get_a_gradient(batch, name):
    y_true, y_pred = batch[0][:1], batch[1][:1]
    got = gradient(CLASSES[name](), y_true, y_pred)
    assert np.all(got[y_true < 0] == 0)
    assert np.all(got[y_true == 1] < 0)
    assert np.all(got[y_true == 0] > 0)


@every_loss
def test_a_batch_that_is_ignored_altogether_costs_nothing(name):
    y_true, y_pred = np.full((1, 4, 4, 2), -1), np.full((1, 4, 4, 2), 0.7, "float32")
    assert value(FUNCTIONS[name], y_true, y_pred) == 0
    assert np.all(gradient(CLASSES[name](), y_true, y_pred) == 0)


@pytest.mark.parametrize("name", OVERLAPS)
def test_a_class_that_is_ignored_altogether_is_left_out_of_the_mean(batch, name):
    y_true, y_pred = batch
    y_true[..., 2] = -1
    expected = value(FUNCTIONS[name], y_true[..., :2], y_pred[..., :2])
    assert value(FUNCTIONS[name], y_true, y_pred) == pytest.approx(expected, abs=1e-6)


@every_loss
def test_background_only_is_finite_and_rewards_low_predictions(name):
    y_true = np.zeros((2, 8, 8, 1))
    low, high = (np.full(y_true.shape, p, "float32") for p in (0.1, 0.6))
    assert 0 <= value(FUNCTIONS[name], y_true, low) < value(FUNCTIONS[name], y_true, high) < math.inf
    slope = gradient(CLASSES[name](), y_true, high)
    assert np.all(np.isfinite(slope))
    assert np.all(slope > 0)


@pytest.mark.parametrize("name", OVERLAPS)
def test_an_absent_class_that_is_not_predicted_adds_nothing(batch, name):
    y_true, y_pred = np.abs(batch[0]), batch[1].copy()
    y_true[..., 2], y_pred[..., 2] = 0, 0
    expected = value(FUNCTIONS[name], y_true[..., :2], y_pred[..., :2]) * 2 / 3
    assert value(FUNCTIONS[name], y_true, y_pred) == pytest.approx(expected, abs=1e-5)


# --------------------------------------------------------------------------- numbers


@every_loss
@pytest.mark.parametrize("truth", [0, 1])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certain_predictions_give_finite_values_and_gradients(name, truth, probability):
    y_true, y_pred = np.full((1, 4, 4, 1), truth), np.full((1, 4, 4, 1), probability, "float32")
    assert math.isfinite(value(FUNCTIONS[name], y_true, y_pred))
    assert np.all(np.isfinite(gradient(CLASSES[name](), y_true, y_pred)))


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_do_not_overflow(name, dtype):
    y_true = np.zeros((1, 512, 512, 2), "int8")
    y_true[:, :500] = 1  # 256,000 pixels: float16 ends at 65,504, bfloat16 counts in steps of 2,048 there
    y_pred = np.where(y_true > 0, 0.75, 0.25)
    exact = value(FUNCTIONS[name], y_true, y_pred.astype("float32"))
    half = keras.ops.cast(y_pred, dtype)
    assert 0 < exact < 1
    assert value(FUNCTIONS[name], y_true, half) == pytest.approx(exact, abs=1e-6)
    assert value(CLASSES[name](), y_true, half) == pytest.approx(exact, abs=1e-6)


@every_loss
def test_sums_are_float32_whatever_the_float_of_keras(name, batch):
    expected = value(CLASSES[name](), *batch)
    keras.config.set_floatx("float16")
    try:
        assert value(CLASSES[name](), *batch) == pytest.approx(expected, abs=1e-6)
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("name", ["weighted_binary_crossentropy", "focal"])
def test_sample_weights_are_honoured(batch, name):
    y_true, y_pred = np.abs(batch[0]), batch[1]
    got = float(numpy(CLASSES[name]()(y_true, y_pred, sample_weight=np.array([2.0, 0.0]))))
    assert got == pytest.approx(value(FUNCTIONS[name], y_true[:1], y_pred[:1]), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "option", "other"),
    [
        ("weighted_binary_crossentropy", "class_weights", [1.0, 2.0, 3.0]),
        ("focal", "gamma", 1.0),
        ("focal", "alpha", 0.4),
        ("dice", "smooth", 5.0),
        ("dice", "per_batch", False),
        ("tversky", "alpha", 0.5),
        ("tversky", "beta", 0.5),
        ("tversky", "smooth", 5.0),
        ("tversky", "per_batch", False),
        ("focal_tversky", "alpha", 0.5),
        ("focal_tversky", "beta", 0.5),
        ("focal_tversky", "gamma", 2.0),
        ("focal_tversky", "smooth", 5.0),
        ("focal_tversky", "per_batch", False),
    ],
)
def test_every_option_reaches_the_number(batch, name, option, other):
    by_function = value(FUNCTIONS[name], *batch, **{option: other})
    assert by_function != pytest.approx(value(FUNCTIONS[name], *batch), abs=1e-5)
    assert value(CLASSES[name](**{option: other}), *batch) == pytest.approx(by_function, abs=1e-6)


@every_loss
def test_class_and_function_have_the_same_defaults(name):
    of_function = inspect.signature(FUNCTIONS[name]).parameters
    of_class = inspect.signature(CLASSES[name]).parameters
    options = set(of_function) - {"y_true", "y_pred"}
    assert options == set(of_class) - {"reduction", "name"}
    assert {o: of_function[o].default for o in options} == {o: of_class[o].default for o in options}


# --------------------------------------------------------------------------- CompositeLoss


def test_composite_is_the_weighted_sum(batch):
    loss = losses.CompositeLoss(
        {"weighted_binary_crossentropy": 2.0, "dice": 0.5, "focal": 3.0},
        class_weights=[1.0, 2.0, 3.0],
        options={"focal": {"gamma": 1.0}, "dice": {"smooth": 4.0}},
    )
    expected = (
        2.0 * value(losses.weighted_binary_crossentropy, *batch, class_weights=[1.0, 2.0, 3.0])
        + 0.5 * value(losses.dice_loss, *batch, smooth=4.0)
        + 3.0 * value(losses.focal, *batch, gamma=1.0)
    )
    assert value(loss, *batch) == pytest.approx(expected, abs=1e-5)


@every_loss
def test_composite_knows_every_loss_by_name(batch, name):
    assert value(losses.CompositeLoss({name: 2.0}), *batch) == pytest.approx(2 * value(FUNCTIONS[name], *batch))


def test_composite_leaves_out_what_weighs_nothing(batch):
    loss = losses.CompositeLoss({"weighted_binary_crossentropy": 0.0, "dice": 1.0}, class_weights=[1.0, 1.0, 1.0])
    assert value(loss, *batch) == pytest.approx(value(losses.dice_loss, *batch))


@every_loss
@pytest.mark.parametrize("masks", MASKS)
def test_weights_of_classes_weigh_the_loss_of_each_class_alone(batch, name, masks):
    y_true, y_pred = MASKS[masks](batch[0]), batch[1]
    classes = [k for k in range(3) if (y_true[..., k] >= 0).any()]
    alone = {k: ORACLES[name](y_true[..., k : k + 1], y_pred[..., k : k + 1]) for k in classes}
    weights = [0.5, 3.0, 2.0]
    expected = np.mean([weights[k] * alone[k] for k in classes])
    assert value(losses.CompositeLoss({name: weights}), y_true, y_pred) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", OVERLAPS)
def test_weights_of_classes_per_sample_are_those_of_each_sample_alone(batch, name):
    y_true, y_pred = batch
    y_true[0, ..., 1] = -1  # the second class cannot be measured in the first sample
    loss = losses.CompositeLoss({name: [1.0, 2.0, 3.0]}, options={name: {"per_batch": False}}, reduction=None)
    alone = [value(losses.CompositeLoss({name: [1.0, 2.0, 3.0]}), y_true[i : i + 1], y_pred[i : i + 1]) for i in (0, 1)]
    np.testing.assert_allclose(numpy(loss(y_true, y_pred)), alone, atol=1e-6)


@every_loss
def test_equal_weights_of_classes_are_one_weight(batch, name):
    y_true, y_pred = np.abs(batch[0]), batch[1]
    got = value(losses.CompositeLoss({name: np.full(3, 0.7)}), y_true, y_pred)
    assert got == pytest.approx(value(losses.CompositeLoss({name: 0.7}), y_true, y_pred), abs=1e-6)


@every_loss
def test_a_class_that_weighs_nothing_gets_no_gradient(batch, name):
    y_true, y_pred = batch[0][:1], batch[1][:1]
    slope = gradient(losses.CompositeLoss({name: [1.0, 0.0, 1.0]}), y_true, y_pred)
    assert np.all(slope[..., 1] == 0)
    assert np.all(slope[..., [0, 2]][y_true[..., [0, 2]] >= 0] != 0)


def test_weights_of_classes_come_on_top_of_those_of_the_foreground(batch):
    y_true, y_pred = batch
    loss = losses.CompositeLoss({"weighted_binary_crossentropy": [1.0, 0.0, 2.0]}, class_weights=[4.0, 1.0, 5.0])
    parts = [(0, 1.0, 4.0), (2, 2.0, 5.0)]
    expected = sum(
        weight
        * value(
            losses.weighted_binary_crossentropy,
            y_true[..., k : k + 1],
            y_pred[..., k : k + 1],
            class_weights=[foreground],
        )
        for k, weight, foreground in parts
    )
    assert value(loss, y_true, y_pred) == pytest.approx(expected / 3, abs=1e-6)


def test_weights_of_classes_on_a_batch_that_is_ignored_altogether_cost_nothing():
    y_true, y_pred = np.full((1, 4, 4, 2), -1), np.full((1, 4, 4, 2), 0.7, "float32")
    loss = losses.CompositeLoss({name: [1.0, 2.0] for name in CLASSES})
    assert value(loss, y_true, y_pred) == 0
    assert np.all(gradient(loss, y_true, y_pred) == 0)


@pytest.mark.parametrize("given", [[1.0, 2.0], [1.0] * 4, [1.0]], ids=len)
def test_weights_of_classes_must_be_as_many_as_classes(batch, given):
    with pytest.raises(UsageError, match="weights: dice: must be one number, or 3 in all, one per class, received"):
        losses.CompositeLoss({"dice": given})(*batch)


def test_foreground_weights_must_be_as_many_as_classes_also_beside_weights_of_classes(batch):
    loss = losses.CompositeLoss({"weighted_binary_crossentropy": [1.0, 2.0, 3.0]}, class_weights=[1.0] * 4)
    with pytest.raises(UsageError, match="class_weights: must be finite numbers of at least 0, 3 in all"):
        loss(*batch)


# --------------------------------------------------------------------------- Keras

CONFIGURED = [
    losses.WeightedBinaryCrossentropy(class_weights=[1.0, 2.0, 3.0]),
    losses.Focal(gamma=1.0, alpha=0.3),
    losses.Dice(smooth=3.0, per_batch=False, name="mine"),
    losses.Tversky(alpha=0.6, beta=0.4, smooth=2.0, per_batch=False, reduction="sum"),
    losses.FocalTversky(alpha=0.6, beta=0.4, gamma=2.0, smooth=2.0, per_batch=False),
    losses.CompositeLoss(
        {"weighted_binary_crossentropy": 1.0, "focal": 0.5, "dice": (0.0, 1.0, 2.0)},
        class_weights=(1.0, 2.0, 3.0),
        options={"focal": {"gamma": 1.0}},
    ),
]


@pytest.mark.parametrize("loss", CONFIGURED, ids=lambda loss: type(loss).__name__)
def test_config_makes_the_same_loss_again(batch, loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert value(again, *batch) == value(loss, *batch)


def toy():
    """A network of one convolution, and 8 images whose bright pixels are the foreground."""
    image = np.random.default_rng(3).uniform(size=(8, 16, 16, 1)).astype("float32")
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    return model, image, (image > 0.8).astype("int8")


@pytest.mark.parametrize("name", [*CLASSES, "composite"])
def test_thirty_steps_of_training_lower_the_loss(name):
    together = name == "composite"
    loss = losses.CompositeLoss({**dict.fromkeys(CLASSES, 1.0), "dice": [2.0]}) if together else CLASSES[name]()
    model, image, mask = toy()
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=loss, jit_compile=False)
    steps = model.fit(image, mask, epochs=30, batch_size=8, verbose=0).history["loss"]
    assert all(map(math.isfinite, steps))
    assert steps[-1] < 0.9 * steps[0]


def test_a_compiled_model_is_loaded_with_its_loss(tmp_path):
    model, image, mask = toy()
    loss = losses.CompositeLoss({"dice": 1.0, "weighted_binary_crossentropy": 1.0}, class_weights=[3.0])
    model.compile(optimizer="sgd", loss=loss)
    model.save(tmp_path / "toy.keras")
    loaded = keras.saving.load_model(tmp_path / "toy.keras", safe_mode=True)
    assert loaded.loss.get_config() == loss.get_config()
    assert loaded.evaluate(image, mask, verbose=0) == pytest.approx(model.evaluate(image, mask, verbose=0))


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.CompositeLoss({"jaccard": 1.0}), r"weights: must be named among \['dice', .*received.*jaccard"),
        (lambda: losses.CompositeLoss({"dice": -1.0}), "weights: must be finite and at least 0.*-1.0"),
        (lambda: losses.CompositeLoss({"dice": math.nan}), "weights: must be finite"),
        (lambda: losses.CompositeLoss({"dice": 0.0}), "one of them above 0"),
        (lambda: losses.CompositeLoss({"dice": [0.0, 0.0]}), "one of them above 0"),
        (lambda: losses.CompositeLoss({"dice": [1.0, -1.0]}), "weights: must be finite and at least 0"),
        (lambda: losses.CompositeLoss({"dice": []}), "weights: must be finite .* a number or one per class"),
        (lambda: losses.CompositeLoss({}), "one of them above 0"),
        (lambda: losses.CompositeLoss({"dice": 1.0}, class_weights=[1.0]), "class_weights: must be None unless"),
        (lambda: losses.CompositeLoss({"dice": 1.0}, options={"focal": {}}), "options: must be for losses named in"),
        (lambda: losses.CompositeLoss({"dice": 1.0}, options={"dice": {"gamma": 1}}), "options: dice: .*'smooth'"),
        (lambda: losses.WeightedBinaryCrossentropy(class_weights=[1.0, -2.0]), "class_weights: .*at least 0"),
        (lambda: losses.Focal(gamma=-1.0), "gamma: .*received -1.0"),
        (lambda: losses.Focal(alpha=1.5), "alpha: .*received 1.5"),
        (lambda: losses.Dice(smooth=0.0), "smooth: .*above 0.*received 0.0"),
        (lambda: losses.Tversky(alpha=-0.1), "alpha: .*received -0.1"),
        (lambda: losses.Tversky(beta=math.inf), "beta: .*received inf"),
        (lambda: losses.FocalTversky(gamma=0.0), "gamma: .*above 0"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@every_loss
@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 5, 6, 1), (2, 5, 1, 3)])
def test_masks_of_another_shape_are_not_broadcast(batch, name, shape):
    with pytest.raises(UsageError, match=r"y_true: must be of shape \(N, H, W, K\) like y_pred"):
        FUNCTIONS[name](np.zeros(shape), batch[1])


def test_class_weights_must_be_one_per_class(batch):
    with pytest.raises(UsageError, match=r"class_weights: must be .*3 in all, one per class, received"):
        losses.weighted_binary_crossentropy(*batch, class_weights=[2.0])


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(losses).failed == 0
