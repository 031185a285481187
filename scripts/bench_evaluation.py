"""Does the attack harness keep pace with the descriptor? Wall time of an evaluation beside that of its parts.

    python scripts/bench_evaluation.py --output_dir bench --data_dir photos --megapixels 0.15 12

Photos of a folder are brought to each size, the 15 attacks are applied, and three things are timed on the
same work, in turn within every round, so that a busy machine slows all of them:

- attack: the workers decode and attack the images and make network inputs of them, with nothing to wait for;
  seconds until the last one is done, so this is attack time / cores (``attack_s``);
- descriptor: those network inputs are described as the evaluation does it, on all threads;
- wall: the evaluation, from the start of its workers to the last line of its journal, search included. The
  fork server is loaded before, as it is in a run of main.py, while the images are released.

``pace`` is wall / max(descriptor, attack): 1 is an evaluation that takes no longer than its slower
part, as it can where the network runs on an accelerator. Without one both parts need the same cores, so pace
is at least ``pace_bound`` = (descriptor + attack) / max(...), between 1 and 2. ``work`` is
wall / (descriptor + attack): 1 means cores that were never idle. ``cpu`` is the same ratio of CPU
seconds instead of wall time: what the evaluation does besides, whatever else runs on the machine. All are
medians over the rounds of the ratios within a round; ``pace_low`` and ``pace_high`` are quartiles.
``peak_mib`` is the most memory of the main process and its workers together in an evaluation (shared pages
counted once). Linux only (/proc).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.attacks.jobs import AttackJob, attack_pool, preload_attacks
from active_indexing.attacks.registry import default_attacks
from active_indexing.cli.interrupts import run_program
from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.evaluation.stage import EvaluationStage, QueryImage
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.threads import map_in_order, one_core_per_operation
from scripts.benches.made_up import filled_indexes, write_images, write_sized
from scripts.benches.memory import POLL_SECONDS, family, pss_kib
from scripts.benches.tables import report

ATTACKS = default_attacks()


@dataclass(frozen=True)
class Round:
    """Seconds of the three measurements, of the clock and of the CPU, and the peak memory of the third."""

    attack: float
    descriptor: float
    wall: float
    attack_cpu: float
    descriptor_cpu: float
    wall_cpu: float
    peak_mib: float


class Bench:
    """The three measurements on the same images.

    Args:
        queries: images.
        descriptor: describes their copies.
        index: searched in the evaluation.
        workers: attack processes, and threads that describe.
        work: folder for journals.
    """

    def __init__(
        self,
        queries: Sequence[QueryImage],
        descriptor: Descriptor,
        index: VectorIndex,
        workers: int,
        work: Path,
    ) -> None:
        self._queries, self._descriptor, self._index = queries, descriptor, index
        self._workers, self._work = workers, work
        self._inputs: list[tuple[np.ndarray, ...]] = []
        self._workers_cpu = 0.0

    def round(self) -> Round:
        """Measure all three once."""
        with one_core_per_operation():
            attack, attack_cpu = self._attack()
            descriptor, descriptor_cpu = _seconds(self._describe)
            with peak_memory() as peak:
                wall, wall_cpu = _seconds(self._evaluate)
        wall_cpu += self._workers_cpu
        return Round(attack, descriptor, wall, attack_cpu, descriptor_cpu, wall_cpu, peak[0])

    def _attack(self) -> tuple[float, float]:
        with attack_pool(self._workers) as pool:
            before, started = _children_cpu(), time.perf_counter()
            self._inputs = [result.inputs for result in pool.run(self._jobs())]
            return time.perf_counter() - started, _children_cpu() - before

    def _describe(self) -> None:
        list(map_in_order(lambda of: describe_blocks(of, self._descriptor), self._inputs, self._workers))

    def _evaluate(self) -> None:
        self._inputs = []
        before = _children_cpu()
        with (
            tempfile.TemporaryDirectory(dir=self._work) as folder,
            closing(EvaluationStage("retrieval", Path(folder), {}, self._queries, ATTACKS)) as evaluation,
            attack_pool(self._workers) as pool,
        ):
            evaluation.run(
                self._descriptor, self._index, pool, k=100, seed=0, threads=self._workers, progress=False
            )
            self._workers_cpu = _children_cpu() - before

    def _jobs(self) -> Iterator[AttackJob]:
        preprocessing = self._descriptor.preprocessing
        for query in self._queries:
            yield AttackJob(
                image_id=query.id, path=query.path, attacks=ATTACKS, seed=0, preprocessing=preprocessing
            )


def _seconds(action: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock, and CPU seconds of this process."""
    started = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def _children_cpu() -> float:
    return sum(map(_cpu_seconds, family(os.getpid())[1:]))


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of another process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """A list whose one value becomes the peak MiB of this process and all its children inside the block."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], sum(map(pss_kib, family(os.getpid()))) / 1024)
            if ended.wait(POLL_SECONDS):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def summary(megapixels: float, rounds: Sequence[Round], images: int, workers: int) -> dict[str, object]:
    """The row of one size: medians, seconds per image, ratios as in the module's docstring."""
    attack, descriptor, wall = (
        np.array([getattr(one, name) for one in rounds]) for name in ("attack", "descriptor", "wall")
    )
    slower, together = np.maximum(descriptor, attack), descriptor + attack
    low, pace, high = np.percentile(wall / slower, [25, 50, 75])
    cpu = [one.wall_cpu / (one.attack_cpu + one.descriptor_cpu) for one in rounds]
    each = {"attack_s": attack, "descriptor_s": descriptor, "wall_s": wall}
    return {
        "megapixels": megapixels,
        "images": images,
        "workers": workers,
        **{name: f"{np.median(taken) / images:.4f}" for name, taken in each.items()},
        "pace": f"{pace:.2f}",
        "pace_low": f"{low:.2f}",
        "pace_high": f"{high:.2f}",
        "pace_bound": f"{np.median(together / slower):.2f}",
        "work": f"{np.median(wall / together):.2f}",
        "cpu": f"{np.median(cpu):.2f}",
        "peak_mib": f"{max(one.peak_mib for one in rounds):.0f}",
        "rounds": len(rounds),
    }


