"""How often edited copies stay in the cell of their image, and how long a search takes, for finished runs.

    python scripts/measure_cells.py output/passive output/active

Attacks the released images again and adds two files to each output folder, for analysis/analysis.ipynb and
scripts/report.py. cells.csv has a row per image and attack: cell of the image's entry in the index (the
first, with --entries), cell of the copy, squared L2 distance of the copy to what the index remembers of the
image (error) and of another image (error_other). search_times.csv has a row per nprobe:
milliseconds per query, searched one by one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.attacks.jobs import AttackJob, AttackResult, attack_pool
from active_indexing.attacks.registry import attacks_2, default_attacks
from active_indexing.cli.interrupts import run_program
from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.index.config import IndexConfig
from active_indexing.index.preparation import prepare_index
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.resources import threads_for, workers_for
from active_indexing.parallel.threads import map_in_order, one_core_per_operation
from active_indexing.release.output_folder import recorded_entries
from active_indexing.reporting.cells import CELL_COLUMNS, CELLS, SEARCH_TIMES
from active_indexing.reporting.runs import Run, open_runs

TIME_COLUMNS = ("nprobe", "queries", "mean_ms", "median_ms", "p10_ms", "p90_ms", "min_ms", "max_ms", "std_ms")
NPROBES = (1, 2, 4, 8, 16, 32, 64)  # the published notebook timed 1, 16 and 32
WARM_UP = 20  # searches that are not timed


def measure(run: Run, workers: int | None, queries: int) -> tuple[Path, Path]:
    """Write ``cells.csv`` and ``search_times.csv`` into the folder of a run.

    Args:
        run: a finished run whose released images were kept.
        workers: images in work at the same time; 0 attacks in this process; ``None``: one per core.
        queries: searches timed per nprobe.

    Raises:
        ValueError: no released images, or a descriptor or an index that is not the run's.
        FileNotFoundError: an image is gone.
    """
    if run.released.empty:
        raise ValueError(f"{run.folder} has no released images, so there is nothing to measure.")
    descriptor, index = _opened(run)
    with torch.no_grad():
        rows = list(_cell_rows(run, descriptor, index, workers))
    cells, times = run.folder / CELLS, run.folder / SEARCH_TIMES
    write_csv(cells, CELL_COLUMNS, rows)
    write_csv(times, TIME_COLUMNS, _time_rows(index, descriptor.dim, queries))
    return cells, times


def _opened(run: Run) -> tuple[Descriptor, VectorIndex]:
    config = run.content["config"]
    descriptor = load_descriptor(DescriptorConfig(**_with_paths(config["descriptor"])), torch.device("cpu"))
    if descriptor.fingerprint != run.content["descriptor"]["fingerprint"]:
        raise ValueError(
            f"the descriptor has changed since {run.folder} was made: run main.py again before measuring."
        )
    index = IndexConfig(**_with_paths(config["index"]))
    return descriptor, prepare_index(index, descriptor.dim, descriptor.fingerprint, seed=config["seed"]).index


def _with_paths(settings: dict[str, Any]) -> dict[str, Any]:
    paths = {"model_path", "fts_training_path", "fts_reference_path", "idx_dir"}
    return {key: Path(value) if key in paths and value else value for key, value in settings.items()}


def _cell_rows(
    run: Run, descriptor: Descriptor, index: VectorIndex, workers: int | None
) -> Iterator[tuple[Any, ...]]:
    recorded = recorded_entries(run.folder)
    ids = run.released["id"].to_list()
    for id_ in ids:  # the searches are timed on the index of the run
        index.add(recorded[id_], np.full(len(recorded[id_]), id_))
    entries = np.stack([recorded[id_][0] for id_ in ids])
    remembered = index.reconstruct(entries)
    homes = index.cells(entries)

    def described(result: AttackResult) -> tuple[AttackResult, np.ndarray]:
        return result, describe_blocks(result.inputs, descriptor)

    with attack_pool(workers_for(workers)) as pool, one_core_per_operation():
        results = map_in_order(described, pool.run(_jobs(run, descriptor)), threads_for(workers))
        bar = progress_bar(results, total=len(ids), desc=f"cells of {run.name}", unit="img")
        for place, (result, copies) in enumerate(bar):
            if not result.inputs:
                continue
            cells = index.cells(copies)
            errors = ((copies - remembered[place]) ** 2).sum(axis=1)
            others = ((copies - remembered[(place + 1) % len(remembered)]) ** 2).sum(axis=1)
            for number, (attack, param) in enumerate(result.attacks):
                home = None if homes is None else int(homes[place])
                cell = None if cells is None else int(cells[number])
                error, other = float(errors[number]), float(others[number]) if len(ids) > 1 else None
                yield ids[place], attack, param, home, cell, error, other


def _jobs(run: Run, descriptor: Descriptor) -> Iterator[AttackJob]:
    config = run.content["config"]
    evaluation = config["evaluation"]
    attacks = attacks_2() if run.is_grid else default_attacks(evaluation["screenshot_template"])
    for _, row in run.released.iterrows():
        path = run.released_path(row["released"])
        if path is None:
            raise FileNotFoundError(
                f"{run.folder / row['released']} was not kept: run main.py with --save_imgs True."
            )
        yield AttackJob(
            image_id=int(row["id"]),
            path=path,
            attacks=attacks,
            seed=config["seed"],
            preprocessing=descriptor.preprocessing,
        )


def _time_rows(index: VectorIndex, dim: int, queries: int) -> Iterator[tuple[Any, ...]]:
    """Random unit descriptors, searched one by one for their nearest entry, as in the published notebook."""
    drawn = np.random.default_rng(0).standard_normal((queries + WARM_UP, dim), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    for nprobe in [n for n in NPROBES if n <= (index.nlist or 1)]:
        index.set_nprobe(nprobe)
        seconds = np.empty(len(drawn))
        for place, query in enumerate(drawn):
            started = time.perf_counter()
            index.search(query[None], 1)
            seconds[place] = time.perf_counter() - started
        spent = pd.Series(seconds[WARM_UP:] * 1000)
        figures = (spent.mean(), *spent.quantile([0.5, 0.1, 0.9]), spent.min(), spent.max(), spent.std())
        yield nprobe, queries, *(round(float(value), 5) for value in figures)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 when a folder holds no run that can be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of main.py")
    parser.add_argument("--workers", type=int, help="images in work at the same time (default: one per core)")
    parser.add_argument("--queries", type=int, default=1000, help="searches timed (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        for run in open_runs(arguments.folders):
            cells, times = measure(run, arguments.workers, arguments.queries)
            print(f"written: {cells} and {times.name}")
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_program(main)
