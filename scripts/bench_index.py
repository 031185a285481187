"""Recall against bytes per image and codes scanned per query, for kinds of index, passive and active.

    python scripts/bench_index.py --data_dir photos --fts_training_path training.npy \
        --fts_reference_path fts/fts.npy --output_dir bench

The photos are released as they are once, and for every index with the default method, attacked (the 15
attacks) and searched at every nprobe. Writes index.csv and index.png and prints the table. The first two
rows are the exact search over float32 descriptors: passive, and active for the photos of the first index.

``bytes`` are an image's codes, K x the index's code size; a file keeps an id of 8 bytes more with each.
``scanned`` is the share of all codes in the cells that a query visits, the mean over the queries. ``recall``
is the mean R@1 over the attacks, ``low`` and ``high`` its 95 % interval (bootstrap over images). References
are other images with one entry each, whatever K is: with as many for each of them, recall would be lower.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.cli.interrupts import run_program
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.extraction.matrix_file import open_descriptors
from active_indexing.index.config import MOST_ENTRIES, IndexConfig
from active_indexing.index.vector_index import VectorIndex
from analysis.index_plots import EXACT, recall_by_index
from scripts.benches.index_rows import add_index_flags, measured, recall_of, trained
from scripts.benches.released import Arm, made_arm
from scripts.benches.tables import report

INDEXES = (
    "IVF1024,PQ8x8np", "IVF1024,PQ16x8np", "IVF1024,PQ32x8np", "IVF256,PQ32x8np", "OPQ32,IVF1024,PQ32x8np",
    "IVF1024,RQ32x8", "IVF1024,SQ4",
)  # fmt: skip
"""Cells and codes of 8 to 128 bytes; ``np``: without polysemous training, which changes no answer."""


class Bench:
    """All rows of the table.

    Args:
        arguments: the flags.
        descriptor: describes images.
        work: folder for released files.
    """

    def __init__(self, arguments: argparse.Namespace, descriptor: Descriptor, work: Path) -> None:
        self._flags, self._descriptor, self._work = arguments, descriptor, work

    def rows(self) -> Iterator[dict[str, Any]]:
        """One per arm, index, number of entries and nprobe."""
        passive, first = self._arm(self._flags.indexes[0], active=False), None
        for factory in self._flags.indexes:
            arms = {"passive": passive, "active": self._arm(factory, active=True)}
            if first is None:
                first = arms["active"]
                for name, arm in arms.items():
                    yield self._told(name, {"index": EXACT, "entries": 1, **self._exact(arm)})
            for entries in self._flags.entries:
                for name, arm in arms.items():
                    for row in self._recalls(factory, entries, arm):
                        yield self._told(name, {"index": factory, "entries": entries, **row})

    def _told(self, arm: str, row: dict[str, Any]) -> dict[str, Any]:
        row = {"arm": arm, **row}
        print(*row.values(), file=sys.stderr)
        return row

    def _arm(self, factory: str, active: bool) -> Arm:
        print(f"releasing {factory if active else 'passive'}", file=sys.stderr)
        config = RunConfig(
            data_dir=self._flags.data_dir,
            output_dir=self._work / (factory if active else "passive") / "imgs",
            active=active,
            index=IndexConfig(entries=max(self._flags.entries)),
        )
        return made_arm(config, self._descriptor, self._index(factory), self._flags.workers)

    def _exact(self, arm: Arm) -> dict[str, Any]:
        index = self._index("Flat")
        index.add(arm.entries[:, 0], arm.ids)
        return {"bytes": 4 * index.dim, "nprobe": 1, "scanned": "1.0000", **recall_of(index, arm)}

    def _recalls(self, factory: str, entries: int, arm: Arm) -> Iterator[dict[str, Any]]:
        index = self._index(factory)
        before = len(index.to_bytes())
        index.add(arm.entries[:, :entries].reshape(-1, index.dim), np.repeat(arm.ids, entries))
        grown = (len(index.to_bytes()) - before) / len(arm.ids) - 8 * entries
        nearest, sizes = self._nearest_cells(index, arm), self._cell_sizes(index)
        for nprobe in self._flags.nprobe:
            index.set_nprobe(nprobe)
            scanned = sizes[nearest[:, :nprobe]].sum(axis=1).mean() / sizes.sum()
            yield {
                "bytes": round(grown), "nprobe": nprobe, "scanned": f"{scanned:.4f}", **recall_of(index, arm)
            }  # fmt: skip

    def _cell_sizes(self, index: VectorIndex) -> np.ndarray:
        file = open_descriptors(self._flags.fts_reference_path)
        cells = np.concatenate([index.cells(chunk) for _, chunk in file.chunks()])
        return np.bincount(cells, minlength=int(index.nlist or 1))

    def _nearest_cells(self, index: VectorIndex, arm: Arm) -> np.ndarray:
        """(queries, most) numbers of the cells that a query visits, the nearest first."""
        centroids = index.centroids(np.arange(int(index.nlist or 1)))
        queries = arm.copies[~np.isnan(arm.copies[..., 0])]
        apart = (centroids**2).sum(axis=1) - 2 * queries @ centroids.T
        return np.argsort(apart, axis=1)[:, : max(self._flags.nprobe)]

    def _index(self, factory: str) -> VectorIndex:
        index = trained(self._flags, self._descriptor, factory)
        if index.nlist is None and factory != "Flat":
            raise ValueError(f"{factory} has no cells; expected IVF indexes, e.g. {INDEXES[0]}.")
        return index


def build_parser() -> argparse.ArgumentParser:
    """The flags; all of them together make it small enough for a test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_index_flags(parser)
    add, default = parser.add_argument, "default: %(default)s"
    add("--output_dir", type=Path, required=True, help="of index.csv, index.png, indexes/")
    add("--indexes", nargs="+", default=list(INDEXES), help=f"FAISS factory strings with cells; {default}")
    add("--entries", type=int, nargs="+", default=[1, 4], help=f"codes per image; {default}")
    add("--nprobe", type=int, nargs="+", default=[1, 4, 16], help=default)
    add("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 for wrong flags or files."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    for name, most in (("entries", MOST_ENTRIES), ("nprobe", 2**31 - 1)):
        values = getattr(arguments, name)
        if min(values) < 1 or max(values) > most:
            parser.error(f"expected --{name} from 1 to {most:,}, got {values}.")
    try:
        rows = measured(arguments, Bench)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(arguments.output_dir, "index", "R@1 against bytes per image and codes scanned", rows)
    with atomic_file(arguments.output_dir / "index.png") as file:
        recall_by_index(pd.DataFrame(rows)).savefig(file, format="png", dpi=110)
    print(f"everything is in {arguments.output_dir}")
    return 0


if __name__ == "__main__":
    run_program(main)
