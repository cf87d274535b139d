"""The copy of a network in PyTorch, where that is installed; it is not in the locks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-monai has it")

from benchmarks.peers.same_network import check_equal  # noqa: E402 (needs PyTorch)
from benchmarks.peers.torch_unet import TorchUnet, channels_first, channels_last  # noqa: E402
from unetseg.config import ModelConfig  # noqa: E402
from unetseg.model import build_unet  # noqa: E402

COPIED = {
    "default": (ModelConfig(depth=2, width=4), 1, 2),
    "deeper, colour": (ModelConfig(depth=4, width=2), 3, 1),
    "no deeper than max_width": (ModelConfig(depth=3, width=4, max_width=8), 1, 3),
    "transposed, then nearest": (ModelConfig(depth=2, width=4, upsampling=("transposed", "nearest")), 1, 2),
    "group": (ModelConfig(depth=2, width=4, normalisation="group"), 1, 2),
    "instance": (ModelConfig(depth=2, width=4, normalisation="instance"), 1, 2),
    "none": (ModelConfig(depth=2, width=4, normalisation="none"), 1, 2),
    "leaky_relu": (ModelConfig(depth=2, width=4, activation="leaky_relu"), 1, 2),
    "elu": (ModelConfig(depth=2, width=4, activation="elu"), 1, 2),
    "gelu": (ModelConfig(depth=2, width=4, activation="gelu"), 1, 2),
    "silu": (ModelConfig(depth=2, width=4, activation="silu"), 1, 2),
    "dropout": (ModelConfig(depth=2, width=4, dropout=(0.3,)), 1, 2),
    "softmax": (ModelConfig(depth=2, width=4, head="softmax"), 1, 3),
}
REFUSED = {
    "residual": (ModelConfig(depth=2, width=4, block="residual"), "encoder_1_shortcut"),
    "attention": (ModelConfig(depth=2, width=4, attention=True), "decoder_2_attention"),
    "fusion": (ModelConfig(depth=2, width=4, fusion=1), "decoder_2_from_encoder_1"),
    "bilinear": (ModelConfig(depth=2, width=4, upsampling=("bilinear",)), "decoder_2_up"),
    "outputs": (ModelConfig(depth=2, width=4, outputs=2), "probabilities_2"),
}


def with_any_weights(model, seed=0):
    """Every weight another: those of a new network, zeros and ones, would hide what is mixed up."""
    random = np.random.default_rng(seed)

    def drawn(shape):
        """Kernels that keep the variance, `(h, w, in, out)`; of the rest, numbers near 1, which variances may be."""
        if len(shape) == 4:
            return random.normal(size=shape) / np.sqrt(np.prod(shape[:3]))
        return random.uniform(0.5, 1.5, shape)

    model.set_weights([drawn(weights.shape) for weights in model.get_weights()])
    return model


def probabilities(model, shape):
    """Of both, for the same noise."""
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        copied = channels_last(TorchUnet(model)(channels_first(image)))
    return copied, np.asarray(model.predict_on_batch(image))


@pytest.mark.parametrize(("config", "channels", "classes"), COPIED.values(), ids=COPIED)
def test_the_copy_gives_the_same(config, channels, classes):
    model = with_any_weights(build_unet(config, input_shape=(None, None, channels), classes=classes))
    copied, expected = probabilities(model, (2, 32, 48, channels))
    assert copied.shape == expected.shape == (2, 32, 48, classes)
    assert expected.std() > 1e-3, "an output that says nothing would compare with anything"
    np.testing.assert_allclose(copied, expected, atol=1e-4)


def test_every_weight_is_copied():
    model = build_unet(ModelConfig(depth=3, width=4, upsampling=("transposed",)), classes=2)
    copied = TorchUnet(model).state_dict()
    assert sum(value.numel() for name, value in copied.items() if "num_batches" not in name) == model.count_params()


@pytest.mark.parametrize(("config", "named"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_copied_is_refused_by_its_name(config, named):
    with pytest.raises(ValueError, match=rf"^model: .*{named}"):
        TorchUnet(build_unet(config, classes=2))


def test_guides_are_refused():
    with pytest.raises(ValueError, match=r"left over: .*guide_1"):
        TorchUnet(build_unet(ModelConfig(depth=2, width=4), classes=2, guides=1))


def test_unequal_outputs_are_not_compared():
    expected = np.full((4, 4, 1), 0.5, np.float32)
    assert check_equal({"A": expected + np.float32(5e-5)}, expected) == pytest.approx(5e-5, rel=1e-2)
    with pytest.raises(ValueError, match=r"B: .*0\.0001, found 0\.00(02|019).* off"):
        check_equal({"A": expected, "B": expected + np.float32(2e-4)}, expected)
    with pytest.raises(ValueError, match="found nan"):
        check_equal({"A": expected * np.nan}, expected)
