"""The U-Net: its shape, its start, what it saves; and tiles that equal the whole image."""

import doctest
import subprocess
import sys
from itertools import pairwise, product

import keras
import numpy as np
import pytest
from keras import layers

from unetseg import field_of_view
from unetseg import model as unet_module
from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.field_of_view import ReceptiveField, receptive_field
from unetseg.model import build_unet

UPSAMPLINGS = ("nearest", "bilinear", "transposed")


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def small(**changes):
    return ModelConfig(**{"depth": 2, "width": 4, **changes})


def run(model, *inputs):
    outputs = model(list(inputs) if isinstance(model.input, list) else inputs[0], training=False)
    return np.asarray(keras.ops.convert_to_numpy(outputs))


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
    model = build_unet(ModelConfig(depth=1, width=2, normalisation="none"))
    encoder = (9 * 1 + 1) * 2 + (9 * 2 + 1) * 2
    bottleneck = (9 * 2 + 1) * 4 + (9 * 4 + 1) * 4
    halved = (4 + 1) * 2
    decoder = (9 * (2 + 2) + 1) * 2 + (9 * 2 + 1) * 2  # upsampled features and the skipped ones
    head = 2 + 1
    assert model.count_params() == encoder + bottleneck + halved + decoder + head


def test_width_doubles_at_each_halving():
    model = build_unet(small(depth=3, width=4))
    stages = ("encoder_1", "encoder_2", "encoder_3", "bottleneck", "decoder_3", "decoder_2", "decoder_1")
    assert [model.get_layer(f"{stage}_conv_2").filters for stage in stages] == [4, 8, 16, 32, 16, 8, 4]


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
    ],
)
def test_settings_decide_which_layers_there_are(change, present, absent):
    found = names(build_unet(small(**change)))
    assert present in found
    assert absent not in found


def test_settings_reach_their_layers():
    assert build_unet(small(width=6)).get_layer("encoder_1_conv_1").filters == 6
    assert build_unet(small(dropout=0.25)).get_layer("bottleneck_dropout").rate == 0.25
    kinds = [type(build_unet(small(upsampling=u)).get_layer("decoder_1_up")) for u in UPSAMPLINGS]
    assert kinds == [layers.UpSampling2D, layers.UpSampling2D, layers.Conv2DTranspose]
    assert build_unet(small(upsampling="bilinear")).get_layer("decoder_1_up").interpolation == "bilinear"


def test_a_bias_that_normalisation_would_subtract_is_left_out():
    assert not build_unet(small()).get_layer("encoder_1_conv_1").use_bias
    assert build_unet(small(normalisation="none")).get_layer("encoder_1_conv_1").use_bias


@pytest.mark.parametrize("depth", [1, 2])
def test_guides_join_after_the_first_pooling_through_their_own_convolutions(depth):
    model = build_unet(small(depth=depth), input_shape=(None, None, 3), guides=2)
    assert model.get_layer("encoder_1_conv_1").kernel.shape[2] == 3  # not stacked onto the image
    assert model.get_layer("guide_conv_1").kernel.shape[2] == 2
    joined = [x.name for x in model.get_layer("guide_merge").input]
    assert joined == [model.get_layer(name).output.name for name in ("encoder_1_pool", "guide_pool")]


def test_guides_change_the_result():
    model = build_unet(small(), guides=1)
    image, guide = noise(1, 16, 16, 1), np.ones((1, 16, 16, 1), "float32")
    assert not np.allclose(run(model, image, guide), run(model, image, 0 * guide))


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


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_probabilities_are_float32_under_mixed_precision(policy, head):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_unet(small(head=head))
        assert model.get_layer("encoder_1_conv_1").compute_dtype == policy.removeprefix("mixed_")
        assert run(model, noise(1, 16, 16, 1)).dtype == np.float32
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_the_signal_keeps_its_strength_at_the_start(normalisation):
    model = build_unet(small(depth=4, width=8, normalisation=normalisation))
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


# --------------------------------------------------------------------------- saving

LOADED_BY_STRANGERS = """
import sys
import keras, numpy as np
model = keras.saving.load_model("unet.keras", safe_mode=True)
assert not any(name.startswith("unetseg") for name in sys.modules)
inputs = np.load("inputs.npz")
np.save("probs.npy", keras.ops.convert_to_numpy(model([inputs["image"], inputs["guides"]], training=False)))
"""


