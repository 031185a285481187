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
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from active_indexing.activation.objectives.targets import pq_recons
from active_indexing.concurrency import map_as_done, one_core_per_operation
from active_indexing.config import EvaluationConfig, RunConfig
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.images.inventory import inventory
from active_indexing.index.config import IndexConfig
from active_indexing.index.preparation import prepare
from active_indexing.index.vector_index import VectorIndex
from active_indexing.records import SourceImage
from active_indexing.release import Releaser

ROOT = Path(__file__).parents[1]
CHUNK = 50_000
POLL_SECONDS = 0.2


def write_unit_vectors(path: Path, count: int, dim: int, seed: int) -> Path:
    """Random unit vectors, (count, dim) float32 .npy, written piece by piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    for start in range(0, count, CHUNK):
        rows = rng.standard_normal((min(CHUNK, count - start), dim), dtype=np.float32)
        matrix[start : start + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    matrix.flush()
    return path


def write_images(folder: Path, count: int, side: int) -> Path:
    """``count`` smooth pictures, side x side, PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        smooth.save(folder / f"{number:05d}.png")
    return folder


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return float(middle), float(low), float(high)


def filled_indexes(
    work: Path, sizes: Sequence[int], factory: str, descriptor: Descriptor, training_rows: int
) -> dict[int, VectorIndex]:
    """One index per number of references, trained once, filled from files as main.py does."""
    training = write_unit_vectors(work / "training" / "fts.npy", training_rows, descriptor.dim, seed=0)
    indexes = {}
    for size in sizes:
        references = write_unit_vectors(work / "references" / f"{size}.npy", size, descriptor.dim, seed=1)
        config = IndexConfig(
            fts_training_path=training,
            fts_reference_path=references,
            idx_dir=work / "indexes",
            idx_factory=factory,
        )
        started = time.perf_counter()
        indexes[size] = prepare(config, descriptor.dim, descriptor.fingerprint).index
        print(f"{size:,} references ready in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        references.unlink()
    return indexes


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
    releaser = Releaser(config, descriptor, index, folder)

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


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family


def pss_kib(pid: int) -> int:
    """Memory of one process, pages shared by n processes counted as 1/n."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


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


def report(folder: Path, name: str, title: str, rows: list[dict[str, Any]]) -> None:
    """Write a CSV and print it as a Markdown table."""
    if not rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{' --: |' * len(rows[0])}")
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row.values())
        print(f"| {' | '.join(cells)} |")


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
    sys.exit(main())
