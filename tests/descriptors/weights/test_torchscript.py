from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.weights.torchscript import load_torchscript
from tests.descriptors.tiny import CPU, save_scripted, tiny_network


def test_a_scripted_network_gives_the_values_and_gradients_of_the_original(tmp_path: Path) -> None:
    network = tiny_network()
    scripted, _, _ = load_torchscript(save_scripted(network, tmp_path / "tiny.pt"), CPU)
    for size in (16, 24):
        inputs = torch.rand(2, 3, size, size, requires_grad=True)
        twin = inputs.detach().clone().requires_grad_(True)
        for _ in range(4):  # the profiling executor would rewrite the graph on the second call
            inputs.grad = twin.grad = None
            ours, expected = scripted(inputs), network(twin)
            ours.square().sum().backward()
            expected.square().sum().backward()
            assert torch.equal(ours, expected)
            assert inputs.grad is not None
            assert torch.equal(inputs.grad, twin.grad)


def test_the_architecture_names_the_file_content(tmp_path: Path) -> None:
    first = save_scripted(tiny_network(seed=0), tmp_path / "a.pt")
    second = save_scripted(tiny_network(seed=1), tmp_path / "b.pt")
    copy = tmp_path / "copy.pt"
    copy.write_bytes(first.read_bytes())
    architectures = [load_torchscript(path, CPU)[1] for path in (first, second, copy)]
    assert architectures[0] == architectures[2] != architectures[1]


def test_a_truncated_file_is_one_clear_error(tmp_path: Path) -> None:
    path = save_scripted(tiny_network(), tmp_path / "tiny.pt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="not a readable TorchScript file; it may be truncated"):
        load_torchscript(path, CPU)


def test_a_state_dict_is_not_torchscript(tmp_path: Path) -> None:
    torch.save(tiny_network().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="name its architecture with --model_name"):
        load_torchscript(tmp_path / "weights.pt", CPU)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pt does not exist; check --model_path"):
        load_torchscript(tmp_path / "absent.pt", CPU)


class Empty(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)[:, :0]


class Raising(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.shape[0] > 0:
            raise ValueError("no")
        return inputs


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Empty(), r"gives \(2, 0\) for 2 images, expected a tensor \(2, D\)"),
        (Raising(), "rejects a batch of 288x288"),
    ],
)
def test_a_network_that_gives_no_values_is_refused(
    network: torch.nn.Module, message: str, tmp_path: Path
) -> None:
    path = save_scripted(network, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=message):
        load_descriptor(DescriptorConfig(model_path=path), CPU)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.pt"
    os.mkfifo(path)
    for name in (None, "torchscript", "resnet18"):
        with pytest.raises(ValueError, match=r"pipe\.pt is a pipe or a device, expected a regular file"):
            load_descriptor(DescriptorConfig(model_name=name, model_path=path), CPU)
