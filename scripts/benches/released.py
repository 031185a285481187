"""Arms that were released, for benches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from active_indexing.attacks.registry import default_attacks
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.images.inventory import inventory
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.threads import map_in_order, one_core_per_operation
from active_indexing.records import SourceImage
from active_indexing.release.image import ImageReleaser, Released
from active_indexing.release.names import released_names
from scripts.benches.outcomes import described_copies

ATTACKS = default_attacks()


@dataclass(frozen=True, eq=False)
class Arm:
    """Released images and their attacked copies.

    Attributes:
        ids: (N,) int64.
        paths: the released files.
        entries: (N, K, D) float32, the method's first.
        copies: (N, A, D) float32 descriptors, ``nan`` where an attack failed.
    """

    ids: np.ndarray
    paths: list[Path]
    entries: np.ndarray
    copies: np.ndarray


def made_arm(config: RunConfig, descriptor: Descriptor, index: VectorIndex, workers: int) -> Arm:
    """Release and attack the images of ``config.data_dir``; those that can't be released are left out.

    Raises:
        ValueError: none of them can be released.
    """
    sources = inventory(config.data_dir)
    names = released_names(sources, {})
    releaser = ImageReleaser(config.release, config.activation, descriptor, index, config.output_dir)

    def one(source: SourceImage) -> Released:
        return releaser.release(source, names[source.id])

    with one_core_per_operation():
        released = [r for r in map_in_order(one, sources, max(1, workers)) if r.entries is not None]
        if not released:
            raise ValueError(f"none of the images in {config.data_dir} could be released.")
        ids = [each.row.id for each in released]
        paths = [config.output_dir.parent / each.row.released for each in released]
        copies = described_copies(list(zip(ids, paths, strict=True)), ATTACKS, descriptor, workers)
    entries = np.stack([each.entries for each in released if each.entries is not None])
    return Arm(np.array(ids), paths, entries, copies)
