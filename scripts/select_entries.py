"""Choose the edits whose descriptors make the entries of an image, for ``entries.ENTRY_EDITS``.

    python scripts/select_entries.py --data_dir photos_200_299

Releases the photos in the active arm with the default settings, attacks them (the 15 attacks) and takes,
again and again, the candidate that adds most to the mean R@1 of the embedded index at nprobe 1, given the
entries taken so far. Every entry has the same size, so this is the most recall per byte. Prints the edits in
the order they were taken, with the recall reached and the gain.

Nothing is added to an index: at nprobe 1 an entry competes for a copy when both lie in one cell, at the
distance between the copy and what the index remembers of the entry.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from active_indexing.activation.entries import ENTRY_EDITS, EntryEdit, described_edits
from active_indexing.activation.interface import ActivationContext
from active_indexing.cli.interrupts import run_program
from active_indexing.config import RunConfig
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.images import decoding
from active_indexing.index.config import MOST_ENTRIES, IndexConfig
from active_indexing.index.preparation import prepare_index
from active_indexing.index.vector_index import VectorIndex
from scripts.benches.released import Arm, made_arm

CANDIDATES = (
    *ENTRY_EDITS,
    EntryEdit("as released"),
    EntryEdit("turned 180", turn=180),
    EntryEdit("turned 270", turn=270),
    EntryEdit("turned 15", turn=15, canvas=0),
    EntryEdit("turned -15", turn=-15, canvas=0),
    EntryEdit("mirrored", mirror=True),
    EntryEdit("cropped to 0.8", edge=0.8),
    EntryEdit("cropped to 0.45", edge=0.45),
    EntryEdit("captioned above", above=0.35),
    EntryEdit("captioned below", below=0.35),
    EntryEdit("captioned twice", above=0.25, below=0.25),
    EntryEdit("captioned twice, black", above=0.25, below=0.25, canvas=0),
    EntryEdit("on a black canvas", edge=1.4, canvas=0),
    EntryEdit("hue 0.15", hue=0.15),
    EntryEdit("hue -0.15", hue=-0.15),
    EntryEdit("hue 0.5", hue=0.5),
    EntryEdit("grey, nearly", contrast=0.25, brightness=1.2),
    EntryEdit("turned 90 and cropped", turn=90, edge=0.7),
    EntryEdit("captioned and small", edge=1.2, above=0.3, below=0.3),
)


class Candidates:
    """Distances of the copies to every candidate entry, where they can be found at all.

    Args:
        index: IVF, L2, with its references and nothing else, at nprobe 1.
        arm: images with C entries each.
    """

    def __init__(self, index: VectorIndex, arm: Arm) -> None:
        self._made = ~np.isnan(arm.copies[..., 0])
        copies, owners = arm.copies[self._made], np.nonzero(self._made)[0]
        self._reference = np.array(
            [min(found.distances, default=np.inf) for found in index.search(copies, 1)]
        )
        cells = index.cells(copies)
        assert cells is not None
        self._own, self._other = np.empty((2, arm.entries.shape[1], len(copies)))
        for number in range(arm.entries.shape[1]):
            entries = arm.entries[:, number]
            distances = _squared(copies, index.reconstruct(entries))
            distances[cells[:, None] != index.cells(entries)] = np.inf
            rows = np.arange(len(copies))
            self._own[number] = distances[rows, owners]
            distances[rows, owners] = np.inf
            self._other[number] = distances.min(axis=1)

    def recall(self, taken: Sequence[int]) -> float:
        """Mean R@1 of the attacks when the index holds these entries of every image."""
        own, other = self._own[taken].min(axis=0), self._other[taken].min(axis=0)
        found = np.full(self._made.shape, np.nan)
        found[self._made] = own < np.minimum(other, self._reference)
        return float(np.nanmean(found, axis=0).mean())

    def greedy(self, count: int) -> Iterator[tuple[int, float]]:
        """(candidate, recall with it), the best addition first; candidate 0 is taken from the start."""
        taken = [0]
        for _ in range(count):
            left = [number for number in range(len(self._own)) if number not in taken]
            best = max(left, key=lambda number: self.recall([*taken, number]))
            taken.append(best)
            yield best, self.recall(taken)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, D) and (M, D) to the squared distances (N, M)."""
    return (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)


def chosen(data_dir: Path, workers: int, count: int) -> Iterator[tuple[str, float]]:
    """(name of the edit, recall with it), after the recall with the method's entry alone.

    Raises:
        ValueError: none of the images can be released.
        FileNotFoundError: no images.
    """
    descriptor = load_descriptor(DescriptorConfig(), torch.device("cpu"))
    index = prepare_index(IndexConfig(), descriptor.dim, descriptor.fingerprint).index
    with tempfile.TemporaryDirectory() as work:
        config = RunConfig(data_dir=data_dir, output_dir=Path(work, "imgs"))
        arm = made_arm(config, descriptor, index, workers)
        context = ActivationContext(descriptor, index, config.activation)
        edited = [described_edits(decoding.read(path).srgb, CANDIDATES, context) for path in arm.paths]
    entries = np.concatenate([arm.entries, np.stack(edited)], axis=1)
    candidates = Candidates(index, replace(arm, entries=entries))
    yield "the method's entry alone", candidates.recall([0])
    for number, recall in candidates.greedy(count):
        yield CANDIDATES[number - 1].name, recall


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 for wrong flags or files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="photos")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="default: one per core")
    parser.add_argument("--count", type=int, default=MOST_ENTRIES - 1, help="edits (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.count <= len(CANDIDATES):
        parser.error(f"expected --count from 1 to {len(CANDIDATES)}, got {arguments.count}.")
    before = 0.0
    try:
        for place, (name, recall) in enumerate(
            chosen(arguments.data_dir, arguments.workers, arguments.count)
        ):
            if not place:
                print("| entries | added | R@1 | gain |\n| --: | :-- | --: | --: |")
            print(f"| {place + 1} | {name} | {recall:.4f} | {recall - before if place else 0:+.4f} |")
            before = recall
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_program(main)
