"""Weights that a training begins with: a descriptor, the stage before, or a trunk trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from active_indexing.descriptors.weights.checkpoints import (
    find_state_dict,
    load_strictly,
    read_checkpoint,
)
from active_indexing.descriptors.weights.descriptor_file import is_descriptor_file, parse_descriptor_file
from active_indexing.training.config import TrainingConfig

# Parts that a trunk trained elsewhere does not have; they keep the weights that were drawn.
HEADS = {
    "fc",
    "classifier",
    "projection",
    "projector",
    "projection_norm",
    "feature_norm",
    "feature_classes",
    "descriptor_classes",
    "avgpool",
    "pool",
}


def started_network(config: TrainingConfig, path: Path) -> nn.Module:
    """The network of a training at step 0.

    Args:
        config: of the training.
        path: ``descriptor.pt`` of a training with one head; ``checkpoint.pt`` of any, whose averaged weights
            are taken, classifiers too; or the weights of a trunk under torchvision's or timm's names.

    Returns:
        On the CPU, the same in every process.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds another architecture than the recipe's.
    """
    content = read_checkpoint(path)
    if is_descriptor_file(content):
        return _of_descriptor(config, content, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = config.objective.build_network(config.backbone, config.dim, config.gem_p)
    written = content.get("format") if isinstance(content, Mapping) else None
    if isinstance(written, str) and written.startswith("active_indexing.training/"):
        load_strictly(network, content["average"], source=str(path))
    else:
        _load_trunk(network, find_state_dict(content, path), path)
    return network


def _of_descriptor(config: TrainingConfig, content: Mapping[str, Any], path: Path) -> nn.Module:
    network, head, _ = parse_descriptor_file(content, path)
    wanted = (config.backbone, config.dim, config.gem_p)
    if (head.backbone, head.dim, head.gem_p) != wanted:
        raise ValueError(
            f"{path} is a {head.backbone} with {head.dim} values and p = {head.gem_p:g}; "
            f"the recipe trains a {wanted[0]} with {wanted[1]} values and p = {wanted[2]:g}."
        )
    if type(config.objective.build_network(*wanted)) is not type(network):
        raise ValueError(
            f"{path} holds one head, and this recipe trains more; begin with the checkpoint.pt beside it, or "
            "with the weights of a trunk."
        )
    return network


def _load_trunk(network: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    own = network.state_dict()
    found = {key: match for key, value in own.items() if (match := _match(key, value, state)) is not None}
    absent = [key for key in own if key not in found and not HEADS & set(key.split("."))]
    if absent or not found:
        raise ValueError(
            f"{path} is neither a descriptor file nor a checkpoint of a training, and lacks {len(absent)} "
            f"weights of the trunk, such as {(absent or list(own))[0]}; check --start and --backbone."
        )
    network.load_state_dict(found, strict=False)


def _match(key: str, value: torch.Tensor, state: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """The tensor of the same shape whose key is the end of ours: wrappers put names in front."""
    parts = key.split(".")
    endings = (".".join(parts[first:]) for first in range(len(parts)))
    return next((state[end] for end in endings if end in state and state[end].shape == value.shape), None)