def build_parser() -> argparse.ArgumentParser:
    """The flags; all of them together make it small enough for a test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of evaluation.csv")
    parser.add_argument("--data_dir", type=Path, help="photos (default: drawn images)")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.15, 12.0])
    parser.add_argument("--images", type=int, nargs="+", default=[32, 8], help="of each size")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s, after one not counted")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="default: one per core")
    parser.add_argument("--device", default="cpu", help="of the descriptor (default: %(default)s)")
    parser.add_argument("--model_name", help="as for main.py (default: the default descriptor)")
    parser.add_argument("--model_path", type=Path, help="as for main.py")
    parser.add_argument("--resize_size", type=int, help="as for main.py")
    parser.add_argument("--idx_factory", default="IVF512,PQ8x8", help="default: %(default)s")
    parser.add_argument("--training_rows", type=int, default=20_000, help="default: %(default)s")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.workers < 1 or len(arguments.images) != len(arguments.megapixels):
        parser.error("expected --workers of at least 1, and as many --images as --megapixels.")
    model = DescriptorConfig(
        model_name=arguments.model_name, model_path=arguments.model_path, resize_size=arguments.resize_size
    )
    descriptor = load_descriptor(model, torch.device(arguments.device))
    preload_attacks()
    with tempfile.TemporaryDirectory() as temporary:
        rows = _rows(arguments, descriptor, Path(temporary))
    report(arguments.output_dir, "evaluation", "Seconds per image of the 15 attacks", rows)
    return 0


def _rows(arguments: argparse.Namespace, descriptor: Descriptor, work: Path) -> list[dict[str, object]]:
    references = 10_000
    index = filled_indexes(work, [references], arguments.idx_factory, descriptor, arguments.training_rows)
    rows = []
    for number, (megapixels, count) in enumerate(zip(arguments.megapixels, arguments.images, strict=True)):
        sources = arguments.data_dir or write_images(work / f"drawn_{number}", count, 256)
        queries = write_sized(sources, work / f"sized_{number}", count, megapixels)
        bench = Bench(queries, descriptor, index[references], arguments.workers, work)
        rounds = [bench.round() for _ in range(arguments.rounds + 1)][1:]
        print(f"{megapixels} MP: load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
        rows.append(summary(megapixels, rounds, len(queries), arguments.workers))
    return rows


if __name__ == "__main__":
    run_program(main)
