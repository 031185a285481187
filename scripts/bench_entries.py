"""Recall against bytes per image: several entries per image, bigger codes, more probes, in both arms.

    python scripts/bench_entries.py --data_dir photos --fts_training_path training.npy \
        --fts_reference_path fts/fts.npy --output_dir bench

The photos are released in both arms, attacked (the 15 attacks) and searched. Writes entries.csv and
entries.png and prints the table, a row for every combination of:

- arm: passive, active (the images are moved for ``--idx_factory``, and used for the bigger codes as well);
- index and entries K: ``--idx_factory`` with each of ``--entries``, and ``--bigger`` codes with one entry;
- nprobe: ``--nprobes`` for all, ``--more_probes`` for one entry of ``--idx_factory``.

``bytes`` is what an image adds to the index file: K codes, each with its id of 8 bytes. ``recall`` is the
mean R@1 over the attacks, ``low`` and ``high`` its 95 % interval (bootstrap over images). The references are
other images with one entry each. ``ms`` is the median time of a query for 100 answers, searched one by one in
an index in which every reference has K entries, as if all images were protected; they are entries of other
references, so as many as there would be, and all over the index. IVF indexes only.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from active_indexing.cli.interrupts import run_program
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.extraction.matrix_file import open_descriptors
from active_indexing.index.config import MOST_ENTRIES, IndexConfig
from active_indexing.index.vector_index import VectorIndex
from analysis.entry_plots import recall_against_bytes
from scripts.benches.index_rows import add_index_flags, measured, recall_of, trained
from scripts.benches.released import Arm, made_arm
from scripts.benches.tables import report

ANSWERS = 100  # asked for by a timed query, as main.py does


class Bench:
    """All rows of the table.

    Args:
        arguments: the flags.
        descriptor: describes images.
        work: folder for released files.
    """

    def __init__(self, arguments: argparse.Namespace, descriptor: Descriptor, work: Path) -> None:
        self._flags, self._descriptor, self._work = arguments, descriptor, work
        file = open_descriptors(arguments.fts_reference_path)
        self._references = file.sample(len(file), 0)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One per arm, index, number of entries and nprobe."""
        flags = self._flags
        arms = {"passive": self._arm(active=False), "active": self._arm(active=True)}
        for factory in [flags.idx_factory, *flags.bigger]:
            base = factory == flags.idx_factory
            for entries in flags.entries if base else [1]:
                more = flags.more_probes if base and entries == 1 else []
                probes = sorted({*flags.nprobes, *more})
                times = self._times(factory, entries, probes, arms["active"])
                for name, arm in arms.items():
                    for row in self._recalls(factory, entries, probes, arm):
                        row = {"arm": name, **row, "ms": f"{times[row['nprobe']]:.3f}"}
                        print(*row.values(), file=sys.stderr)
                        yield row

    def _arm(self, active: bool) -> Arm:
        config = RunConfig(
            data_dir=self._flags.data_dir,
            output_dir=self._work / f"active_{active}" / "imgs",
            active=active,
            index=IndexConfig(entries=max(self._flags.entries)),
        )
        index = self._index(self._flags.idx_factory, references=True)
        return made_arm(config, self._descriptor, index, self._flags.workers)

    def _recalls(self, factory: str, entries: int, probes: list[int], arm: Arm) -> Iterator[dict[str, Any]]:
        index = self._index(factory, references=True)
        before = len(index.to_bytes())
        index.add(arm.entries[:, :entries].reshape(-1, index.dim), np.repeat(arm.ids, entries))
        size = (len(index.to_bytes()) - before) / len(arm.ids)
        for nprobe in probes:
            index.set_nprobe(nprobe)
            yield {
                "index": factory,
                "entries": entries,
                "bytes": round(size),
                "nprobe": nprobe,
                **recall_of(index, arm),
            }

    def _times(self, factory: str, entries: int, probes: list[int], arm: Arm) -> dict[int, float]:
        """Milliseconds per query for each nprobe."""
        index, count = self._index(factory, references=False), len(self._references)
        rng = np.random.default_rng(0)
        for start in range(0, count, 10_000):
            chunk = np.arange(start, min(start + 10_000, count))
            ids = rng.permutation(np.repeat(chunk, entries))
            index.add(np.repeat(self._references[chunk], entries, axis=0), ids)
        queries = arm.copies[~np.isnan(arm.copies[..., 0])][: self._flags.queries]
        times = {}
        for nprobe in probes:
            index.set_nprobe(nprobe)
            times[nprobe] = _milliseconds(index, queries)
        return times

    def _index(self, factory: str, references: bool) -> VectorIndex:
        index = trained(self._flags, self._descriptor, factory, references=references)
        if index.nlist is None:
            raise ValueError(f"{factory} has no cells; expected an IVF index, e.g. IVF1024,PQ8x8.")
        return index


def _milliseconds(index: VectorIndex, queries: np.ndarray) -> float:
    """Median of searches one by one."""
    seconds = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], ANSWERS)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def build_parser() -> argparse.ArgumentParser:
    """The flags; all of them together make it small enough for a test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_index_flags(parser)
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="of entries.csv, entries.png, indexes/"
    )
    parser.add_argument("--idx_factory", default="IVF1024,PQ8x8", help="default: %(default)s")
    bigger = ["IVF1024,PQ16x8np", "IVF1024,PQ32x8np", "IVF1024,PQ64x8np"]
    parser.add_argument("--bigger", nargs="*", default=bigger, help="bigger codes (default: %(default)s)")
    parser.add_argument("--entries", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--nprobes", type=int, nargs="+", default=[1, 8], help="default: %(default)s")
    parser.add_argument("--more_probes", type=int, nargs="*", default=[16, 64], help="default: %(default)s")
    parser.add_argument("--queries", type=int, default=1000, help="searches timed (default: %(default)s)")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="default: one per core")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 for wrong flags or files."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if min(arguments.entries) < 1 or max(arguments.entries) > MOST_ENTRIES:
        parser.error(f"expected --entries from 1 to {MOST_ENTRIES}, got {arguments.entries}.")
    try:
        rows = measured(arguments, Bench)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(arguments.output_dir, "entries", "R@1 against bytes per image", rows)
    drawn = recall_against_bytes(pd.DataFrame(rows), arguments.nprobes)
    drawn.savefig(arguments.output_dir / "entries.png", dpi=110)
    return 0


if __name__ == "__main__":
    run_program(main)
