"""Descriptors of preprocessed images that do not depend on which others are described with them.

The size of a batch can change the last bits of a descriptor, its other images cannot: for seven networks
(ResNet-10 and 50, two ViTs, EfficientNet, ConvNeXt, MobileNetV3; torch 2.15, one thread) a row of a batch of
fixed size kept its bits whatever the other rows held and wherever it stood. So copies go through the network
in blocks of one size, the last one filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from active_indexing.descriptors.descriptor import Descriptor

# Milliseconds per image of the default descriptor on one core: 11.1 one by one, 7.2 in blocks of 4, 6.2 of
# 16; of a ResNet-50 at 288 pixels: 177, 188 and 278. A small block also wastes little on its padding.
BLOCK_ON_CPU = 4
BLOCK_ON_ACCELERATOR = 16  # the 15 attacks at once: an accelerator takes about as long for one image


def device_of(descriptor: Descriptor) -> torch.device:
    """Where the weights are."""
    return next((weight.device for weight in descriptor.parameters()), torch.device("cpu"))


def block_size(descriptor: Descriptor) -> int:
    """Images that are described together."""
    return BLOCK_ON_CPU if device_of(descriptor).type == "cpu" else BLOCK_ON_ACCELERATOR


def describe_blocks(inputs: Sequence[np.ndarray], descriptor: Descriptor) -> np.ndarray:
    """Descriptors of preprocessed images, each the same whichever others are given and in which order.

    Args:
        inputs: N arrays (3, h, w) float32; sizes may differ.
        descriptor: describes them.

    Returns:
        (N, D) float32, unit norm, in the order of ``inputs``.
    """
    size = block_size(descriptor)
    described = np.empty((len(inputs), descriptor.dim), np.float32)
    places: dict[tuple[int, ...], list[int]] = {}
    for place, pixels in enumerate(inputs):
        places.setdefault(pixels.shape, []).append(place)
    for shape, alike in places.items():
        for start in range(0, len(alike), size):
            chosen = alike[start : start + size]
            block = np.zeros((size, *shape), np.float32)
            block[: len(chosen)] = [inputs[place] for place in chosen]
            described[chosen] = describe_stack(block, descriptor)[: len(chosen)]
    return described


@torch.inference_mode()
def describe_stack(inputs: np.ndarray, descriptor: Descriptor) -> np.ndarray:
    """One pass of the network: (N, 3, h, w) float32 to (N, D) float32, unit norm."""
    return descriptor.describe(torch.from_numpy(inputs).to(device_of(descriptor))).cpu().numpy()
