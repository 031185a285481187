"""Checkpoints from which a training goes on exactly, and the export of the descriptor."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.artefacts.identity import fingerprint
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.descriptor_file import Head, write_descriptor_file
from active_indexing.training.config import TrainingConfig
from active_indexing.training.optimization.weight_average import WeightAverage

FORMAT = "active_indexing.training/1"
# May differ between a checkpoint and the run that resumes it: they end or export a training, and a plateau
# is prolonged with a later decay.
FREE = ("schedule", "sizes", "test_size")


def recipe_fingerprint(config: TrainingConfig) -> str:
    """Names the settings that a resumed run must share."""
    settings = {key: value for key, value in asdict(config).items() if key not in FREE}
    if not config.sync_bn:
        del settings["sync_bn"]  # absent from older checkpoints, which did not have it
    return fingerprint(settings)


def save_checkpoint(
    path: Path,
    config: TrainingConfig,
    step: int,
    network: nn.Module,
    average: WeightAverage,
    optimizer: Optimizer,
) -> None:
    """Write all that the next step depends on; random streams depend on (seed, step) alone.

    Args:
        path: written atomically.
        config: of the run.
        step: how many were done.
        network: current weights.
        average: their moving average.
        optimizer: with its moments.
    """
    content = {
        "format": FORMAT,
        "recipe": recipe_fingerprint(config),
        "step": step,
        "network": network.state_dict(),
        "average": average.state,
        "optimizer": optimizer.state_dict(),
    }
    with atomic_file(path) as file:
        torch.save(content, file)


def load_checkpoint(
    path: Path, config: TrainingConfig, network: nn.Module, average: WeightAverage, optimizer: Optimizer
) -> int:
    """Put a checkpoint into the objects of a run.

    Returns:
        How many steps it had done.

    Raises:
        ValueError: if it is damaged, no checkpoint of ours, or of other settings.
    """
    content = _read(path)
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} is no training checkpoint of format {FORMAT}; choose another --output_dir.")
    if content["recipe"] != recipe_fingerprint(config):
        raise ValueError(
            f"{path} was written with other settings; give the settings it was started with, or another "
            "--output_dir."
        )
    network.load_state_dict(content["network"])
    optimizer.load_state_dict(content["optimizer"])
    average.state = content["average"]
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
    head = Head(backbone=config.backbone, dim=config.dim, gem_p=config.gem_p)
    network = head.build()
    network.load_state_dict(average.state)
    mean, std = (config.mean,) * 3, (config.std,) * 3
    write_descriptor_file(path, network, head, Preprocessing(config.test_size, mean=mean, std=std))
