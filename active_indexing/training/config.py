"""Settings of a training, and the recipes that are ready to use."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from active_indexing.training.objectives.interface import ObjectiveSettings
from active_indexing.training.objectives.sscd import SSCDConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage

EditsName = Literal[
    "drawn",
    "chained",
    "simclr",
    "strong_blur",
    "advanced",
    "simclr_pil",
    "strong_blur_pil",
    "advanced_pil",
    "isc_v83",
    "isc_v86",
    "isc_v98",
    "shifted",
    "plain",
]
OptimizerName = Literal["adamw", "lars", "sgd"]


@dataclass(frozen=True)
class TrainingImages:
    """Where training images come from.

    Attributes:
        path: a folder or a tar file of images.
        edge: width and height at which they are kept, pixels.
        images: per process and step.
        limit: use only the first so many; ``None`` is all.
    """

    path: Path
    edge: int
    images: int
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that a training depends on besides its images.

    Attributes:
        backbone: see :func:`active_indexing.descriptors.architectures.build_network`.
        dim: length of the descriptor.
        gem_p: exponent of the pooling.
        edits: which views are made: this project's; SSCD's, batched or one by one with Pillow; the first
            place of ISC21's; ViT4ICD's shifts; none.
        edited_views: edited views of each image in a step, beside one reference view.
        instances: images of each identity in a step, from file names ``<identity>_<anything>``; 0 makes every
            image an identity of its own.
        sizes: width of the views, by step.
        test_size: input size that the exported descriptor uses, pixels.
        mean, std: normalisation of all three channels, in [0, 1] units.
        optimizer: of the weights.
        learning_rate: its base; the schedule scales it.
        weight_decay: of weights; AdamW spares biases and batch norms, LARS and SGD
            include them as published.
        spare_vectors: SGD spares biases and batch norms too.
        clip_norm: longest gradient; 0 does not clip.
        schedule: of the learning rate.
        objective: what the loss is.
        average_decay: of the moving average of the weights, which is what is exported.
        half_precision: multiply in bfloat16 where torch's autocast does.
        sync_bn: batch norms take the batches of all processes as one; otherwise each process normalises its
            own, and running statistics are averaged.
        eval_mode: batch norms and dropped paths stay as in evaluation while the weights are tuned.
        grey: the descriptor sees grey images.
        seed: of everything random.
    """

    backbone: str = "resnet10"
    dim: int = 256
    gem_p: float = 3.0
    edits: EditsName = "drawn"
    edited_views: int = 2
    instances: int = 0
    sizes: tuple[SizeStage, ...] = (SizeStage(0, 64),)
    test_size: int = 64
    mean: float = 0.45
    std: float = 0.27
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    spare_vectors: bool = False
    clip_norm: float = 5.0
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=1000))
    objective: ObjectiveSettings = field(default_factory=SSCDConfig)
    average_decay: float = 0.999
    half_precision: bool = True
    sync_bn: bool = False
    eval_mode: bool = False
    grey: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("edits", EditsName), ("optimizer", OptimizerName)):
            if getattr(self, name) not in get_args(choices):
                expected = ", ".join(get_args(choices))
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; expected one of {expected}.")
        if self.instances < 0 or self.edited_views < (0 if self.instances > 1 else 1):
            raise ValueError(
                "a step needs at least 1 edited view of an image, or 2 instances of an identity, got "
                f"{self.edited_views} and {self.instances}."
            )
        if self.instances and self.objective.wants_rows:
            raise ValueError("a teacher's rows are of images, not of identities; leave instances at 0.")
        starts = [stage.start for stage in self.sizes]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"view sizes must start at step 0 and then later ones, got starts {starts}.")
