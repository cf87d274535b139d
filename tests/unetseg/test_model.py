"""The U-Net: its shape, its start, what it saves."""

import doctest
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from unetseg import model as unet_module
from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.field_of_view import receptive_field
from unetseg.model import build_unet


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def small(**changes):
    return ModelConfig(**{"depth": 2, "width": 4, **changes})


def run(model, *inputs):
    outputs = model(list(inputs) if isinstance(model.input, list) else inputs[0], training=False)
    return keras.tree.map_structure(lambda x: np.asarray(keras.ops.convert_to_numpy(x)), outputs)


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def names(model):
    return {layer.name for layer in model.layers}


# --------------------------------------------------------------------------- shape


@pytest.mark.parametrize(
    ("depth", "upsampling", "head", "guides"),
    [(1, "nearest", "sigmoid", 2), (2, "bilinear", "softmax", 0), (3, "transposed", "softmax", 1)],
)
def test_output_has_the_size_of_the_input_and_one_channel_per_class(depth, upsampling, head, guides):
    config = small(depth=depth, upsampling=upsampling, head=head)
    model = build_unet(config, input_shape=(None, None, 3), classes=2, guides=guides)
    inputs = [noise(2, 16, 24, 3)] + ([noise(2, 16, 24, guides)] if guides else [])
    probs = run(model, *inputs)
    assert probs.shape == (2, 16, 24, 2)
    assert probs.dtype == np.float32
    assert 0 < probs.min() < probs.max() < 1
    assert model.output_names == ["probabilities"]


def test_parameters_are_those_counted_by_hand():
    model = build_unet(small(depth=1, width=2, normalisation="none"))
    encoder = (9 * 1 + 1) * 2 + (9 * 2 + 1) * 2
    bottleneck = (9 * 2 + 1) * 4 + (9 * 4 + 1) * 4
    halved = (4 + 1) * 2
    decoder = (9 * (2 + 2) + 1) * 2 + (9 * 2 + 1) * 2  # upsampled features and the skipped ones
    head = 2 + 1
    assert model.count_params() == encoder + bottleneck + halved + decoder + head


def weights_of_a_plain_block(stage, channels, filters):
    """As they have been since the first bundles: convolution and batch normalisation, twice."""
    norm = [(filters,)] * 4
    return [
        (f"{stage}_conv_1", [(3, 3, channels, filters)]),
        (f"{stage}_norm_1", norm),
        (f"{stage}_conv_2", [(3, 3, filters, filters)]),
        (f"{stage}_norm_2", norm),
    ]


def test_the_plain_network_has_the_weights_it_always_had():
    """Names, shapes and order: weights that were saved before must still fit."""
    model = build_unet(small(), classes=2)
    expected = [
        *weights_of_a_plain_block("encoder_1", 1, 4),
        *weights_of_a_plain_block("encoder_2", 4, 8),
        *weights_of_a_plain_block("bottleneck", 8, 16),
        ("decoder_2_up_halve", [(1, 1, 16, 8), (8,)]),
        *weights_of_a_plain_block("decoder_2", 16, 8),
        ("decoder_1_up_halve", [(1, 1, 8, 4), (4,)]),
        *weights_of_a_plain_block("decoder_1", 8, 4),
        ("head", [(1, 1, 4, 2), (2,)]),
    ]
    assert [(layer.name, [w.shape for w in layer.weights]) for layer in model.layers if layer.weights] == expected


@pytest.mark.parametrize(
    ("max_width", "filters"), [(512, [4, 8, 16, 32, 16, 8, 4]), (10, [4, 8, 10, 10, 10, 8, 4])], ids=["free", "capped"]
)
def test_width_doubles_at_each_halving_up_to_the_widest(max_width, filters):
    model = build_unet(small(depth=3, width=4, max_width=max_width))
    stages = ("encoder_1", "encoder_2", "encoder_3", "bottleneck", "decoder_3", "decoder_2", "decoder_1")
    assert [model.get_layer(f"{stage}_conv_2").filters for stage in stages] == filters


def test_depth_and_width_that_are_left_open_are_planned():
    model = build_unet(ModelConfig(), input_shape=(64, 100, 1))
    assert names(model) & {"encoder_2_pool", "encoder_3_pool"} == {"encoder_2_pool"}
    assert model.get_layer("encoder_1_conv_1").filters == 16


