"""A descriptor and indexes of milliseconds for the tests of the engine."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.interface import ActivationContext, ActivationJob
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.images import tensors
from active_indexing.index.vector_index import VectorIndex, new_index
from tests.conftest import pattern

DIM = 8
SIZE = 16  # pixels, the descriptor's input


class Network(nn.Module):
    """(B, 3, h, w) to (B, 8): a grid of means behind one odd layer, so that descriptors point every way."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv = nn.Conv2d(3, 6, 5, stride=2, padding=2, bias=False)
            self.last = nn.Linear(6 * 9, DIM, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(F.adaptive_avg_pool2d(torch.tanh(self.conv(inputs)), 3).flatten(1))


def descriptor(resize: Literal["square", "short_edge"] = "square") -> Descriptor:
    network = Network().eval().requires_grad_(False)
    return Descriptor(network, Preprocessing(SIZE, resize), model="tiny", architecture="tiny")


def picture(seed: int = 0, height: int = 40, width: int = 30) -> np.ndarray:
    """(height, width, 3) uint8, also of sizes too small for a pattern."""
    whole = pattern(np.random.default_rng(seed), max(height, 8), max(width, 8))
    return np.ascontiguousarray(whole[:height, :width])


@torch.no_grad()
def described(view: np.ndarray, by: Descriptor) -> np.ndarray:
    return by(tensors.to_tensor(view)[None])[0].numpy()


def units(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def index_of(factory: str = "IVF8,PQ4x4np", metric: str = "L2", entries: int = 200) -> VectorIndex:
    """Trained on descriptors that point every way, and filled with some of them."""
    index = new_index(factory, metric, DIM)
    if index.needs_training:
        index.train(units(400, 0))
    if entries:
        index.add(units(entries, 1), np.arange(entries))
    return index


QUICK = ActivationConfig(iterations=4, views=2, entry_views=4)


def context(
    index: VectorIndex | None = None, config: ActivationConfig = QUICK, **more: Any
) -> ActivationContext:
    return ActivationContext(descriptor(more.pop("resize", "square")), index or index_of(), config, **more)


def job(
    view: np.ndarray, number: int = 0, alpha: np.ndarray | None = None, by: Descriptor | None = None
) -> ActivationJob:
    return ActivationJob(number, view, alpha, described(view, by or descriptor()))
