"""Feature maps of a network in training, caught on the way to its descriptor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.descriptors.networks.architectures import GeM


@contextmanager
def caught_maps(network: nn.Module, layer: str) -> Iterator[list[torch.Tensor]]:
    """Collect the maps of every forward pass inside the ``with``, with gradients.

    Args:
        network: any; its code is not changed.
        layer: name of the module whose output is the map, such as ``layer3`` of a ResNet or
            ``trunk.blocks.10`` of a transformer of timm; empty takes what the pooling takes in.

    Yields:
        A list that fills with (B, C, h, w) maps, or (B, tokens, C) where a transformer makes tokens.

    Raises:
        ValueError: if there is no such module, or no pooling.
    """
    maps: list[torch.Tensor] = []
    if layer:
        modules = dict(network.named_modules())
        if layer not in modules:
            known = ", ".join(name for name in modules if name and "." not in name)
            raise ValueError(f"{type(network).__name__} has no layer {layer!r}; it begins with {known}.")
        handle = modules[layer].register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    else:
        handle = _pooling(network).register_forward_pre_hook(lambda _module, inputs: maps.append(inputs[0]))
    try:
        yield maps
    finally:
        handle.remove()


def _pooling(network: nn.Module) -> Any:
    pools = [module for module in network.modules() if isinstance(module, GeM)]
    if len(pools) != 1:
        raise ValueError(
            f"{type(network).__name__} has {len(pools)} poolings of the project; name a layer for its map."
        )
    return pools[0]


def patch_tokens(values: torch.Tensor) -> tuple[torch.Tensor, int, int]:
    """Unit features of patches.

    Args:
        values: (B, C, h, w), or (B, prefix + n * n, C) with a class token or two in front.

    Returns:
        (B, h * w, C) float32 of unit norm, row by row, and h and w.

    Raises:
        ValueError: if it is neither.
    """
    if values.ndim == 4:
        height, width = values.shape[-2:]
        tokens = values.flatten(2).transpose(1, 2)
    elif values.ndim == 3:
        height = width = math.isqrt(values.shape[1])
        tokens = values[:, values.shape[1] - height * width :]
    else:
        raise ValueError(
            f"a layer gave {tuple(values.shape)}; a patch contrast needs (B, C, h, w) or (B, tokens, C)."
        )
    return F.normalize(tokens.float(), dim=2), height, width
