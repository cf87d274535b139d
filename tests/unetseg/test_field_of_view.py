"""How far a network looks; and tiles that equal the whole image."""

import doctest
import random
from dataclasses import replace
from itertools import pairwise, product

import keras
import numpy as np
import pytest
from keras import layers

from unetseg import field_of_view
from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.field_of_view import ReceptiveField, receptive_field
from unetseg.heads import main_output
from unetseg.model import build_unet

UPSAMPLINGS = ("nearest", "bilinear", "transposed")
MAIN = "probabilities"


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def small(**changes):
    return ModelConfig(**{"depth": 2, "width": 4, **changes})


def run(model, *inputs):
    """All outputs by name, as arrays."""
    outputs = model(list(inputs) if isinstance(model.input, list) else inputs[0], training=False)
    outputs = outputs if isinstance(outputs, dict) else {MAIN: outputs}
    return {name: np.asarray(keras.ops.convert_to_numpy(x)) for name, x in outputs.items()}


def scales(outputs):
    return [(name, int(name.removeprefix(MAIN).strip("_") or 1)) for name in outputs]


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


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


def tile_errors(model, inputs, halo, inners):
    """Largest difference, over all outputs, between the whole image's result and that of tiles in their ``inner``."""
    whole, size, worst = run(model, *inputs), inputs[0].shape[1], []
    for first, last in inners:
        low, high = max(first - halo, 0), min(last + halo, size)
        tile = run(model, *(x[:, low:high, low:high] for x in inputs))
        for name, scale in scales(tile):
            a, b, c = first // scale, last // scale, low // scale
            kept = tile[name][:, a - c : b - c, a - c : b - c]
            worst.append(np.abs(kept - whole[name][:, a:b, a:b]).max())
    return max(worst)


def reach(model, field):
    """The furthest pixel (along width) that changes a block of one stride, found by lighting column after column."""
    block = slice(field.halo + field.stride, field.halo + 2 * field.stride)
    size = 2 * field.halo + 3 * field.stride
    lit = np.eye(size, dtype="float32")[:, None, :, None] * np.ones((1, field.stride, 1, 1), "float32")
    inputs = [np.repeat(lit, x.shape[3], axis=3) for x in model.inputs]
    lit, dark = run(model, *inputs)[MAIN], run(model, *(0 * x[:1] for x in inputs))[MAIN]
    changed = lit[:, :, block] != dark[:, :, block]
    seen = np.flatnonzero(changed.any(axis=(1, 2, 3)))
    return max(block.start - seen.min(), seen.max() - (block.stop - 1))


def drawn(seed):
    """A small network with settings and guides by chance; all of them give exact tiles."""
    rng = random.Random(seed)
    depth = rng.choice([1, 2, 3])
    config = ModelConfig(
        depth=depth,
        width=rng.choice([2, 3, 4]),
        max_width=rng.choice([6, 512]),
        block=rng.choice(["plain", "residual"]),
        normalisation=rng.choice(["batch", "batch", "none"]),
        activation=rng.choice(["relu", "leaky_relu", "elu", "gelu", "silu"]),
        upsampling=tuple(rng.choice(UPSAMPLINGS) for _ in range(depth)),
        attention=rng.random() < 0.5,
        fusion=rng.randint(0, depth),
        fusion_upsampling=rng.choice(UPSAMPLINGS),
        outputs=rng.randint(1, depth),
        head=rng.choice(["sigmoid", "softmax"]),
    )
    return build_unet(config, classes=2, guides=rng.choice([0, 1, 2]))


def check_tiles(model):
    """Tiles at both borders and in the middle against the whole image."""
    stride, halo = (field := receptive_field(model)).stride, field.halo
    size = 2 * halo + 5 * stride
    middle = (halo + 2 * stride, halo + 3 * stride)
    inputs = [noise(1, size, size, x.shape[3]) for x in model.inputs]
    assert field.exact
    assert tile_errors(model, inputs, halo, [(0, stride), middle, (size - 2 * stride, size)]) <= 1e-5


@pytest.mark.parametrize(("upsampling", "guides", "depth"), [(u, g, 2 - g) for u in UPSAMPLINGS for g in (0, 1)])
def test_a_tile_with_its_halo_equals_the_whole_image(upsampling, guides, depth):
    check_tiles(shake(build_unet(small(depth=depth, upsampling=upsampling), classes=2, guides=guides)))


@pytest.mark.parametrize("seed", range(12))
def test_tiles_are_exact_whatever_the_settings(seed):
    check_tiles(shake(drawn(seed)))


