"""Checkpoints from which a training goes on exactly, and the export of the descriptor."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.artefacts.identity import fingerprint
from active_indexing.descriptors.networks.architectures import GeM
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.descriptor_file import Head, write_descriptor_file
from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.interface import Objective
from active_indexing.training.objectives.sscd import SSCDConfig
from active_indexing.training.optimization.weight_average import WeightAverage

FORMAT = "active_indexing.training/2"
FIRST_FORMAT = "active_indexing.training/1"  # SSCD's objective alone, which keeps nothing between steps
# May differ between a checkpoint and the run that resumes it: they end or export a training, and a plateau
# is prolonged with a later decay.
FREE = ("schedule", "sizes", "test_size")
# Came after the first checkpoints of this format, which are of trainings with these defaults.
LATER = {"instances": 0, "spare_vectors": False, "eval_mode": False, "grey": False}


class Parts(NamedTuple):
    """What changes from step to step.

    Attributes:
        network: current weights.
        average: their moving average.
        optimizer: with its moments.
        objective: with its queues and slow networks.
    """

    network: nn.Module
    average: WeightAverage
    optimizer: Optimizer
    objective: Objective


def recipe_fingerprint(config: TrainingConfig) -> str:
    """Names the settings that a resumed run must share."""
    settings = _fixed(config)
    return fingerprint(settings | {"objective_type": type(config.objective).__name__})


def _fixed(config: TrainingConfig) -> dict[str, Any]:
    """Settings that a resumed run must share, by name."""
    settings = {key: value for key, value in asdict(config).items() if key not in FREE}
    return {key: value for key, value in settings.items() if key not in LATER or value != LATER[key]}


def first_recipe_fingerprint(config: TrainingConfig) -> str | None:
    """The same of checkpoints of the first format, which had SSCD's two settings beside the others."""
    if not isinstance(config.objective, SSCDConfig):
        return None
    settings = _fixed(config)
    if not config.sync_bn:
        del settings["sync_bn"]  # absent from older checkpoints, which did not have it
    objective = settings.pop("objective")
    return fingerprint(settings | objective)


def save_checkpoint(path: Path, config: TrainingConfig, step: int, parts: Parts) -> None:
    """Write all that the next step depends on; random streams depend on (seed, step) alone.

    Args:
        path: written atomically.
        config: of the run.
        step: how many were done.
        parts: of the run.
    """
    content = {
        "format": FORMAT,
        "recipe": recipe_fingerprint(config),
        "step": step,
        "network": parts.network.state_dict(),
        "average": parts.average.state,
        "optimizer": parts.optimizer.state_dict(),
        "objective": parts.objective.state_dict(),
    }
    with atomic_file(path) as file:
        torch.save(content, file)


def load_checkpoint(path: Path, config: TrainingConfig, parts: Parts) -> int:
    """Put a checkpoint into the objects of a run.

    Returns:
        How many steps it had done.

    Raises:
        ValueError: if it is damaged, no checkpoint of ours, or of other settings.
    """
    content = _read(path)
    written = content.get("format")
    if written not in (FORMAT, FIRST_FORMAT):
        raise ValueError(f"{path} is no training checkpoint of format {FORMAT}; choose another --output_dir.")
    wanted = recipe_fingerprint(config) if written == FORMAT else first_recipe_fingerprint(config)
    if content["recipe"] != wanted:
        raise ValueError(
            f"{path} was written with other settings; give the settings it was started with, or another "
            "--output_dir."
        )
    parts.network.load_state_dict(content["network"])
    parts.optimizer.load_state_dict(content["optimizer"])
    parts.objective.load_state_dict(content.get("objective", {}))
    parts.average.state = content["average"]
    return int(content["step"])


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"the checkpoint {path} can't be read; delete it to start the training again."
        ) from error
    return content


def export_descriptor(path: Path, config: TrainingConfig, average: WeightAverage) -> None:
    """Write the averaged weights as a descriptor file with 16-bit weights.

    Args:
        path: e.g. ``descriptor.pt``.
        config: names the architecture, the normalisation and the input size.
        average: the weights.
    """
    trained = config.objective.build_network(config.backbone, config.dim, config.gem_p)
    trained.load_state_dict(average.state)
    deployed = config.objective.deployed(trained)
    pooling = next((module.p for module in deployed.modules() if isinstance(module, GeM)), config.gem_p)
    head = Head(backbone=config.backbone, dim=config.dim, gem_p=pooling)
    mean, std = (config.mean,) * 3, (config.std,) * 3
    preprocessing = Preprocessing(config.test_size, mean=mean, std=std, grey=config.grey)
    write_descriptor_file(path, deployed, head, preprocessing)
