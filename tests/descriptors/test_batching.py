"""Descriptors that do not depend on what is described with them."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from active_indexing.descriptors.batching import block_size, describe_blocks, describe_stack
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.preprocessing import Preprocessing


def resnet10() -> nn.Module:
    blocks = torchvision.models.resnet.BasicBlock
    return torchvision.models.ResNet(blocks, [1, 1, 1, 1], num_classes=64)


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=0)


@pytest.fixture(scope="module", params=[resnet10, vit])
def descriptor(request: pytest.FixtureRequest) -> Descriptor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = request.param()
    return Descriptor(network, Preprocessing(64), model="made_up", architecture="made_up")


@pytest.fixture
def inputs() -> list[np.ndarray]:
    return list(np.random.default_rng(0).standard_normal((11, 3, 64, 64), dtype=np.float32))


def test_a_descriptor_keeps_its_bits_in_any_company_and_any_order(
    descriptor: Descriptor, inputs: list[np.ndarray]
) -> None:
    together = describe_blocks(inputs, descriptor)
    rng = np.random.default_rng(1)
    for count in (1, 2, 5, 10):
        chosen = rng.permutation(11)[:count]
        described = describe_blocks([inputs[place] for place in chosen], descriptor)
        np.testing.assert_array_equal(described, together[chosen])


def test_a_descriptor_keeps_its_bits_beside_numbers_that_are_not_finite(
    descriptor: Descriptor, inputs: list[np.ndarray]
) -> None:
    broken = [np.full_like(inputs[0], np.nan), *inputs[1:3]]
    expected = describe_blocks(inputs[1:3], descriptor)
    np.testing.assert_array_equal(describe_blocks(broken, descriptor)[1:], expected)


def test_blocks_are_the_networks_own_descriptors(descriptor: Descriptor, inputs: list[np.ndarray]) -> None:
    one_by_one = np.concatenate([describe_stack(pixels[None], descriptor) for pixels in inputs])
    np.testing.assert_allclose(describe_blocks(inputs, descriptor), one_by_one, atol=1e-5)


class Noted(nn.Module):
    """Mean colour; notes the shapes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(inputs.shape))
        return inputs.mean(dim=(2, 3))


def test_every_pass_holds_one_block_of_one_size_of_image() -> None:
    network = Noted()
    descriptor = Descriptor(network, Preprocessing(8), model="noted", architecture="noted")
    network.shapes.clear()
    rng = np.random.default_rng(0)
    sizes = [(8, 8), (8, 12), (8, 8), (12, 8), (8, 8), (8, 8), (8, 8), (8, 12)]
    inputs = [rng.random((3, *size), dtype=np.float32) for size in sizes]
    described = describe_blocks(inputs, descriptor)
    block = block_size(descriptor)
    assert sorted(network.shapes) == sorted([(block, 3, 8, 8)] * 2 + [(block, 3, 8, 12), (block, 3, 12, 8)])
    for pixels, row in zip(inputs, described, strict=True):
        mean = pixels.mean(axis=(1, 2))
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=1e-5)


def test_nothing_gives_no_row() -> None:
    descriptor = Descriptor(Noted(), Preprocessing(8), model="noted", architecture="noted")
    assert describe_blocks([], descriptor).shape == (0, 3)