@pytest.mark.parametrize("normalisation", ["group", "instance"])
def test_statistics_of_the_whole_tile_are_not_exact_and_change_no_halo(normalisation):
    model = build_unet(small(depth=1, normalisation=normalisation))
    field = receptive_field(model)
    assert field == replace(receptive_field(build_unet(small(depth=1))), exact=False)
    ramp = np.linspace(-3, 3, 5 * field.halo, dtype="float32")[None, :, None, None] * noise(1, 5 * field.halo, 40, 1)
    assert tile_errors(model, [ramp[:, :, : ramp.shape[1]]], field.halo, [(0, 2 * field.halo)]) > 1e-3


@pytest.mark.parametrize(("upsampling", "depth"), list(product(UPSAMPLINGS, [1, 2, 3])))
def test_the_halo_is_the_smallest_safe_multiple_of_the_stride(upsampling, depth):
    model = count_paths(build_unet(small(depth=depth, upsampling=upsampling), guides=1))
    field = receptive_field(model)
    assert field.stride == 2**depth
    assert field.halo - field.stride < reach(model, field) <= field.halo


@pytest.mark.parametrize(
    "changes",
    [{"block": "residual"}, {"attention": True}, {"fusion": 2, "fusion_upsampling": "bilinear"}, {"outputs": 2}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_halo_is_tight_with_every_addition(changes):
    model = count_paths(build_unet(small(depth=3, **changes)))
    field = receptive_field(model)
    assert field.halo - field.stride < reach(model, field) <= field.halo


def test_the_main_output_alone_needs_no_larger_halo_than_all():
    model = build_unet(small(depth=3, outputs=3))
    assert receptive_field(main_output(model)) == receptive_field(build_unet(small(depth=3)))
    assert receptive_field(main_output(model)).halo <= receptive_field(model).halo


@pytest.mark.parametrize(("upsampling", "depth"), list(product(UPSAMPLINGS, [1, 2, 3])))
def test_a_smaller_halo_is_not_exact(upsampling, depth):
    model = count_paths(build_unet(small(depth=depth, upsampling=upsampling)))
    stride, halo = (field := receptive_field(model)).stride, field.halo
    first, last, size = halo + stride, halo + 2 * stride, 2 * halo + 3 * stride
    image = np.ones((1, size, size, 1), "float32")
    image[:, first - halo + stride : last + halo - stride, first - halo + stride : last + halo - stride] = 0
    assert tile_errors(model, [image], halo - stride, [(first, last)]) > 1e-5
    assert tile_errors(model, [image], halo, [(first, last)]) <= 1e-5


def test_the_default_network_asks_for_the_halo_it_always_did():
    """Bundles and benchmarks rest on it; 2 x 46 pixels of convolutions, rounded up to the stride."""
    field = receptive_field(build_unet(ModelConfig(depth=4, width=16)))
    assert field == ReceptiveField(stride=16, halo=96, exact=True)


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
    read = run(model, lit)[MAIN][:, size // 2, :, 0] > 0  # [source, output]
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


def test_layer_normalisation_over_the_image_is_not_exact():
    field = receptive_field(chain(conv(), layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False)))
    assert field == ReceptiveField(stride=1, halo=1, exact=False)


def test_the_halo_covers_the_outputs_of_every_scale():
    assert receptive_field(two_scales()) == ReceptiveField(stride=2, halo=4)


def test_deeper_networks_look_further():
    halos = [receptive_field(build_unet(small(depth=depth))).halo for depth in range(1, 6)]
    assert all(shallow < deep for shallow, deep in pairwise(halos))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda: layers.GlobalAveragePooling2D(keepdims=True), "GlobalAveragePooling2D.*has no receptive field"),
        (lambda: chain(conv()), "Functional.*has no receptive field"),
        (lambda: layers.Conv2D(1, 3), "must keep the size of its input .*received padding='valid'; use 'same'"),
        (lambda: layers.UpSampling2D(2, interpolation="bicubic"), "must upsample by .*received 'bicubic'"),
        (lambda: layers.ZeroPadding2D(((0, 1), (0, 0))), r"one fixed size.*build the model with .*\(None, None"),
        (lambda: layers.Cropping2D(1), "one fixed size"),
        (lambda: layers.BatchNormalization(axis=3), None),
        (lambda: layers.LayerNormalization(), None),
        (lambda: layers.MaxPooling2D(2, data_format="channels_first"), "channels last"),
        (lambda: lambda x: x[:, 1:], "get_item.*has no receptive field"),
        (lambda: lambda x: x[..., :1], None),
    ],
)
def test_layers_that_see_the_whole_tile_or_shift_it_are_refused(step, message):
    model = chain(conv(), step())
    if message is None:
        assert receptive_field(model) == ReceptiveField(stride=1, halo=1)
        return
    with pytest.raises(UsageError, match=f"(?i)model: layer .*{message}"):
        receptive_field(model)


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(field_of_view).failed == 0
