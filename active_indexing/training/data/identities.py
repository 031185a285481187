"""Which images show the same thing, by their names, and balanced batches of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import torch

# ``17_3.jpg``: the fourth picture of identity 17, as ViT4ICD's training set is named.
_NAME = re.compile(r"(\d+)_.+")


def identities_of(names: Sequence[Sequence[str]]) -> list[torch.Tensor]:
    """Identities of the images of every source, numbered from 0 over all sources.

    Args:
        names: of the images, ``<identity>_<anything>.<ending>``, by source; folders before them are ignored.

    Returns:
        (N,) int64 of every source.

    Raises:
        ValueError: if a name does not begin so.
    """
    written = [[_identity(name) for name in source] for source in names]
    numbers = {identity: number for number, identity in enumerate(sorted(set().union(*written)))}
    return [torch.tensor([numbers[identity] for identity in source]) for source in written]


def _identity(name: str) -> int:
    match = _NAME.fullmatch(PurePath(name).stem)
    if match is None:
        raise ValueError(
            f"the image {name} has no identity in its name; this recipe needs <number>_<anything>, such as "
            "17_3.jpg, the same number for every picture of the same thing."
        )
    return int(match[1])


class BalancedRows:
    """Batches with the same number of images of every identity in them.

    Args:
        identities: (N,) int64 of one source.
        instances: of each identity in a step; an identity with fewer images repeats them.

    Attributes:
        known: (I,) int64, the identities there are.
    """

    def __init__(self, identities: torch.Tensor, instances: int) -> None:
        self.instances = instances
        self._order = identities.argsort(stable=True)
        self.known, self._counts = identities[self._order].unique_consecutive(return_counts=True)
        self._starts = self._counts.cumsum(0) - self._counts

    def rows(self, places: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Rows of some identities.

        Args:
            places: (n,) int64, positions in ``known``.
            generator: of the choice among the images of an identity.

        Returns:
            (n * instances,) int64, identity by identity.
        """
        chosen = []
        for place in places.tolist():
            count = int(self._counts[place])
            if count >= self.instances:
                picks = torch.randperm(count, generator=generator)[: self.instances]
            else:
                picks = torch.randint(count, (self.instances,), generator=generator)
            chosen.append(self._order[int(self._starts[place]) + picks])
        return torch.cat(chosen)
