"""The network of a bundle as a module of PyTorch with the same weights, so that peers built on it can be measured.

It is what people write by hand: ``nn.Sequential`` blocks, a list of what skips across, ``torch.cat``. Layers keep the
names that they have in Keras.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Final

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["TorchUnet", "channels_first", "channels_last"]

Layers = dict[str, keras.Layer]

_JOINTS: Final = (keras.layers.InputLayer, keras.layers.Concatenate)  # what `TorchUnet.forward` does itself


class TorchUnet(nn.Module):
    """A U-Net of plain blocks, of any depth, width, normalisation, activation and head.

    *Input shape*: ``(N, C, H, W)``, H and W multiples of ``2 ** depth``.

    *Output shape*: probabilities ``(N, K, H, W)``.
    """

    def __init__(self, model: keras.Model) -> None:
        """Copy a network.

        Args:
            model: from `unetseg.model.build_unet`.

        Raises:
            ValueError: It has layers that are not copied: residual blocks, guides, attention, fusion; or more outputs.
        """
        super().__init__()
        if isinstance(model.output, dict):
            raise ValueError(f"model: must have one output, found {', '.join(model.output)}; take its main_output")
        left = {layer.name: layer for layer in model.layers if not isinstance(layer, _JOINTS)}
        levels = range(1, 1 + sum(name.startswith("encoder_") and name.endswith("_pool") for name in left))
        self.pools = nn.ModuleList(_moved(left, f"encoder_{level}_pool") for level in levels)
        self.encoder = nn.ModuleList(_moved(left, f"encoder_{level}_") for level in levels)
        self.bottleneck = _moved(left, "bottleneck_")
        self.doublings = nn.ModuleList(_moved(left, f"decoder_{level}_up") for level in reversed(levels))
        self.decoder = nn.ModuleList(_moved(left, f"decoder_{level}_") for level in reversed(levels))
        self.head = _moved(left, "head", "softmax", "probabilities")
        self.classes = model.output_shape[-1]
        if left:
            raise ValueError(f"model: only plain blocks are copied, left over: {', '.join(left)}")
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of a batch."""
        skips = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            skips.append(block(x))
            x = pool(skips[-1])
        x = self.bottleneck(x)
        for double, block in zip(self.doublings, self.decoder, strict=True):
            x = block(torch.cat([double(x), skips.pop()], dim=1))
        return self.head(x)[:, -self.classes :]  # with softmax the background comes first


def channels_first(arrays: NDArray[np.floating]) -> Tensor:
    """``(N, H, W, C)`` as PyTorch has it, ``(N, C, H, W)``."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(arrays, -1, 1), np.float32))


def channels_last(found: Tensor) -> NDArray[np.float32]:
    """``(N, C, H, W)`` as this project has it, ``(N, H, W, C)``."""
    return np.moveaxis(found.float().numpy(), 1, -1)


def _moved(left: Layers, *prefixes: str) -> nn.Sequential:
    """The counterparts of the layers whose names begin so, one after the other; they are no longer left."""
    layers = [left.pop(name) for name in [name for name in left if name.startswith(prefixes)]]
    for before, layer in pairwise(layers):
        # Softmax leaves a channel out behind it, which `forward` does.
        if layer.input is not before.output and not isinstance(layer, keras.layers.Identity):
            raise ValueError(f"model: only plain blocks are copied, {layer.name} does not follow {before.name}")
    return nn.Sequential(OrderedDict((layer.name, _counterpart(layer)) for layer in layers))


# --------------------------------------------------------------------------- layers


def _counterpart(layer: keras.Layer) -> nn.Module:
    if type(layer) not in _COUNTERPARTS:
        raise ValueError(f"model: layer {layer.name} ({type(layer).__name__}) has no counterpart here")
    return _COUNTERPARTS[type(layer)](layer)


def _convolution(layer: keras.layers.Conv2D) -> nn.Module:
    kernel, *bias = layer.get_weights()  # (h, w, in, out)
    height, width, channels, filters = kernel.shape
    same = height // 2, width // 2
    made = nn.Conv2d(channels, filters, (height, width), padding=same, bias=bool(bias))
    return _with_weights(made, weight=kernel.transpose(3, 2, 0, 1), **dict(zip(["bias"], bias, strict=False)))


def _transposed(layer: keras.layers.Conv2DTranspose) -> nn.Module:
    kernel, bias = layer.get_weights()  # (h, w, out, in)
    height, width, filters, channels = kernel.shape
    made = nn.ConvTranspose2d(channels, filters, (height, width), stride=layer.strides)
    return _with_weights(made, weight=kernel.transpose(3, 2, 0, 1), bias=bias)


def _batch_norm(layer: keras.layers.BatchNormalization) -> nn.Module:
    gamma, beta, mean, variance = layer.get_weights()
    made = nn.BatchNorm2d(len(gamma), eps=layer.epsilon)
    return _with_weights(made, weight=gamma, bias=beta, running_mean=mean, running_var=variance)


def _group_norm(layer: keras.layers.GroupNormalization) -> nn.Module:
    gamma, beta = layer.get_weights()
    made = nn.GroupNorm(layer.groups if layer.groups > 0 else len(gamma), len(gamma), eps=layer.epsilon)
    return _with_weights(made, weight=gamma, bias=beta)


def _activation(layer: keras.layers.Activation) -> nn.Module:
    return _ACTIVATIONS[layer.activation.__name__]()


def _doubling(layer: keras.layers.UpSampling2D) -> nn.Module:
    return nn.Upsample(scale_factor=layer.size, mode=layer.interpolation)


_ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softmax": partial(nn.Softmax, dim=1),
}

_COUNTERPARTS: Final[dict[type, Callable[[Any], nn.Module]]] = {
    keras.layers.Conv2D: _convolution,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.GroupNormalization: _group_norm,
    keras.layers.ReLU: lambda layer: nn.ReLU(inplace=True),
    keras.layers.LeakyReLU: lambda layer: nn.LeakyReLU(layer.negative_slope, inplace=True),
    keras.layers.Activation: _activation,
    keras.layers.Dropout: lambda layer: nn.Dropout(layer.rate),
    keras.layers.MaxPooling2D: lambda layer: nn.MaxPool2d(layer.pool_size),
    keras.layers.UpSampling2D: _doubling,
    keras.layers.Identity: lambda layer: nn.Identity(),
}


def _with_weights(made: nn.Module, **weights: NDArray[np.float32]) -> nn.Module:
    """All weights of a layer set; PyTorch refuses those whose shapes differ, and those that are missing."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
    if "running_mean" in tensors:
        tensors["num_batches_tracked"] = torch.tensor(0)
    made.load_state_dict(tensors)
    return made
