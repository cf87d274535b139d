"""The parts of the network, each against its formula in NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from unetseg.blocks import attention_gate, conv_block, double, filters_of, fused, guide_branches
from unetseg.config import ModelConfig
from unetseg.model import build_unet

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def small(**changes):
    return ModelConfig(**{"depth": 2, "width": 4, **changes})


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def built(part, *shapes):
    """A model of one part, and what it makes of noise."""
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, part(*inputs)), [noise(2, *shape) for shape in shapes]


def output_of(model, name, inputs):
    return array(keras.Model(model.inputs, model.get_layer(name).output)(inputs, training=False))


def pointwise(x, layer):
    """A 1x1 convolution, as a product of matrices."""
    y = x @ array(layer.kernel)[0, 0]
    return y + array(layer.bias) if layer.use_bias else y


# --------------------------------------------------------------------------- blocks


@pytest.mark.parametrize(("filters", "projected"), [(3, False), (5, True)], ids=["same", "more features"])
def test_a_residual_block_adds_its_input_before_the_last_activation(filters, projected):
    config = small(block="residual", normalisation="none")
    model, inputs = built(lambda x: conv_block(x, filters, "here", config), (8, 8, 3))
    shortcut = pointwise(inputs[0], model.get_layer("here_shortcut")) if projected else inputs[0]
    expected = np.maximum(output_of(model, "here_conv_2", inputs) + shortcut, 0)
    np.testing.assert_allclose(array(model(inputs)), expected, atol=1e-5)
    assert ("here_shortcut" in [layer.name for layer in model.layers]) == projected


def test_a_projected_shortcut_is_normalised_like_the_convolutions():
    model, _ = built(lambda x: conv_block(x, 5, "here", small(block="residual")), (8, 8, 3))
    assert isinstance(model.get_layer("here_shortcut_norm"), layers.BatchNormalization)
    assert not model.get_layer("here_shortcut").use_bias


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_each_activation_is_that_of_its_formula(activation):
    config = small(activation=activation, normalisation="none")
    model, inputs = built(lambda x: conv_block(x, 4, "here", config), (8, 8, 3))
    for i in (1, 2):
        before = output_of(model, f"here_conv_{i}", inputs)
        after = output_of(model, f"here_{activation}_{i}", inputs)
        np.testing.assert_allclose(after, ACTIVATIONS[activation](before), atol=1e-6)


def test_gelu_is_the_exact_one():
    """x times the normal distribution function: 0.8413447 at 1, not the tanh's 0.8411920."""
    layer = build_unet(small(activation="gelu")).get_layer("encoder_1_gelu_1")
    np.testing.assert_allclose(array(layer(np.ones((1, 1), "float32"))), 0.8413447, atol=1e-6)


@pytest.mark.parametrize(
    ("normalisation", "filters", "groups"),
    [("group", 16, 8), ("group", 12, 4), ("group", 3, 1), ("instance", 12, 12)],
)
def test_group_and_instance_normalisation_are_those_of_their_formula(normalisation, filters, groups):
    config = small(normalisation=normalisation)
    model, inputs = built(lambda x: conv_block(x, filters, "here", config), (8, 6, 3))
    before = output_of(model, "here_conv_1", inputs).astype("float64")
    grouped = before.reshape(2, 8 * 6, groups, filters // groups)
    mean, variance = grouped.mean(axis=(1, 3), keepdims=True), grouped.var(axis=(1, 3), keepdims=True)
    expected = ((grouped - mean) / np.sqrt(variance + 1e-3)).reshape(before.shape)
    np.testing.assert_allclose(output_of(model, "here_norm_1", inputs), expected, atol=1e-4)


@pytest.mark.parametrize("normalisation", ["batch", "group", "instance", "none"])
def test_a_bias_that_normalisation_would_subtract_is_left_out(normalisation):
    layer = build_unet(small(normalisation=normalisation)).get_layer("encoder_1_conv_1")
    assert layer.use_bias == (normalisation == "none")


@pytest.mark.parametrize(("max_width", "expected"), [(512, [4, 8, 16, 32]), (16, [4, 8, 16, 16]), (3, [3, 3, 3, 3])])
def test_filters_double_up_to_the_widest(max_width, expected):
    assert [filters_of(level, small(max_width=max_width)) for level in (1, 2, 3, 4)] == expected


def interpolated(x, axis):
    """Twice the pixels along an axis: linear between pixel centres, constant beyond the first and the last."""
    size = x.shape[axis]
    places = (np.arange(2 * size) + 0.5) / 2 - 0.5
    return np.apply_along_axis(lambda line: np.interp(places, np.arange(size), line), axis, x)


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 2, 1)], ids=str)
def test_bilinear_doubling_is_linear_between_the_centres_of_pixels(shape):
    model, inputs = built(lambda x: double(x, 4, "bilinear", "here"), shape)
    expected = interpolated(interpolated(output_of(model, "here_halve", inputs), 1), 2)
    np.testing.assert_allclose(array(model(inputs)), expected, atol=1e-5)


def test_bilinear_fusion_doubles_as_often_as_it_must():
    skips = [keras.Input((8, 8, 3)), keras.Input((4, 4, 6)), keras.Input((2, 2, 12))]
    model = keras.Model(skips, fused(skips, 1, small(depth=3, fusion=2)))
    inputs = [noise(2, *x.shape[1:]) for x in skips]
    for k, found in zip((1, 2), model(inputs), strict=True):
        expected = pointwise(inputs[k], model.get_layer(f"decoder_1_from_encoder_{k + 1}_narrow"))
        for _ in range(k):
            expected = interpolated(interpolated(expected, 1), 2)
        np.testing.assert_allclose(array(found), expected, atol=1e-5)


