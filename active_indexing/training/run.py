"""A whole training: processes, progress, log, checkpoints, validation, export."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from tqdm import tqdm

from active_indexing.artefacts.atomic import write_json
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.training.checkpoints import export_descriptor
from active_indexing.training.config import TrainingConfig, TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
from active_indexing.training.data.image_arrays import ImageArray
from active_indexing.training.data.side_images import SideBatches
from active_indexing.training.distributed import collectives
from active_indexing.training.distributed.launch import Launch, launched
from active_indexing.training.objectives.interface import Objective
from active_indexing.training.preparation import ROWS, fit_head, make_rows
from active_indexing.training.start import started_network
from active_indexing.training.teachers import load_teacher
from active_indexing.training.trainer import Trainer, build_trainer, train
from active_indexing.training.validation import validate

# How long processes of other machines wait while the first one decodes the images.
PREPARATION = timedelta(days=1)
CHECKPOINT, DESCRIPTOR, LOG, SETTINGS = "checkpoint.pt", "descriptor.pt", "log.jsonl", "training.json"


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Where and how a training runs; none of it changes what a step computes, but ``processes``.

    Attributes:
        output_dir: for banks, checkpoint, log and the descriptor.
        sources: training images.
        teacher: of a distillation; a path that ends in ``.onnx`` is an ONNX file.
        start: file whose weights to begin with, see :func:`started_network`; ``None`` draws them.
        fit_head: fit the last layer of ``start`` to the teacher's rows, where the objective has them.
        support: images that match nothing, for objectives that ask for them.
        pairs: images that match two by two, by their names, for objectives that ask for them.
        validation: held-out images; ``None`` validates nothing.
        nodes: machines; more than one are started by torchrun, and see one ``output_dir``.
        processes: on each machine: GPUs, or CPU cores. The batches of all processes add up.
        threads: of each process; 0 leaves it to torch.
        device: ``cpu`` or ``cuda``.
        checkpoint_seconds: between checkpoints.
        log_steps: between log lines.
        validation_steps: between validations.
    """

    output_dir: Path
    sources: tuple[TrainingImages, ...]
    teacher: DescriptorConfig | None = None
    start: Path | None = None
    fit_head: bool = True
    support: TrainingImages | None = None
    pairs: TrainingImages | None = None
    validation: TrainingImages | None = None
    nodes: int = 1
    processes: int = 1
    threads: int = 0
    device: str = "cpu"
    checkpoint_seconds: float = 120.0
    log_steps: int = 50
    validation_steps: int = 500

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a training needs at least one source of images.")
        named: dict[str, Path] = {}
        for source in (*self.sources, self.validation, self.support, self.pairs):
            if source and named.setdefault(source.path.stem, source.path) != source.path:
                raise ValueError(
                    f"{source.path} and {named[source.path.stem]} have one name, by which their images are "
                    "kept; rename one of them."
                )
        for name in ("nodes", "processes", "log_steps", "validation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")


def run(config: TrainingConfig, run_config: TrainingRun) -> Path:
    """Train, or go on where a killed run stopped, and export the descriptor.

    Returns:
        Path of the exported descriptor.

    Raises:
        FileNotFoundError, ValueError: if images or the checkpoint of ``output_dir`` do not fit, or torchrun
            started other processes than the settings say.
    """
    launch = launched(run_config.nodes, run_config.processes)
    if launch is not None:
        _join(launch, config, run_config)
        return run_config.output_dir / DESCRIPTOR
    _prepare(config, run_config)
    if run_config.processes == 1:
        _process(0, config, run_config, None)
    else:
        arguments = (config, run_config, _free_port())
        torch.multiprocessing.spawn(_process, args=arguments, nprocs=run_config.processes)
    return run_config.output_dir / DESCRIPTOR


def _prepare(config: TrainingConfig, run_config: TrainingRun) -> None:
    """What the processes share, once before they start: decoded images, a teacher's rows."""
    out = run_config.output_dir
    out.mkdir(parents=True, exist_ok=True)
    open_banks(run_config.sources, out / "banks")
    for source in (run_config.validation, run_config.support, run_config.pairs):
        if source:
            open_banks((source,), out / "banks")
    _make_rows(config, run_config)
    write_json(out / SETTINGS, {"training": asdict(config), "run": asdict(run_config)})


def _make_rows(config: TrainingConfig, run_config: TrainingRun) -> None:
    """The teacher's rows of all originals, if the objective asks for them and they are not there yet."""
    path = run_config.output_dir / ROWS
    if not config.objective.wants_rows or path.exists():
        return
    if run_config.teacher is None:
        raise ValueError("this recipe learns from a teacher; give --teacher or --teacher_name.")
    teacher = load_teacher(run_config.teacher, torch.device(run_config.device))
    banks = open_banks(run_config.sources, run_config.output_dir / "banks")
    make_rows(path, banks, teacher, config.dim)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _process(rank: int, config: TrainingConfig, run_config: TrainingRun, port: int | None) -> None:
    """The work of one process; ``port`` is where the processes meet."""
    device = _device(run_config, rank)
    if port is None:
        _train(config, run_config, device)
        return
    backend = _backend(run_config)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group(backend, init_method=address, rank=rank, world_size=run_config.processes)
    try:
        _train(config, run_config, device)
    finally:
        dist.destroy_process_group()


