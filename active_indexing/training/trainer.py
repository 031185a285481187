"""The training loop: views, descriptors of all processes, loss, update, moving average."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from active_indexing.seeding import seed_for, torch_generator_for
from active_indexing.training.augmentations.registry import build_edits
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.augmentations.views import ViewMaker
from active_indexing.training.checkpoints import Parts, load_checkpoint, save_checkpoint
from active_indexing.training.config import TrainingConfig
from active_indexing.training.data.batches import Batch, Batches
from active_indexing.training.data.side_images import SideBatches
from active_indexing.training.distributed import collectives
from active_indexing.training.distributed.batch_norm import synchronise_batch_norms
from active_indexing.training.objectives.contrastive import Views
from active_indexing.training.objectives.interface import Objective, StepViews, Student, Teacher
from active_indexing.training.optimization.lars import lars
from active_indexing.training.optimization.schedules import size_at
from active_indexing.training.optimization.weight_average import WeightAverage

SGD_MOMENTUM = 0.9  # of RDCD
NOTHING_BESIDE = SideBatches()


@dataclass
class Trainer:
    """What changes during a training.

    Attributes:
        config: what does not.
        network: current weights, on the device.
        average: their moving average.
        optimizer: with its moments.
        objective: gives the loss; with what it keeps from step to step.
        device: of the network.
        step: how many steps were done.
    """

    config: TrainingConfig
    network: nn.Module
    average: WeightAverage
    optimizer: Optimizer
    objective: Objective
    edits: ViewMaker
    device: torch.device
    step: int = 0

    @property
    def student(self) -> Student:
        """The current network, as objectives call it."""
        config = self.config
        return Student(self.network, config.mean, config.std, config.half_precision, config.grey)

    @property
    def _parts(self) -> Parts:
        return Parts(self.network, self.average, self.optimizer, self.objective)

    def save(self, path: Path) -> None:
        """Write a checkpoint (the first process only, by the caller)."""
        save_checkpoint(path, self.config, self.step, self._parts)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        self.step = load_checkpoint(path, self.config, self._parts)


def build_trainer(
    config: TrainingConfig,
    device: torch.device,
    *,
    teacher: Teacher | None = None,
    start: nn.Module | None = None,
) -> Trainer:
    """A trainer at step 0, the same in every process.

    Args:
        config: of the training.
        device: of the network.
        teacher: for objectives that distil.
        start: a network of the same architecture whose weights to begin with; ``None`` draws them.

    Raises:
        ValueError: if the objective lacks a teacher or has no use for one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = config.objective.build_network(config.backbone, config.dim, config.gem_p)
        if start is not None:
            network.load_state_dict(start.state_dict())
        network = network.to(device).to(memory_format=torch.channels_last)
        objective = config.objective.build(network, config.dim, teacher).to(device)
    if config.sync_bn:
        network = synchronise_batch_norms(network, device)
    average = WeightAverage(network, config.average_decay)
    return Trainer(
        config, network, average, _optimizer(config, network), objective, build_edits(config), device
    )


def _optimizer(config: TrainingConfig, network: nn.Module) -> Optimizer:
    parameters = list(network.parameters())
    if config.optimizer == "lars":
        return lars(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    if config.optimizer == "sgd":
        rate, decay = config.learning_rate, config.weight_decay
        groups = _groups(parameters, decay) if config.spare_vectors else parameters
        return torch.optim.SGD(groups, lr=rate, momentum=SGD_MOMENTUM, weight_decay=decay)
    return torch.optim.AdamW(_groups(parameters, config.weight_decay), lr=config.learning_rate)


def _groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Weights, which decay, and biases and batch norms, which do not."""
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def train(
    trainer: Trainer, batches: Batches, side: SideBatches = NOTHING_BESIDE
) -> Iterator[dict[str, float]]:
    """Steps from ``trainer.step`` to the end of the schedule; yields what to log after each."""
    while trainer.step < trainer.config.schedule.steps:
        yield train_step(trainer, batches.at(trainer.step, collectives.rank()), side)


def train_step(
    trainer: Trainer, batches: list[Batch], side: SideBatches = NOTHING_BESIDE
) -> dict[str, float]:
    """One update of the weights.

    Args:
        trainer: changed.
        batches: this process's images, by source.
        side: images beside them.

    Returns:
        Scalars to log.
    """
    config, step = trainer.config, trainer.step
    rate = config.learning_rate * config.schedule.factor(step)
    for group in trainer.optimizer.param_groups:
        group["lr"] = rate
    generator = torch_generator_for(config.seed, step, f"training views {collectives.rank()}")
    size = size_at(config.sizes, step)
    pixels, views, coordinates = make_views(
        trainer.edits,
        batches,
        config.edited_views,
        size,
        generator,
        trainer.device,
        traced=trainer.objective.traces,
    )
    trainer.network.train(not config.eval_mode)
    beside = side.at(step, collectives.rank(), size, trainer.device)
    made = StepViews(pixels, views, step, generator, coordinates, beside)
    with torch.random.fork_rng([trainer.device] if trainer.device.type == "cuda" else []):
        # What networks draw themselves, such as dropped paths, is a function of the step too.
        torch.manual_seed(seed_for(config.seed, step, f"network {collectives.rank()}"))
        loss, log = trainer.objective.loss(trainer.student, made)
    trainer.optimizer.zero_grad()
    loss.backward()
    _update(trainer)
    count = len(pixels) * collectives.world_size()
    return log | {"loss": loss.item(), "learning_rate": rate, "views": float(count)}


def make_views(
    edits: ViewMaker,
    batches: list[Batch],
    edited: int,
    size: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    traced: bool = False,
) -> tuple[torch.Tensor, Views, torch.Tensor | None]:
    """One reference view and some edited views of every image.

    Returns:
        (N, 3, size, size) in [0, 1], and what they show; first all reference views of a source, then its
        edited views, source by source. If ``traced``, (N, 2, size, size) coordinates too.
    """
    pixels, images, references, coordinates = [], [], [], []
    for batch in batches:
        made: list[Callable[..., torch.Tensor]] = [edits.reference_views] + [edits.edited_views] * edited
        for copy, make in enumerate(made):
            stored = batch.images.to(device)
            trace = PixelTrace.of(stored) if traced else None
            pixels.append(make(stored, size, generator, trace))
            if trace is not None:
                coordinates.append(trace.result())
            images.append(batch.numbers)
            references.append(torch.full_like(batch.numbers, copy == 0, dtype=torch.bool))
    image = torch.cat(images)
    number = torch.arange(len(image)) + collectives.rank() * len(image)
    views = Views(image, torch.cat(references), number)
    return torch.cat(pixels), views, torch.cat(coordinates) if traced else None


def _update(trainer: Trainer) -> None:
    """Average the gradients, clip, step, and take the weights into their average."""
    parameters = list(trainer.network.parameters())
    collectives.average_gradients(parameters)
    if trainer.config.clip_norm:
        nn.utils.clip_grad_norm_(parameters, trainer.config.clip_norm)
    trainer.optimizer.step()
    if not trainer.config.sync_bn:  # synchronised statistics are the same everywhere already
        collectives.average_batch_statistics(trainer.network)
    trainer.average.update(trainer.network, trainer.step)
    trainer.objective.updated(trainer.network)
    trainer.step += 1
