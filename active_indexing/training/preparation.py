"""Before the first step: a teacher's rows of all originals, and a student's head that starts near them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.training.data.image_arrays import ImageArray
from active_indexing.training.objectives.interface import Teacher
from active_indexing.training.objectives.teacher_rows import compressed, ridge_head

ROWS = "teacher_rows.npy"
CHUNK = 64  # images at once; bounds memory
HEAD_IMAGES = 8192  # of all sources, evenly; enough for 512 inputs


def make_rows(path: Path, banks: list[ImageArray], teacher: Teacher, dim: int) -> None:
    """Write the bank of a :class:`~active_indexing.training.objectives.teacher_bank.TeacherBank`.

    Args:
        path: the ``.npy`` file, written atomically.
        banks: all sources, in the order of their numbers.
        teacher: frozen.
        dim: of the student.
    """
    total = sum(map(len, banks))
    features = []
    with tqdm(total=total, unit="image", desc="teacher", disable=None) as bar:
        for bank in banks:
            for rows in torch.arange(len(bank)).split(CHUNK):
                features.append(F.normalize(teacher(bank[rows].float() / 255), dim=1).cpu())
                bar.update(len(rows))
    with atomic_file(path) as file:
        np.save(file, compressed(torch.cat(features), dim).numpy())


@torch.no_grad()
def fit_head(
    network: nn.Module, banks: list[ImageArray], rows: torch.Tensor, size: int, mean: float, std: float
) -> None:
    """Replace the last layer of a started network by ridge regression onto the rows, in place.

    Its weights keep their root mean square: a smaller layer would turn faster under AdamW, and lose what was
    fitted within a few steps.

    Args:
        network: ends in a linear layer ``fc``; in evaluation mode afterwards.
        banks: all sources.
        rows: (images of all sources, D).
        size: of the inputs, pixels.
        mean: of the inputs.
        std: of the inputs.

    Raises:
        ValueError: if it ends in anything else.
    """
    head = getattr(network, "fc", None)
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{type(network).__name__} has no last layer fc to fit; use --no-fit_head.")
    network.eval()
    network.fc = nn.Identity()
    features, numbers = [], []
    for first, bank, chosen in _spread(banks):
        for part in chosen.split(CHUNK):
            pixels = F.interpolate(bank[part].float() / 255, (size, size), mode="bilinear", antialias=True)
            inputs = ((pixels - mean) / std).to(head.weight.device)
            features.append(network(inputs).float().cpu())
            numbers.append(part + first)
    weight, bias = ridge_head(torch.cat(features), rows[torch.cat(numbers)])
    scale = head.weight.square().mean().sqrt() / weight.square().mean().sqrt()
    head.weight.copy_(weight * scale)
    head.bias.copy_(bias * scale)
    network.fc = head


def _spread(banks: list[ImageArray]) -> list[tuple[int, ImageArray, torch.Tensor]]:
    """First number, bank and chosen rows of every source: all of small ones, evenly spaced of large ones."""
    result, first, share = [], 0, HEAD_IMAGES // len(banks)
    for bank in banks:
        step = max(1, len(bank) // share)
        result.append((first, bank, torch.arange(0, len(bank), step)[: max(share, 1)]))
        first += len(bank)
    return result