def test_a_saved_model_needs_nothing_of_unetseg(tmp_path):
    """Safe mode, no custom objects, another process; softmax and transposed: the layers least plain."""
    model = build_unet(small(head="softmax", upsampling="transposed", dropout=0.1), classes=2, guides=1)
    image, guides = noise(1, 16, 16, 1), noise(1, 16, 16, 1)
    model.save(tmp_path / "unet.keras")
    np.savez(tmp_path / "inputs.npz", image=image, guides=guides)
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_STRANGERS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "probs.npy"), run(model, image, guides), atol=1e-6)


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_a_loaded_model_has_the_same_receptive_field(tmp_path, head):
    model = build_unet(small(head=head), guides=1)
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    assert receptive_field(loaded) == receptive_field(model)


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (128, 128)}, r"input_shape: .*received \(128, 128\); .*\(128, 128, 1\)"),
        ({"input_shape": (128,)}, r"input_shape: must be \(height, width, channels\), received \(128,\)"),
        ({"input_shape": (100, 128, 1)}, r"height must be a multiple of 16 .*received 100; nearest valid: 96 and 112"),
        ({"input_shape": (128, 9, 1)}, r"width must be a multiple of 16 .*received 9; nearest valid: 16, or None"),
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


# --------------------------------------------------------------------------- tiles equal the whole


def shake(model):
    """Random statistics and biases, as if trained: zeros would hide mistakes at the borders."""
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.5, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
            layer.beta.assign(rng.normal(0, 0.5, layer.beta.shape))
    return model


def count_paths(model):
    """Let every convolution average over its channels and sum over its window: no influence is lost or cancelled."""
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose):
            transposed = isinstance(layer, layers.Conv2DTranspose)
            channels = layer.kernel.shape[3 if transposed else 2]
            layer.kernel.assign(np.full(layer.kernel.shape, 1 / channels))
    return model


def tile_error(model, inputs, halo, inner):
    """Largest difference between the whole image's result and that of one tile, in the tile's ``inner`` square."""
    (first, last), size = inner, inputs[0].shape[1]
    low, high = max(first - halo, 0), min(last + halo, size)
    tile = run(model, *(x[:, low:high, low:high] for x in inputs))
    kept = tile[:, first - low : last - low, first - low : last - low]
    return np.abs(kept - run(model, *inputs)[:, first:last, first:last]).max()


def reach(model, field):
    """The furthest pixel (along width) that changes a block of one stride, found by lighting column after column."""
    block = slice(field.halo + field.stride, field.halo + 2 * field.stride)
    size = 2 * field.halo + 3 * field.stride
    lit = np.eye(size, dtype="float32")[:, None, :, None] * np.ones((1, field.stride, 1, 1), "float32")
    inputs = [np.repeat(lit, x.shape[3], axis=3) for x in model.inputs]
    changed = run(model, *inputs)[:, :, block] != run(model, *(0 * x[:1] for x in inputs))[:, :, block]
    seen = np.flatnonzero(changed.any(axis=(1, 2, 3)))
    return max(block.start - seen.min(), seen.max() - (block.stop - 1))


@pytest.mark.parametrize(("upsampling", "guides", "depth"), list(product(UPSAMPLINGS, [0, 1], [1, 2, 3])))
def test_a_tile_with_its_halo_equals_the_whole_image(upsampling, guides, depth):
    model = shake(build_unet(small(depth=depth, upsampling=upsampling), classes=2, guides=guides))
    stride, halo = (field := receptive_field(model)).stride, field.halo
    size = 2 * halo + 5 * stride
    inputs = [noise(1, size, size, 1)] + ([noise(1, size, size, 1)] if guides else [])
    middle = (halo + 2 * stride, halo + 3 * stride)
    for inner in ((0, stride), middle, (size - 2 * stride, size)):
        assert tile_error(model, inputs, halo, inner) <= 1e-5


@pytest.mark.parametrize(("upsampling", "depth"), list(product(UPSAMPLINGS, [1, 2, 3])))
def test_the_halo_is_the_smallest_safe_multiple_of_the_stride(upsampling, depth):
    model = count_paths(build_unet(small(depth=depth, upsampling=upsampling), guides=1))
    field = receptive_field(model)
    assert field.stride == 2**depth
    assert field.halo - field.stride < reach(model, field) <= field.halo


@pytest.mark.parametrize(("upsampling", "depth"), list(product(UPSAMPLINGS, [1, 2, 3])))
def test_a_smaller_halo_is_not_exact(upsampling, depth):
    model = count_paths(build_unet(small(depth=depth, upsampling=upsampling)))
    stride, halo = (field := receptive_field(model)).stride, field.halo
    first, last, size = halo + stride, halo + 2 * stride, 2 * halo + 3 * stride
    image = np.ones((1, size, size, 1), "float32")
    image[:, first - halo + stride : last + halo - stride, first - halo + stride : last + halo - stride] = 0
    assert tile_error(model, [image], halo - stride, (first, last)) > 1e-5
    assert tile_error(model, [image], halo, (first, last)) <= 1e-5


def test_the_default_network_asks_for_the_halo_it_always_did():
    """Bundles and benchmarks rest on it; 2 x 46 pixels of convolutions, rounded up to the stride."""
    assert receptive_field(build_unet()) == ReceptiveField(stride=16, halo=96)


