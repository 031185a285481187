from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.preprocessing import Preprocessing
from tests.descriptors.tiny import TinyNetwork, tiny_network


def describe_with(network: nn.Module, size: int = 16, architecture: str = "tiny") -> Descriptor:
    return Descriptor(network, Preprocessing(size), model="tiny", architecture=architecture)


class Lambda(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: torch.Tensor) -> object:
        return self.function(inputs)


def test_descriptors_are_unit_float32_vectors_whatever_the_network_gives(
    pixels: torch.Tensor,
) -> None:
    double = Lambda(lambda inputs: 40 * inputs.mean(dim=(2, 3)).double())
    descriptors = describe_with(double)(pixels)
    assert descriptors.dtype == torch.float32
    assert descriptors.shape == (3, 3)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))


def test_forward_is_describe_after_preprocessing(pixels: torch.Tensor) -> None:
    descriptor = describe_with(tiny_network())
    inputs = descriptor.preprocessing(pixels)
    assert torch.equal(descriptor(pixels), descriptor.describe(inputs))


def test_name_and_dimension_are_known_after_construction() -> None:
    descriptor = describe_with(tiny_network(dim=5))
    assert (descriptor.name, descriptor.dim) == ("tiny@square16", 5)


def test_gradients_flow_to_the_pixels_and_not_to_the_weights(pixels: torch.Tensor) -> None:
    descriptor = describe_with(tiny_network())
    moving = pixels.requires_grad_(True)
    descriptor(moving)[:, 0].sum().backward()
    assert moving.grad is not None
    assert (moving.grad.abs() > 0).any()
    assert all(not weight.requires_grad for weight in descriptor.parameters())


def test_asking_for_training_mode_leaves_batch_statistics_alone(pixels: torch.Tensor) -> None:
    descriptor = describe_with(tiny_network())
    before = descriptor(pixels)
    descriptor.train()
    assert torch.equal(descriptor(pixels), before)
    assert torch.equal(descriptor.network.norm.running_mean, torch.zeros(6))  # type: ignore


def test_the_fingerprint_changes_with_weights_preprocessing_and_architecture() -> None:
    network = tiny_network()
    base = describe_with(network).fingerprint
    assert describe_with(tiny_network()).fingerprint == base
    assert describe_with(network, size=17).fingerprint != base
    assert describe_with(network, architecture="other").fingerprint != base
    with torch.no_grad():
        network.norm.running_var[3] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert describe_with(network).fingerprint != base


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    # Recorded by this test in another process; a change makes every stored index foreign to its descriptor.
    network = TinyNetwork()
    for weight in network.parameters():
        nn.init.constant_(weight, 0.25)
    assert describe_with(network).fingerprint == (
        "4f8085c6755c3ca240afa08e5065a5f1edc453f0c19cb74f4c4c179f37d9e711"
    )


def test_a_network_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gives \(2, 3, 16, 16\) for 2 images, expected .*\(2, D\)"):
        describe_with(Lambda(lambda inputs: inputs))


def test_a_network_of_several_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="gives tuple for 2 images"):
        describe_with(Lambda(lambda inputs: (inputs, inputs)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_with_damaged_weights_is_refused(value: float) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.fc.bias[2] = value
    with pytest.raises(ValueError, match="not all finite numbers; its weights are damaged"):
        describe_with(network)


def test_a_network_of_integers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gives torch\.int64 values"):
        describe_with(Lambda(lambda inputs: inputs.mean(dim=(2, 3)).long()))


def test_a_network_made_for_another_size_is_refused_with_the_flag_to_pass() -> None:
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    with pytest.raises(ValueError, match=r"tiny@square16 rejects .* 16x16 .*--resize_size"):
        describe_with(fixed)
    assert describe_with(fixed, size=8).dim == 4
