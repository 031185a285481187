"""A network small enough for milliseconds, and files of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

CPU = torch.device("cpu")


class TinyNetwork(nn.Module):
    """(B, 3, h, w) to (B, dim): one convolution, mean over positions, one linear layer."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, dim)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.norm(self.conv(inputs))).mean(dim=(2, 3)))


def tiny_network(seed: int = 0, dim: int = 8) -> TinyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyNetwork(dim).eval()


def save_scripted(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        # Writing TorchScript is deprecated; reading it is what is tested.
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(network).save(str(path))
    return path
