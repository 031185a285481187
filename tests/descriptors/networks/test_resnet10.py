from __future__ import annotations

import pytest
import torch
from torchvision.models.resnet import BasicBlock, ResNet

from active_indexing.descriptors.networks.resnet10 import ResNet10


@pytest.mark.parametrize("zero", [False, True])
def test_it_is_torchvisions_network_to_the_bit(zero: bool) -> None:
    torch.manual_seed(3)
    theirs = ResNet(BasicBlock, [1, 1, 1, 1], zero_init_residual=zero)
    torch.manual_seed(3)
    ours = ResNet10(zero_init_residual=zero)
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    for name, values in ours.state_dict().items():
        assert torch.equal(values, expected[name]), name
    inputs = torch.randn(2, 3, 70, 96)
    for mode in (True, False):  # batch statistics, then the running ones that they left
        assert torch.equal(ours.train(mode)(inputs), theirs.train(mode)(inputs))


def test_gradients_are_torchvisions_too() -> None:
    torch.manual_seed(4)
    theirs, ours = ResNet(BasicBlock, [1, 1, 1, 1]).eval(), ResNet10().eval()
    ours.load_state_dict(theirs.state_dict())
    inputs = torch.randn(1, 3, 64, 64)
    gradients = []
    for network in (theirs, ours):
        pixels = inputs.clone().requires_grad_()
        network(pixels).square().sum().backward()
        gradients.append(pixels.grad)
    assert torch.equal(*gradients)