# --------------------------------------------------------------------------- what joins the decoder


def test_an_attention_gate_is_that_of_its_formula():
    model, (skip, gate) = built(lambda s, g: attention_gate(s, g, "here"), (4, 6, 8), (4, 6, 8))
    theta, phi, psi = (model.get_layer(f"here_attention_{name}") for name in ("theta", "phi", "psi"))
    phi.bias.assign(noise(4))
    psi.bias.assign([0.5])
    logits = np.maximum(pointwise(skip, theta) + pointwise(gate, phi), 0) @ array(psi.kernel)[0, 0] + 0.5
    np.testing.assert_allclose(array(model([skip, gate])), skip / (1 + np.exp(-logits)), atol=1e-5)


def test_the_gate_weighs_what_the_decoder_is_given():
    model = build_unet(small(attention=True))
    for level in (1, 2):
        names = [x.name for x in model.get_layer(f"decoder_{level}_skip").input]
        assert model.get_layer(f"decoder_{level}_attention").output.name in names
        assert model.get_layer(f"encoder_{level}_relu_2").output.name not in names
        gated = [x.name for x in model.get_layer(f"decoder_{level}_attention").input]
        assert model.get_layer(f"encoder_{level}_relu_2").output.name in gated


@pytest.mark.parametrize(
    ("fusion", "level", "sources"),
    [(0, 2, []), (1, 1, [2]), (1, 2, [1, 3]), (2, 1, [2, 3]), (2, 3, [1, 2, 4]), (4, 4, [1, 2, 3])],
)
def test_fusion_brings_the_neighbouring_encoder_levels(fusion, level, sources):
    config = small(depth=4, fusion=fusion)
    skips = [keras.Input((32 >> k, 48 >> k, 4 << k)) for k in range(4)]
    joined = fused(skips, level, config)
    assert [x.shape[1:] for x in joined] == [(64 >> level, 96 >> level, 4)] * len(sources)
    found = [x._keras_history.operation.name for x in joined]
    assert found == [f"decoder_{level}_from_encoder_{source}" for source in sources]


def test_fusion_takes_the_largest_of_finer_pixels():
    skips = [keras.Input((8, 8, 3)), keras.Input((4, 4, 6)), keras.Input((2, 2, 12))]
    model = keras.Model(skips, fused(skips, 3, small(depth=3, fusion=2)))
    inputs = [noise(2, *x.shape[1:]) for x in skips]
    for k, found in enumerate(model(inputs)):
        side = 4 >> k
        largest = inputs[k].reshape(2, 2, side, 2, side, -1).max(axis=(2, 4))
        expected = pointwise(largest, model.get_layer(f"decoder_3_from_encoder_{k + 1}"))
        np.testing.assert_allclose(array(found), expected, atol=1e-5)


def test_fusion_repeats_coarser_pixels_where_told_nearest():
    skips = [keras.Input((8, 8, 3)), keras.Input((4, 4, 6)), keras.Input((2, 2, 12))]
    model = keras.Model(skips, fused(skips, 1, small(depth=3, fusion=2, fusion_upsampling="nearest")))
    inputs = [noise(2, *x.shape[1:]) for x in skips]
    for k, found in zip((1, 2), model(inputs), strict=True):
        narrow = pointwise(inputs[k], model.get_layer(f"decoder_1_from_encoder_{k + 1}_narrow"))
        np.testing.assert_allclose(array(found), narrow.repeat(2**k, axis=1).repeat(2**k, axis=2), atol=1e-5)


@pytest.mark.parametrize("how", ["nearest", "bilinear", "transposed"])
def test_the_fusion_branch_upsamples_in_its_own_way(how):
    model = build_unet(small(fusion=1, fusion_upsampling=how, upsampling=("nearest", "transposed")))
    kinds = {"nearest": layers.UpSampling2D, "bilinear": layers.Average, "transposed": layers.Conv2DTranspose}
    assert type(model.get_layer("decoder_1_from_encoder_2")) is kinds[how]
    assert isinstance(model.get_layer("decoder_1_up"), layers.UpSampling2D)
    assert isinstance(model.get_layer("decoder_2_up"), layers.Conv2DTranspose)


# --------------------------------------------------------------------------- guides


def test_each_guide_has_a_branch_that_sees_no_other():
    guides = keras.Input((8, 8, 3))
    model = keras.Model(guides, guide_branches(guides, small()))
    values = noise(1, 8, 8, 3)
    changed = values.copy()
    changed[..., 1] += 1
    moved = [bool(np.any(array(a) != array(b))) for a, b in zip(model(values), model(changed), strict=True)]
    assert moved == [False, True, False]


def test_a_guide_branch_is_a_block_and_a_pooling():
    guides = keras.Input((8, 8, 2))
    model = keras.Model(guides, guide_branches(guides, small(block="residual", activation="elu")))
    assert [x.shape[1:] for x in model.outputs] == [(4, 4, 4), (4, 4, 4)]
    assert {"guide_1_conv_1", "guide_2_conv_2", "guide_2_elu_2", "guide_2_shortcut", "guide_2_pool"} <= {
        layer.name for layer in model.layers
    }
    assert model.get_layer("guide_1_conv_1").kernel.shape[2] == 1
