"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """a <- d*a + (1-d)*w after each step, with d = min(decay, (1 + step) / (10 + step)).

    The small decay of the first steps (as in TensorFlow's ``ExponentialMovingAverage``) forgets the random
    start. Batch norm statistics are averaged like weights; counters are copied.

    Args:
        network: copied at the start.
        decay: d of late steps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of the weight average must be in [0, 1), got {decay}.")
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take the weights after ``step`` (from 0) into the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)