def test_the_decoder_doubles_in_its_own_way_at_each_level():
    model = build_unet(small(depth=3, upsampling=("transposed", "bilinear", "nearest")))
    ups = [type(model.get_layer(f"decoder_{level}_up")) for level in (1, 2, 3)]
    assert ups == [layers.Conv2DTranspose, layers.Average, layers.UpSampling2D]


def test_dropout_sits_after_the_convolutions_of_its_level():
    model = build_unet(small(dropout=(0.0, 0.2, 0.3)))
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)}
    assert rates == {"encoder_2_dropout": 0.2, "bottleneck_dropout": 0.3}
    assert model.get_layer("encoder_2_dropout").input is model.get_layer("encoder_2_relu_2").output
    assert model.get_layer("encoder_2_pool").input is model.get_layer("encoder_2_dropout").output


def test_every_level_skips_its_features_across():
    model = build_unet(small(depth=3))
    for level in (1, 2, 3):
        joined = [x.name for x in model.get_layer(f"decoder_{level}_skip").input]
        assert model.get_layer(f"encoder_{level}_relu_2").output.name in joined


@pytest.mark.parametrize(
    ("change", "present", "absent"),
    [
        ({"depth": 3}, "encoder_3_pool", "encoder_4_pool"),
        ({"normalisation": "batch"}, "encoder_1_norm_1", None),
        ({"normalisation": "none"}, "encoder_1_conv_1", "encoder_1_norm_1"),
        ({"dropout": 0.25}, "bottleneck_dropout", None),
        ({"dropout": 0.0}, "bottleneck_conv_2", "bottleneck_dropout"),
        ({"head": "softmax"}, "softmax", None),
        ({"head": "sigmoid"}, "probabilities", "softmax"),
        ({"block": "residual"}, "encoder_2_sum", "encoder_3_sum"),
        ({"block": "plain"}, "encoder_2_conv_1", "encoder_2_sum"),
        ({"normalisation": "group"}, "encoder_1_norm_1", None),
        ({"activation": "silu"}, "decoder_1_silu_2", "decoder_1_relu_2"),
        ({"attention": True}, "decoder_2_attention", None),
        ({"attention": False}, "decoder_2_skip", "decoder_2_attention"),
        ({"fusion": 1}, "decoder_2_from_encoder_1", "decoder_2_from_encoder_2"),
        ({"fusion": 0}, "decoder_2_skip", "decoder_2_from_encoder_1"),
        ({"outputs": 2}, "head_2", "head_4"),
    ],
)
def test_settings_decide_which_layers_there_are(change, present, absent):
    found = names(build_unet(small(**change)))
    assert present in found
    assert absent not in found


def test_settings_reach_their_layers():
    assert build_unet(small(width=6)).get_layer("encoder_1_conv_1").filters == 6
    assert build_unet(small(dropout=0.25)).get_layer("bottleneck_dropout").rate == 0.25
    assert type(build_unet(small(upsampling="transposed")).get_layer("decoder_1_up")) is layers.Conv2DTranspose


@pytest.mark.parametrize("depth", [1, 2])
def test_guides_join_after_the_first_pooling_through_their_own_convolutions(depth):
    model = build_unet(small(depth=depth), input_shape=(None, None, 3), guides=2)
    assert model.get_layer("encoder_1_conv_1").kernel.shape[2] == 3  # not stacked onto the image
    joined = [x.name for x in model.get_layer("guide_merge").input]
    assert joined == [model.get_layer(name).output.name for name in ("encoder_1_pool", "guide_1_pool", "guide_2_pool")]


@pytest.mark.parametrize("g", [0, 1])
def test_every_guide_changes_the_result(g):
    model = build_unet(small(), guides=2)
    image, guides = noise(1, 16, 16, 1), np.ones((1, 16, 16, 2), "float32")
    without = guides.copy()
    without[..., g] = 0
    assert not np.allclose(run(model, image, guides), run(model, image, without))


def test_arrays_are_passed_in_order_or_by_name():
    model = build_unet(small(), guides=1)
    image, guides = noise(1, 16, 16, 1), noise(1, 16, 16, 1)
    by_name = model({"guides": guides, "image": image}, training=False)
    np.testing.assert_array_equal(np.asarray(keras.ops.convert_to_numpy(by_name)), run(model, image, guides))


# --------------------------------------------------------------------------- start