def _join(launch: Launch, config: TrainingConfig, run_config: TrainingRun) -> None:
    """The work of one process that torchrun started; the first one of all prepares what they share."""
    device = _device(run_config, launch.local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(_backend(run_config), timeout=PREPARATION)
    try:
        if launch.rank == 0:
            _prepare(config, run_config)
        dist.barrier()
        _train(config, run_config, device)
    finally:
        dist.destroy_process_group()


def _device(run_config: TrainingRun, local_rank: int) -> torch.device:
    if run_config.threads:
        torch.set_num_threads(run_config.threads)
    return torch.device("cuda", local_rank) if run_config.device == "cuda" else torch.device("cpu")


def _backend(run_config: TrainingRun) -> str:
    return "nccl" if run_config.device == "cuda" else "gloo"


def _train(config: TrainingConfig, run_config: TrainingRun, device: torch.device) -> None:
    out = run_config.output_dir
    banks = open_banks(run_config.sources, out / "banks")
    counts = [source.images for source in run_config.sources]
    batches = Batches(banks, counts, config.seed, collectives.world_size(), config.instances)
    held_out = open_banks((run_config.validation,), out / "banks")[0] if run_config.validation else None
    trainer = _trainer(config, run_config, banks, device)
    side = _side(run_config, trainer.objective, config.seed)
    if (out / CHECKPOINT).exists():
        trainer.resume(out / CHECKPOINT)
    steps = collectives.gather(torch.tensor([trainer.step], device=device)).tolist()
    if len(set(steps)) > 1:
        raise ValueError(
            f"the processes begin at steps {sorted(set(steps))}: all machines must see one --output_dir."
        )
    if collectives.rank() == 0:
        _lead(trainer, train(trainer, batches, side), run_config, held_out)
    else:
        for _ in train(trainer, batches, side):
            pass


def _side(run_config: TrainingRun, objective: Objective, seed: int) -> SideBatches:
    """Images beside the views, exactly where they are of use.

    Raises:
        ValueError: if some are missing, or have no use.
    """
    found: dict[str, Batches] = {}
    for name, instances in (("support", 0), ("pairs", 2)):
        source, wanted = getattr(run_config, name), getattr(objective, f"wants_{name}")
        if wanted != (source is not None):
            raise ValueError(
                f"this recipe {'needs' if wanted else 'has no use for'} --{name}; "
                f"{'give it' if wanted else 'leave it out'}."
            )
        if source is not None:
            banks = open_banks((source,), run_config.output_dir / "banks")
            world = collectives.world_size()
            found[name] = Batches(banks, [source.images], seed, world, instances)
    return SideBatches(**found)


def _trainer(
    config: TrainingConfig, run_config: TrainingRun, banks: list[ImageArray], device: torch.device
) -> Trainer:
    """At step 0, with its teacher or the teacher's rows."""
    start = started_network(config, run_config.start) if run_config.start else None
    if not config.objective.wants_rows:
        teacher = load_teacher(run_config.teacher, device) if run_config.teacher else None
        return build_trainer(config, device, teacher=teacher, start=start)
    rows = torch.from_numpy(np.load(run_config.output_dir / ROWS))
    if start is not None and run_config.fit_head and not (run_config.output_dir / CHECKPOINT).exists():
        fit_head(start, banks, rows, config.test_size, config.mean, config.std)
    trainer = build_trainer(config, device, start=start)
    trainer.objective.fill(rows)
    return trainer


def _lead(
    trainer: Trainer,
    steps: Iterator[dict[str, float]],
    run_config: TrainingRun,
    held_out: ImageArray | None,
) -> None:
    """The first process also shows progress, logs, validates, saves and exports."""
    out, total = run_config.output_dir, trainer.config.schedule.steps
    saved, log = time.monotonic(), _Log(out / LOG)
    bar = tqdm(total=total, initial=trainer.step, unit="step", desc="training", disable=None)
    for values in steps:
        log.add(values)
        bar.update()
        last = trainer.step == total
        if last or trainer.step % run_config.log_steps == 0:
            bar.set_postfix(loss=f"{log.write(trainer.step)['loss']:.3f}")
        if held_out is not None and (last or trainer.step % run_config.validation_steps == 0):
            log.write_line({"step": trainer.step} | validate(trainer, held_out, trainer.config.test_size))
        if last or time.monotonic() - saved > run_config.checkpoint_seconds:
            trainer.save(out / CHECKPOINT)
            saved = time.monotonic()
    bar.close()
    export_descriptor(out / DESCRIPTOR, trainer.config, trainer.average)


class _Log:
    """Means of logged values since the last line, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self.started = time.monotonic()

    def add(self, values: dict[str, float]) -> None:
        self.rows.append(values)

    def write(self, step: int) -> dict[str, float]:
        """Write the means, and views per second; start anew."""
        seconds = time.monotonic() - self.started
        line: dict[str, float] = {"step": step, "views_per_second": self._sum("views") / seconds}
        line |= {key: self._sum(key) / len(self.rows) for key in self.rows[0] if key != "views"}
        self.write_line(line)
        self.rows, self.started = [], time.monotonic()
        return line

    def _sum(self, key: str) -> float:
        return sum(row[key] for row in self.rows)

    def write_line(self, line: dict[str, float]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({key: round(value, 6) for key, value in line.items()}) + "\n")