def conv(filters=2, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", bias_initializer="zeros", **options)


def chain(*steps):
    image = keras.Input((None, None, 1))
    x = image
    for step in steps:
        x = step(x)
    return keras.Model(image, x)


def called_twice():
    image, shared = keras.Input((None, None, 1)), conv(1, 5)
    return keras.Model(image, shared(shared(image)))


def two_scales():
    image = keras.Input((None, None, 1))
    half = conv()(layers.MaxPooling2D(2)(conv()(image)))
    return keras.Model(image, [layers.UpSampling2D(2)(half), half])


OTHER_NETWORKS = {
    "dilated": lambda: chain(conv(dilation_rate=3), conv()),
    "even kernel": lambda: chain(conv(size=4), layers.MaxPooling2D(2), conv(size=2), layers.UpSampling2D(2)),
    "strided convolution": lambda: chain(conv(strides=2), conv(), layers.UpSampling2D(2)),
    "overlapping pooling": lambda: chain(
        layers.AveragePooling2D(3, strides=2, padding="same"), conv(), layers.UpSampling2D(2, interpolation="bilinear")
    ),
    "wide transposed": lambda: chain(
        layers.MaxPooling2D(2), conv(), layers.Conv2DTranspose(2, 4, strides=2, padding="same"), conv()
    ),
    "thirds": lambda: chain(
        layers.MaxPooling2D(3), conv(), layers.Conv2DTranspose(2, 5, strides=3, padding="same"), layers.ReLU()
    ),
    "one layer called twice": called_twice,
}


SINGLE_LAYERS = {
    "convolution": lambda: conv(1, 3),
    "dilated convolution": lambda: conv(1, 3, dilation_rate=2),
    "strided convolution": lambda: conv(1, 5, strides=2),
    "pooling": lambda: layers.MaxPooling2D(2),
    "wide pooling": lambda: layers.AveragePooling2D(3, strides=2, padding="same"),
    "nearest": lambda: layers.UpSampling2D(2),
    "bilinear": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    "bilinear, thirds": lambda: layers.UpSampling2D(3, interpolation="bilinear"),
    "transposed": lambda: layers.Conv2DTranspose(1, 2, strides=2),
    "wide transposed": lambda: layers.Conv2DTranspose(1, 4, strides=2, padding="same"),
    "very wide transposed": lambda: layers.Conv2DTranspose(1, 5, strides=2, padding="same"),
}


@pytest.mark.parametrize("build", list(SINGLE_LAYERS.values()), ids=list(SINGLE_LAYERS))
def test_the_window_of_a_layer_holds_all_that_an_output_pixel_reads(build):
    """On both sides: whole networks are near symmetric, and one side's mistake hides behind the other."""
    model, size = count_paths(chain(layer := build())), 24
    lit = np.eye(size, dtype="float32")[:, None, :, None] * np.ones((1, 2 * size, 1, 1), "float32")
    read = run(model, lit)[:, size // 2, :, 0] > 0  # [source, output]
    window = field_of_view._WINDOWS[type(layer)](layer, 1)
    for output in range(read.shape[1] // 3, 2 * read.shape[1] // 3):
        sources = np.flatnonzero(read[:, output])
        first, last = window.source((output, output))
        assert sources.min() - 1 <= first <= sources.min()
        assert sources.max() <= last <= sources.max() + 1


@pytest.mark.parametrize("build", list(OTHER_NETWORKS.values()), ids=list(OTHER_NETWORKS))
def test_halos_of_other_networks_are_safe_and_tight(build):
    model = count_paths(build())
    field = receptive_field(model)
    assert field.halo - 2 * field.stride < reach(model, field) <= field.halo


def test_the_halo_covers_the_outputs_of_every_scale():
    assert receptive_field(two_scales()) == ReceptiveField(stride=2, halo=4)


def test_deeper_networks_look_further():
    halos = [receptive_field(build_unet(small(depth=depth))).halo for depth in range(1, 6)]
    assert all(shallow < deep for shallow, deep in pairwise(halos))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda: layers.GroupNormalization(1), "GroupNormalization.*has no receptive field"),
        (lambda: layers.GlobalAveragePooling2D(keepdims=True), "GlobalAveragePooling2D.*has no receptive field"),
        (lambda: chain(conv()), "Functional.*has no receptive field"),
        (lambda: layers.Conv2D(1, 3), "must keep the size of its input .*received padding='valid'; use 'same'"),
        (lambda: layers.UpSampling2D(2, interpolation="bicubic"), "must upsample by .*received 'bicubic'"),
        (lambda: layers.BatchNormalization(axis=3), None),
        (lambda: layers.MaxPooling2D(2, data_format="channels_first"), "channels last"),
        (lambda: lambda x: x[:, 1:], "get_item.*has no receptive field"),
        (lambda: lambda x: x[..., :1], None),
    ],
)
def test_layers_that_see_the_whole_tile_or_shift_it_are_refused(step, message):
    model = chain(conv(), step())
    if message is None:
        assert receptive_field(model).halo == 1
        return
    with pytest.raises(UsageError, match=f"(?i)model: layer .*{message}"):
        receptive_field(model)


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(unet_module).failed == 0
    assert doctest.testmod(field_of_view).failed == 0
