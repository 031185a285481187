"""How well the averaged weights find the originals of edited images that training never saw."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.metrics.retrieval import micro_average_precision
from active_indexing.seeding import torch_generator_for
from active_indexing.training.data.image_arrays import ImageArray
from active_indexing.training.trainer import Trainer

# Images described at once; bounds memory, and changes nothing else.
CHUNK = 256


def validate(trainer: Trainer, bank: ImageArray, size: int) -> dict[str, float]:
    """Search one edited view of each held-out image among all of them, clean.

    The edits are the recipe's own, from a fixed stream, so that all validations of a training compare.

    Args:
        trainer: its averaged weights are judged.
        bank: held-out images, at least two.
        size: of the views, pixels.

    Returns:
        ``val_R@1`` and ``val_uAP`` (each query's nearest original, one ranking of all).
    """
    network = copy.deepcopy(trainer.network).eval()
    network.load_state_dict(trainer.average.state)
    originals, queries = [], []
    for start in range(0, len(bank), CHUNK):
        images = bank[torch.arange(start, min(start + CHUNK, len(bank)))].to(trainer.device)
        generator = torch_generator_for(trainer.config.seed, start, "validation views")
        clean = F.interpolate(images.float() / 255, (size, size), mode="bilinear", antialias=True)
        edited = trainer.edits.edited_views(images, size, generator)
        originals.append(_describe(trainer, network, clean))
        queries.append(_describe(trainer, network, edited))
    similarities = torch.cat(queries) @ torch.cat(originals).T
    scores, found = similarities.max(dim=1)
    correct = found == torch.arange(len(bank), device=found.device)
    average_precision = micro_average_precision(scores.cpu().numpy(), correct.cpu().numpy(), len(bank))
    return {"val_R@1": float(np.mean(correct.cpu().numpy())), "val_uAP": average_precision}


@torch.inference_mode()
def _describe(trainer: Trainer, network: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    return F.normalize(network(trainer.student.inputs(pixels)).float(), dim=1)