@pytest.mark.parametrize(("head", "prior"), [("sigmoid", [0.01, 0.7, 0.6]), ("softmax", [0.01, 0.2, 0.6])])
def test_the_untrained_network_predicts_the_prior(head, prior):
    model = build_unet(small(head=head), classes=3, class_prior=prior)
    probs = run(model, np.zeros((1, 16, 16, 1), "float32"))  # features of nothing are 0: only the bias speaks
    np.testing.assert_allclose(probs, np.broadcast_to(prior, probs.shape), atol=1e-6)


def test_the_prior_of_an_absent_class_stays_finite():
    model = build_unet(small(), classes=2, class_prior=[0.0, 1.0])
    probs = run(model, np.zeros((1, 16, 16, 1), "float32"))
    np.testing.assert_allclose(probs[0, 0, 0], [1e-4, 1 - 1e-4], atol=1e-6)


def test_exclusive_classes_may_fill_the_image_up_to_rounding():
    model = build_unet(small(head="softmax"), classes=3, class_prior=[0.999, 0.001, 0.001])
    probs = run(model, np.zeros((1, 16, 16, 1), "float32"))
    np.testing.assert_allclose(probs[0, 0, 0], [0.999, 0.001, 0.001], rtol=0.01)


def test_softmax_leaves_the_background_out():
    model = build_unet(small(head="softmax"), classes=2)
    logits = keras.Model(model.inputs, model.get_layer("head").output)
    image = noise(1, 16, 16, 1)
    exp = np.exp(run(logits, image).astype("float64"))
    assert exp.shape[-1] == 3
    np.testing.assert_allclose(run(model, image), exp[..., 1:] / exp.sum(axis=-1, keepdims=True), atol=1e-6)


