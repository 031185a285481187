"""What disturbs a network while it trains: bands of its maps, paths that are dropped.

Draws are torch's own, which the trainer seeds for every step.
"""

from __future__ import annotations

import torch
from torch import nn

from active_indexing.extras import third_party

# [ViT4ICD]: three tenths of the rows stay, the others are magnified.
BAND, FACTOR = 0.3, 1.5
WAVE_LAYERS = ("layer2", "layer3")


def wave_block(module: nn.Module, inputs: object, maps: torch.Tensor) -> torch.Tensor | None:
    """Forward hook: magnify all rows of a map but a random band, in training.

    Args:
        module: whose output the map is.
        inputs: of it, not used.
        maps: (B, C, H, W).
    """
    if not module.training:
        return None
    height = maps.shape[2]
    band = max(1, round(height * BAND))
    top = int(torch.randint(height - band + 1, (1,)))
    factors = torch.full((height, 1), FACTOR, device=maps.device, dtype=maps.dtype)
    factors[top : top + band] = 1
    return maps * factors


def add_wave_blocks(network: nn.Module) -> None:
    """Put :func:`wave_block` behind the second and third stage of a ResNet.

    Raises:
        ValueError: if it has no such stages.
    """
    found = [module for name, module in network.named_modules() if name.removeprefix("trunk.") in WAVE_LAYERS]
    if len(found) != len(WAVE_LAYERS):
        raise ValueError(f"{type(network).__name__} has no {' and '.join(WAVE_LAYERS)} for wave blocks.")
    for module in found:
        module.register_forward_hook(wave_block)


def add_drop_path(network: nn.Module, rate: float) -> None:
    """Drop whole residual branches of a transformer of timm in training, the later the more often.

    Args:
        network: with ``trunk.blocks``.
        rate: of the last block; the first is never dropped (DeiT).

    Raises:
        ValueError: if it is no such transformer.
    """
    blocks = getattr(getattr(network, "trunk", None), "blocks", None)
    if blocks is None:
        raise ValueError(f"{type(network).__name__} is no transformer of timm with blocks to drop.")
    drop_path = third_party("timm.layers", "models").DropPath
    for number, block in enumerate(blocks):
        share = rate * number / max(1, len(blocks) - 1)
        block.drop_path1, block.drop_path2 = drop_path(share), drop_path(share)
