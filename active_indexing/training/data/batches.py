"""Which images a step sees: a new random order of each source in every epoch, known from the step alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from active_indexing.seeding import torch_generator_for
from active_indexing.training.config import TrainingImages
from active_indexing.training.data.identities import BalancedRows, identities_of
from active_indexing.training.data.image_arrays import ImageArray, make_bank


@dataclass(frozen=True)
class Batch:
    """Images of one source in one step.

    Attributes:
        images: (B, 3, S, S) uint8.
        numbers: (B,) int64, unique over all sources: of the images, or of their identities.
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
        instances: images of each identity in a step, by the names of the images; 0 takes every image for
            itself. Then an epoch has every identity once, and numbers of a batch are those of identities.

    Raises:
        ValueError: if a source has fewer images or identities than one step takes.
    """

    def __init__(
        self, banks: list[ImageArray], counts: list[int], seed: int, world_size: int = 1, instances: int = 0
    ) -> None:
        self.banks, self.counts, self.seed, self.world_size = banks, counts, seed, world_size
        self.instances = instances
        self.identities = identities_of([bank.names() for bank in banks]) if instances else []
        self._balanced = [BalancedRows(each, instances) for each in self.identities]
        self._lengths = [len(rows.known) for rows in self._balanced] or list(map(len, banks))
        for number, (length, count) in enumerate(zip(self._lengths, counts, strict=True)):
            taken, odd = divmod(count, max(1, instances))
            if odd:
                raise ValueError(
                    f"source {number} gives {count} images per step, which is no multiple of the {instances} "
                    "of each identity."
                )
            if not 1 <= taken * world_size <= length:
                raise ValueError(
                    f"source {number} has {length} {'identities' if instances else 'images'}, but a step "
                    f"takes {taken} in each of {world_size} processes; take fewer, at least 1."
                )

    def at(self, step: int, rank: int = 0) -> list[Batch]:
        """One batch per source; a function of its arguments, so that a resumed run goes on exactly."""
        batches, first = [], 0
        for source, (bank, images) in enumerate(zip(self.banks, self.counts, strict=True)):
            length, count = self._lengths[source], images // max(1, self.instances)
            together = count * self.world_size
            epoch, part = divmod(step, length // together)
            generator = torch_generator_for(self.seed, source, f"training order {epoch}")
            order = torch.randperm(length, generator=generator)
            rows = order[part * together + rank * count :][:count]
            numbers = rows + first
            if self.instances:
                generator = torch_generator_for(self.seed, step, f"training instances {source} {rank}")
                rows = self._balanced[source].rows(rows, generator)
                numbers = self.identities[source][rows]
            batches.append(Batch(bank[rows], numbers))
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
