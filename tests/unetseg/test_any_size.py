"""Images whose sizes the poolings do not divide, padded by the caller."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

from unetseg.any_size import predict_any_size
from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.model import build_unet


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_unet(ModelConfig(depth=2, width=2, outputs=2), classes=3, guides=1)


@pytest.fixture(scope="module")
def plain():
    keras.utils.set_random_seed(0)
    return build_unet(ModelConfig(depth=2, width=2), input_shape=(None, None, 2))


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def test_outputs_have_the_size_of_the_image_rounded_up_at_each_scale(model):
    found = predict_any_size(model, {"guides": noise(2, 9, 14, 1), "image": noise(2, 9, 14, 1)})
    assert {name: x.shape for name, x in found.items()} == {
        "probabilities": (2, 9, 14, 3),
        "probabilities_2": (2, 5, 7, 3),
    }


def test_the_edge_is_repeated_at_the_bottom_and_on_the_right(plain):
    image = noise(1, 7, 10, 2)
    rows, columns = [0, 1, 2, 3, 4, 5, 6, 6], [*range(10), 9, 9]
    expected = convert_to_numpy(plain([image[:, rows][:, :, columns]], training=False))[:, :7, :10]
    found = predict_any_size(plain, image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_size_that_fits_is_predicted_as_it_is_in_batches(plain):
    images = noise(3, 8, 12, 2)
    expected = convert_to_numpy(plain([images], training=False))
    np.testing.assert_allclose(predict_any_size(plain, images, batch_size=2), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (noise(1, 8, 8, 1), "inputs: must be the arrays image, guides, received image; pass a dict"),
        ({"image": noise(1, 8, 8, 1), "masks": noise(1, 8, 8, 1)}, "received image, masks"),
        ({"image": noise(1, 8, 8, 1), "guides": noise(1, 8, 9, 1)}, r"alike in N, H and W, received .*\(1, 8, 9, 1\)"),
        ({"image": noise(8, 8, 1), "guides": noise(8, 8, 1)}, r"must be \(N, H, W, C\).*received .*\(8, 8, 1\)"),
    ],
    ids=["missing", "misnamed", "other size", "no batch"],
)
def test_arrays_that_do_not_fit_are_named(model, inputs, message):
    with pytest.raises(UsageError, match=message):
        predict_any_size(model, inputs)


def test_a_network_of_a_fixed_size_is_refused():
    fixed = build_unet(ModelConfig(depth=1, width=1), input_shape=(9, 9, 1))
    with pytest.raises(UsageError, match=r"model: height and width must be free.*\(None, None, channels\)"):
        predict_any_size(fixed, noise(1, 9, 9, 1))