EVERYTHING = {
    "block": "residual",
    "normalisation": "group",
    "activation": "gelu",
    "upsampling": ("transposed", "bilinear"),
    "dropout": (0.0, 0.1, 0.2),
    "attention": True,
    "fusion": 1,
    "head": "softmax",
}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("changes", [{}, {"normalisation": "instance"}, EVERYTHING], ids=["plain", "instance", "all"])
def test_probabilities_are_float32_under_mixed_precision(policy, changes):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_unet(small(**changes))
        assert model.get_layer("encoder_1_conv_1").compute_dtype == policy.removeprefix("mixed_")
        assert run(model, noise(1, 16, 16, 1)).dtype == np.float32
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    "changes",
    [
        {"normalisation": "batch"},
        {"normalisation": "none"},
        {"normalisation": "group"},
        {"block": "residual"},
        {"block": "residual", "normalisation": "none"},
        {"activation": "gelu"},
        {"attention": True, "fusion": 2},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_the_signal_keeps_its_strength_at_the_start(changes):
    model = build_unet(small(depth=4, width=8, **changes))
    logits = keras.Model(model.inputs, model.get_layer("head").output)
    assert 0.1 < run(logits, noise(1, 64, 64, 1)).std() < 10  # He-normal: neither fades nor explodes over 19 layers


def test_stored_statistics_are_those_of_the_data_after_forty_steps():
    model, image = build_unet(small()), noise(4, 32, 32, 1)
    for _ in range(40):
        model([image], training=True)
    first = keras.Model(model.inputs, model.get_layer("encoder_1_conv_1").output)
    variance = run(first, image).var(axis=(0, 1, 2))
    stored = keras.ops.convert_to_numpy(model.get_layer("encoder_1_norm_1").moving_variance)
    np.testing.assert_allclose(stored, variance, rtol=0.05)


# --------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("shape", [(9, 14), (1, None)], ids=str)
def test_a_size_that_the_poolings_do_not_divide_is_padded_with_zeros_and_cut(shape):
    """The same weights on an image that was padded by hand."""
    config = small(depth=3, outputs=3, head="softmax")
    model = build_unet(config, input_shape=(*shape, 1), guides=2)
    free = build_unet(config, guides=2)
    free.set_weights(model.get_weights())
    height, width = (side or 24 for side in shape)
    image, guides = noise(2, height, width, 1), noise(2, height, width, 2)
    padding = ((0, 0), (0, -height % 8), (0, -width % 8), (0, 0))
    expected = run(free, np.pad(image, padding), np.pad(guides, padding))
    found = run(model, image, guides)
    for name, scale in (("probabilities", 1), ("probabilities_2", 2), ("probabilities_4", 4)):
        rows, columns = math.ceil(height / scale), math.ceil(width / scale)
        assert found[name].shape == (2, rows, columns, 1)
        np.testing.assert_allclose(found[name], expected[name][:, :rows, :columns], atol=1e-6)


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear", "transposed"])
def test_a_compiled_network_takes_one_size_after_another(upsampling):
    """From the second size on, heights and widths are symbols in the traced graph."""
    model = build_unet(small(depth=1, upsampling=upsampling))
    for shape in ((1, 8, 8, 1), (1, 12, 10, 1), (1, 6, 14, 1)):
        found, image = model.predict_on_batch([noise(*shape)]), noise(*shape)
        np.testing.assert_allclose(found, run(model, image), atol=1e-6)


def test_a_size_that_fits_is_neither_padded_nor_cut():
    kinds = {type(layer) for layer in build_unet(small(outputs=2), input_shape=(16, 24, 1)).layers}
    assert not kinds & {layers.ZeroPadding2D, layers.Cropping2D}


# --------------------------------------------------------------------------- saving

LOADED_BY_STRANGERS = """
import sys
import keras, numpy as np
model = keras.saving.load_model("unet.keras", safe_mode=True)
assert not any(name.startswith("unetseg") for name in sys.modules)
inputs = np.load("inputs.npz")
found = model([inputs["image"], inputs["guides"]], training=False)
np.savez("probs.npz", **{name: keras.ops.convert_to_numpy(x) for name, x in found.items()})
"""


def test_a_saved_model_needs_nothing_of_unetseg(tmp_path):
    """Safe mode, no custom objects, another process; all that is least plain."""
    model = build_unet(small(outputs=2, **EVERYTHING), input_shape=(None, 14, 1), classes=2, guides=2)
    image, guides = noise(1, 16, 14, 1), noise(1, 16, 14, 2)
    model.save(tmp_path / "unet.keras")
    np.savez(tmp_path / "inputs.npz", image=image, guides=guides)
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_STRANGERS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "probs.npz")
    for name, expected in run(model, image, guides).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"normalisation": "none", "activation": "leaky_relu", "head": "softmax"},
        {"normalisation": "group", "activation": "elu", "block": "residual"},
        {"normalisation": "instance", "activation": "gelu", "dropout": (0.1, 0.2, 0.3)},
        {"activation": "silu", "upsampling": ("bilinear", "transposed"), "attention": True},
        {"fusion": 1, "fusion_upsampling": "transposed", "outputs": 2},
    ],
    ids=lambda changes: "-".join(changes) or "default",
)
def test_a_loaded_model_computes_and_looks_as_far_as_before(tmp_path, changes):
    model = build_unet(small(**changes), guides=2)
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    inputs = noise(1, 16, 16, 1), noise(1, 16, 16, 2)
    keras.tree.map_structure(np.testing.assert_array_equal, run(loaded, *inputs), run(model, *inputs))
    assert receptive_field(loaded) == receptive_field(model)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (128, 128)}, r"input_shape: .*received \(128, 128\); .*\(128, 128, 1\)"),
        ({"input_shape": (128,)}, r"input_shape: must be \(height, width, channels\), received \(128,\)"),
        ({"config": ModelConfig(depth=1, outputs=2)}, r"model.outputs: must be at most the depth .*received 2"),
        ({"input_shape": (0, 128, 1)}, r"height: must be an integer of at least 1, received 0"),
        ({"input_shape": (64, 64, None)}, r"channels must be given, received \(64, 64, None\)"),
        ({"input_shape": (64, 64, 0)}, r"channels: must be an integer of at least 1, received 0"),
        ({"classes": 0}, r"classes: must be an integer of at least 1, received 0"),
        ({"classes": 1.0}, r"classes: must be an integer of at least 1, received 1.0"),
        ({"guides": -1}, r"guides: must be an integer of at least 0, received -1"),
        ({"class_prior": [0.1, 0.2]}, r"class_prior: must be 1 shares in \[0, 1\].*received \[0.1, 0.2\]"),
        ({"class_prior": [1.5]}, r"class_prior: must be 1 shares in \[0, 1\].*received \[1.5\]"),
        ({"class_prior": [float("nan")]}, r"class_prior: must be 1 shares in \[0, 1\].*received \[nan\]"),
    ],
)
def test_bad_arguments_are_named_with_rule_value_and_way_out(arguments, message):
    with pytest.raises(UsageError, match=message):
        build_unet(**arguments)


def test_exclusive_classes_cannot_fill_more_than_the_image():
    with pytest.raises(UsageError, match=r"class_prior: exclusive classes .*received \[0.6, 0.6\]"):
        build_unet(small(head="softmax"), classes=2, class_prior=[0.6, 0.6])


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(unet_module).failed == 0
