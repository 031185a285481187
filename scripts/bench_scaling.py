"""Does the work per image, or the memory, grow with the index or with the folder?

    python scripts/bench_scaling.py --output_dir bench

Three tables, printed and written as CSV. ``batches.csv``: seconds to release one batch of images against
indexes of growing size; rounds go over all sizes in turn, so that a busy machine slows all alike, and the
median and the quartiles over the rounds are told. ``index.csv``: what of it the index does. ``memory.csv``:
the peak of complete runs of main.py on folders of growing size, its worker processes included.

References are random unit vectors, images are drawn: what they show does not matter here. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from active_indexing.activation.objectives.targets import pq_recons
from active_indexing.cli.interrupts import run_program
from active_indexing.config import RunConfig
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.evaluation.config import EvaluationConfig
from active_indexing.images.inventory import inventory
from active_indexing.index.config import IndexConfig
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.threads import map_as_done, one_core_per_operation
from active_indexing.records import SourceImage
from active_indexing.release.image import ImageReleaser
from scripts.benches.made_up import filled_indexes, write_images
from scripts.benches.memory import POLL_SECONDS, family, pss_kib
from scripts.benches.tables import report

ROOT = Path(__file__).parents[1]


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return float(middle), float(low), float(high)


def time_rounds(actions: dict[int, Callable[[int], object]], rounds: int) -> dict[int, list[float]]:
    """Seconds of every action in every round, after a round that is not counted."""
    seconds: dict[int, list[float]] = {size: [] for size in actions}
    for turn in range(rounds + 1):
        order = list(actions) if turn % 2 else list(reversed(actions))
        for size in order:
            started = time.perf_counter()
            actions[size](turn)
            if turn:
                seconds[size].append(time.perf_counter() - started)
    return seconds


def release_batch(
    work: Path, sources: list[SourceImage], descriptor: Descriptor, index: VectorIndex
) -> Callable[[int], object]:
    """An action that releases the batch against this index."""
    config = RunConfig(data_dir=work, output_dir=work, evaluation=EvaluationConfig())
    folder = work / "released" / str(index.ntotal)
    releaser = ImageReleaser(config.release, config.activation, descriptor, index, folder)

    def action(turn: int) -> object:
        def one(source: SourceImage) -> object:
            return releaser.release(source, [f"{turn}_{source.name}"])

        with one_core_per_operation():
            return list(map_as_done(one, sources, len(os.sched_getaffinity(0))))

    return action


def index_batch(index: VectorIndex, batch: np.ndarray) -> Callable[[int], object]:
    """An action with all that release asks of the index: cells before and after, targets, and the add."""

    def action(turn: int) -> object:
        for row in batch:
            pq_recons(index, row[None])
            index.cells(row[None])
            index.cells(row[None])
        index.add(batch, (1 << 62) + turn * len(batch) + np.arange(len(batch)))
        return None

    return action


def rows_of(seconds: dict[int, list[float]], unit: float) -> list[dict[str, object]]:
    """Table rows; ``ratio`` is the median over rounds of this size's time to the smallest's of that round."""
    smallest = next(iter(seconds.values()))
    rows = []
    for size, taken in seconds.items():
        middle, low, high = quartiles(taken)
        ratio = np.median(np.divide(taken, smallest))
        rows.append(
            {
                "references": size,
                "median": f"{middle * unit:.3f}",
                "quartile_1": f"{low * unit:.3f}",
                "quartile_3": f"{high * unit:.3f}",
                "ratio": f"{ratio:.3f}",
                "rounds": len(taken),
            }
        )
    return rows


def peak_memory(command: list[str]) -> tuple[float, float]:
    """Peak MiB of a process and its descendants (proportional set size), and its seconds."""
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(pss_kib(pid) for pid in family(process.pid)))
            time.sleep(POLL_SECONDS)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read()[-2000:]}")
    return peak / 1024, time.perf_counter() - started


def measure_memory(work: Path, counts: Sequence[int], side: int, flags: list[str]) -> list[dict[str, object]]:
    """Complete runs of main.py, each on a folder of so many images."""
    rows: list[dict[str, object]] = []
    for count in counts:
        images = write_images(work / f"images_{count}", count, side)
        output = work / f"output_{count}"
        command = [sys.executable, "main.py", "--data_dir", str(images), "--output_dir", str(output)]
        mib, seconds = peak_memory([*command, "--verbose", "0", *flags])
        rows.append({"images": count, "peak_mib": f"{mib:.0f}", "seconds": f"{seconds:.1f}"})
    return rows


def build_parser() -> argparse.ArgumentParser:
    """The flags; all of them together make it small enough for a test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the CSVs")
    parser.add_argument(
        "--model_path", type=Path, help="descriptor file or TorchScript (default: the default)"
    )
    parser.add_argument("--resize_size", type=int, help="its input size (default: its own)")
    parser.add_argument("--idx_factory", default=IndexConfig.idx_factory, help="default: %(default)s")
    parser.add_argument("--references", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--training_rows", type=int, default=40_000, help="default: %(default)s")
    parser.add_argument("--images", type=int, nargs="*", default=[100, 1_000], help="of the complete runs")
    parser.add_argument("--batch_size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=128, help="pixels of the images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("main_flags", nargs="*", help="flags for main.py in the complete runs, after --")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    arguments = build_parser().parse_args(argv)
    model = DescriptorConfig(model_path=arguments.model_path, resize_size=arguments.resize_size)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if arguments.references:
            _measure_growth(arguments, work, load_descriptor(model, torch.device("cpu")))
        flags = list(arguments.main_flags)
        for name in ("model_path", "resize_size"):
            if getattr(arguments, name) is not None:
                flags += [f"--{name}", str(getattr(arguments, name))]
        rows = measure_memory(work, arguments.images, arguments.side, flags)
        report(arguments.output_dir, "memory", "Peak memory of complete runs (MiB)", rows)
    return 0


def _measure_growth(arguments: argparse.Namespace, work: Path, descriptor: Descriptor) -> None:
    indexes = filled_indexes(
        work, arguments.references, arguments.idx_factory, descriptor, arguments.training_rows
    )
    sources = inventory(write_images(work / "batch", arguments.batch_size, arguments.side))
    released = {size: release_batch(work, sources, descriptor, index) for size, index in indexes.items()}
    rows = rows_of(time_rounds(released, arguments.rounds), unit=1.0)
    title = f"Seconds to release a batch of {len(sources)} images"
    report(arguments.output_dir, "batches", title, rows)
    batch = np.random.default_rng(2).standard_normal((arguments.batch_size, descriptor.dim), dtype=np.float32)
    batch /= np.linalg.norm(batch, axis=1, keepdims=True)
    asked = {size: index_batch(index, batch) for size, index in indexes.items()}
    rows = rows_of(time_rounds(asked, 20 * arguments.rounds), unit=1e3)
    report(arguments.output_dir, "index", "Milliseconds of it spent in the index", rows)


if __name__ == "__main__":
    run_program(main)
