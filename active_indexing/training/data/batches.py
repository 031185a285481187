"""Which images a step sees: a new random order of each source in every epoch, known from the step alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from active_indexing.seeding import torch_generator_for
from active_indexing.training.config import TrainingImages
from active_indexing.training.data.image_arrays import ImageArray, make_bank


@dataclass(frozen=True)
class Batch:
    """Images of one source in one step.

    Attributes:
        images: (B, 3, S, S) uint8.
        numbers: (B,) int64, unique over all sources.
    """

    images: torch.Tensor
    numbers: torch.Tensor


class Batches:
    """All sources together.

    Args:
        banks: one per source.
        counts: images of each per process and step.
        seed: of the order.
        world_size: number of processes, which share out every epoch.

    Raises:
        ValueError: if a source has fewer images than one step takes.
    """

    def __init__(self, banks: list[ImageArray], counts: list[int], seed: int, world_size: int = 1) -> None:
        for number, (bank, count) in enumerate(zip(banks, counts, strict=True)):
            if not 1 <= count * world_size <= len(bank):
                raise ValueError(
                    f"source {number} has {len(bank)} images, but a step takes {count} in each of "
                    f"{world_size} processes; take fewer, at least 1."
                )
        self.banks, self.counts, self.seed, self.world_size = banks, counts, seed, world_size

    def at(self, step: int, rank: int = 0) -> list[Batch]:
        """One batch per source; a function of its arguments, so that a resumed run goes on exactly."""
        batches, first = [], 0
        for source, (bank, count) in enumerate(zip(self.banks, self.counts, strict=True)):
            together = count * self.world_size
            epoch, part = divmod(step, len(bank) // together)
            generator = torch_generator_for(self.seed, source, f"training order {epoch}")
            order = torch.randperm(len(bank), generator=generator)
            rows = order[part * together + rank * count :][:count]
            batches.append(Batch(bank[rows], rows + first))
            first += len(bank)
        return batches


def open_banks(sources: tuple[TrainingImages, ...], folder: Path) -> list[ImageArray]:
    """Banks of the sources, kept in ``folder`` for the next run.

    Args:
        sources: where images come from.
        folder: for the arrays; their names hold edge and limit.

    Raises:
        FileNotFoundError: if a source does not exist and was never read.
        ValueError: if it holds no readable image.
    """
    banks = []
    for source in sources:
        limit = "" if source.limit is None else f"-{source.limit}"
        path = folder / f"{source.path.stem}-{source.edge}px{limit}.npy"
        if not path.exists():
            for reason in make_bank(source.path, path, source.edge, source.limit):
                print(f"left out {reason}")
        banks.append(ImageArray(path))
    return banks
