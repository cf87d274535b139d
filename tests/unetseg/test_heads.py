"""Probabilities at several scales."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.heads import main_output, output_scales
from unetseg.model import build_unet


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def small(**changes):
    return ModelConfig(**{"depth": 3, "width": 4, **changes})


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def run(model, *inputs):
    return {name: convert_to_numpy(x) for name, x in model(list(inputs), training=False).items()}


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_each_output_has_its_share_of_the_input_size(head):
    model = build_unet(small(outputs=3, head=head), classes=2)
    probs = run(model, noise(1, 32, 16, 1))
    assert {name: x.shape for name, x in probs.items()} == {
        "probabilities": (1, 32, 16, 2),
        "probabilities_2": (1, 16, 8, 2),
        "probabilities_4": (1, 8, 4, 2),
    }
    for x in probs.values():
        total = x.sum(axis=-1) if head == "softmax" else x  # exclusive classes leave the rest to the background
        assert 0 <= x.min() < x.max()
        assert total.max() <= 1 + 1e-6


@pytest.mark.parametrize(("outputs", "expected"), [(1, [1]), (5, [1, 2, 4, 8, 16])])
def test_scales_are_told_main_output_first(outputs, expected):
    model = build_unet(small(depth=outputs, width=1, outputs=outputs))
    names = ["probabilities", *(f"probabilities_{scale}" for scale in expected[1:])]
    assert list(output_scales(model).items()) == list(zip(names, expected, strict=True))


def test_outputs_of_another_name_have_no_known_scale():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, {"mask": image})
    with pytest.raises(UsageError, match="model: outputs must be probabilities, received mask"):
        output_scales(model)


@pytest.mark.parametrize(("head", "prior"), [("sigmoid", [0.01, 0.7]), ("softmax", [0.01, 0.2])])
def test_every_head_starts_from_the_prior(head, prior):
    model = build_unet(small(outputs=3, head=head), classes=2, class_prior=prior)
    for probs in run(model, np.zeros((1, 16, 16, 1), "float32")).values():
        np.testing.assert_allclose(probs, np.broadcast_to(prior, probs.shape), atol=1e-6)


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_every_output_is_float32_under_mixed_precision_cropped_or_not(head):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_unet(small(outputs=2, head=head), input_shape=(20, 16, 1))
        # Not rounded to half precision on the way either: bfloat16 has 8 bits.
        for x in run(model, noise(1, 20, 16, 1)).values():
            assert x.dtype == np.float32
            assert np.any(x.view(np.uint32) & 0xFFFF)
    finally:
        keras.config.set_dtype_policy(before)


def test_every_scale_learns_from_a_loss_of_its_own():
    model = build_unet(small(depth=2, outputs=2))
    losses = dict.fromkeys(output_scales(model), "binary_crossentropy")
    model.compile("sgd", loss=losses, loss_weights={"probabilities": 0.0, "probabilities_2": 1.0}, run_eagerly=True)
    before = {name: np.array(model.get_layer(name).kernel) for name in ("head", "head_2")}
    y = {name: np.ones((2, 16 // scale, 16 // scale, 1)) for name, scale in output_scales(model).items()}
    model.fit({"image": noise(2, 16, 16, 1)}, y, verbose=0)
    moved = [bool(np.any(before[name] != np.array(model.get_layer(name).kernel))) for name in ("head", "head_2")]
    assert moved == [False, True]


def test_the_main_output_alone_is_the_same_and_shares_its_weights():
    model = build_unet(small(outputs=3, head="softmax"), classes=2, guides=1)
    alone, inputs = main_output(model), [noise(1, 16, 16, 1), noise(1, 16, 16, 1)]
    np.testing.assert_array_equal(convert_to_numpy(alone(inputs)), run(model, *inputs)["probabilities"])
    assert alone.get_layer("encoder_1_conv_1") is model.get_layer("encoder_1_conv_1")
    assert "head_2" not in [layer.name for layer in alone.layers]
    assert list(output_scales(alone)) == ["probabilities"]


def test_a_network_of_one_output_is_its_own_main_output():
    model = build_unet(small())
    assert main_output(model) is model


def test_the_main_output_of_a_loaded_network_can_be_saved_again(tmp_path):
    model, image = build_unet(small(outputs=2, head="softmax")), noise(1, 16, 16, 1)
    model.save(tmp_path / "all.keras")
    loaded = keras.saving.load_model(tmp_path / "all.keras", safe_mode=True)
    assert list(output_scales(loaded).values()) == [1, 2]
    main_output(loaded).save(tmp_path / "main.keras")
    alone = keras.saving.load_model(tmp_path / "main.keras", safe_mode=True)
    np.testing.assert_allclose(convert_to_numpy(alone([image])), run(model, image)["probabilities"], atol=1e-6)
