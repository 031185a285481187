"""Weights that a training begins with."""

from dataclasses import replace

import pytest
import torch

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.checkpoints import export_descriptor
from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.margin import MarginConfig
from active_indexing.training.optimization.schedules import Schedule
from active_indexing.training.start import started_network
from active_indexing.training.trainer import build_trainer

CPU = torch.device("cpu")
SMALL = TrainingConfig(backbone="test_resnet", dim=8, edits="plain", schedule=Schedule(steps=2))
STAGE = replace(SMALL, objective=MarginConfig(classes=5))


def same(one, other, keys=None):
    first, second = one.state_dict(), other.state_dict()
    return all(torch.equal(first[key], second[key]) for key in keys or first)


def test_a_checkpoint_gives_its_average_with_all_heads(tmp_path):
    path = tmp_path / "checkpoint.pt"
    trainer = build_trainer(STAGE, CPU)
    trainer.average.state = {key: value + 1 for key, value in trainer.average.state.items()}
    trainer.save(path)
    network = started_network(replace(STAGE, seed=3), path)
    assert all(torch.equal(value, trainer.average.state[key]) for key, value in network.state_dict().items())
    with pytest.raises(ValueError, match="checkpoint"):
        started_network(replace(STAGE, objective=MarginConfig(classes=6)), path)


def test_the_weights_of_a_trunk_go_under_every_wrapper_and_heads_are_drawn(tmp_path):
    path = tmp_path / "barlow_twins.pth"
    trunk = build_network("test_resnet", 3).trunk
    torch.save({"state_dict": trunk.state_dict()}, path)
    network = started_network(STAGE, path)
    assert same(trunk, network.trunk.trunk)
    assert same(network, started_network(STAGE, path))  # in every process
    torch.save(build_network("resnet10", 3).state_dict(), path)
    with pytest.raises(ValueError, match=r"lacks \d+ weights of the trunk, such as trunk.trunk.conv1"):
        started_network(STAGE, path)


def test_a_descriptor_of_one_head_starts_a_training_of_one_head_only(tmp_path):
    path = tmp_path / "descriptor.pt"
    export_descriptor(path, SMALL, build_trainer(SMALL, CPU).average)
    assert started_network(SMALL, path).fc.weight.shape == (8, 96)
    with pytest.raises(ValueError, match=r"holds one head, and this recipe trains more; begin with the"):
        started_network(STAGE, path)
