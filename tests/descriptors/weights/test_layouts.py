from __future__ import annotations

import pytest
import torch
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.descriptors.weights.layouts import (
    classy_to_torchvision,
    is_classy,
    isc,
    sscd,
    sscd_projection,
    vit4icd,
)
from tests.descriptors.made_up import classy_keys

ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("classy", "torchvision"),
    [
        ("initial_block._module.0.weight", "conv1.weight"),
        ("initial_block._module.1.running_var", "bn1.running_var"),
        ("blocks.0.block0-0.convolutional_block.0.weight", "layer1.0.conv1.weight"),
        ("blocks.2.block2-22.convolutional_block.4.bias", "layer3.22.bn2.bias"),
        ("blocks.3.block3-1.convolutional_block.6.weight", "layer4.1.conv3.weight"),
        ("blocks.1.block1-3.bn.num_batches_tracked", "layer2.3.bn3.num_batches_tracked"),
        ("blocks.1.block1-0.downsample.1.weight", "layer2.0.downsample.1.weight"),
        ("blocks.1.0._module.convolutional_block.3.weight", "layer2.0.conv2.weight"),
        ("embeddings.1.bias", "fc.bias"),
    ],
)
def test_each_kind_of_key_of_the_published_table(classy: str, torchvision: str) -> None:
    bottleneck = "blocks.9.block9-9.convolutional_block.6.weight"
    assert torchvision in classy_to_torchvision({classy: ONE, bottleneck: ONE})


def test_the_last_norm_of_a_basic_block_is_its_second() -> None:
    assert list(classy_to_torchvision({"blocks.0.block0-1.bn.weight": ONE})) == ["layer1.1.bn2.weight"]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnext101_32x4d"])
def test_every_key_of_every_trunk_comes_back_with_its_own_tensor(backbone: str, old: bool) -> None:
    with torch.device("meta"):
        network: nn.Module = build_network(backbone, 16)
    names = classy_keys(network.state_dict(), old=old)
    state = {
        name.removeprefix("backbone."): torch.tensor(number) for number, name in enumerate(names.values())
    }
    assert is_classy(state)
    assert sscd(state) == {key: number for number, key in enumerate(names)}


def test_unknown_keys_are_kept_so_that_strict_loading_names_them() -> None:
    keys = ["blocks.0.block0-0.convolutional_block.7.weight", "blocks.0.other", "heads.fc.weight"]
    assert list(classy_to_torchvision(dict.fromkeys(keys, ONE))) == [
        "layer1.0.convolutional_block.7.weight",
        "blocks.0.other",
        "heads.fc.weight",
    ]


def test_a_torchvision_layout_stays_as_it_is() -> None:
    state = {"conv1.weight": ONE, "fc.bias": ONE}
    assert sscd(state) == state


def test_isc_keys_get_their_trunk_back() -> None:
    state = isc({"conv_stem.weight": ONE, "bn1.bias": ONE, "bn.bias": ONE, "fc.weight": ONE})
    assert list(state) == ["backbone.conv_stem.weight", "backbone.bn1.bias", "bn.bias", "fc.weight"]


@pytest.mark.parametrize(
    ("keys", "dim"),
    [
        (["backbone.conv1.weight", "backbone.fc.weight"], 24),
        (["backbone.initial_block._module.0.weight", "embeddings.1.weight"], 24),
        (["backbone.conv1.weight"], None),  # DINO's, and others that only wrap their trunk
        (["conv1.weight", "fc.weight"], None),  # torchvision's own
        (["backbone.fc.weight", "head.weight"], None),
    ],
)
def test_sscd_files_are_known_by_their_projection(keys: list[str], dim: int | None) -> None:
    assert sscd_projection(dict.fromkeys(keys, torch.ones(24, 3))) == dim


def test_vit4icd_keys_lose_the_sequence_around_the_trunk() -> None:
    state = {"base.0.blocks.0.norm1.weight": ONE, "linear.bias": ONE}
    assert list(vit4icd(state)) == ["base.blocks.0.norm1.weight", "linear.bias"]
